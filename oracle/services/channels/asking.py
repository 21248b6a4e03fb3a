"""Asks a model through a channel: what it would cost and be worth first, then voucher and receipt.

```
 quote: model, input, access ─▶ endpoint: URL, an offer's, or the cheapest announced
        ─▶ channel: what the next answer costs, and what is put in for it
 ask:   put in ─▶ voucher ─▶ answer and receipt, checked and kept
```
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from oracle.chain.wallet import Wallet
from oracle.errors import NotFound, Refused, TallystickError, Unavailable
from oracle.exact.quantisation import Outside
from oracle.protocol.manifest import Manifest
from oracle.services import inputs, models, outputs, quoting
from oracle.services.amounts import format_amount
from oracle.services.channels import endpoints, kept, offers
from oracle.services.channels.deposits import ChannelInfo, PaidBack
from oracle.services.channels.endpoint_client import offer_at
from oracle.services.channels.offers import OfferInfo
from oracle.services.channels.paid_channel import ChannelClient
from oracle.services.inputs import PreparedInput
from oracle.services.network import Network
from oracle.services.outputs import Output
from oracle.services.quoting import Ask, BytesProgress
from oracle.types import Address, Amount, Assurance, Bytes32, Offer, RequestId

ANSWERS = 20  # that a channel is opened for, and topped up by, unless something else is said
ANNOUNCED = "auto"  # the endpoint that the operator of the cheapest offer announced

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChannelQuote:
    """What an answer through a channel would cost and be worth; nothing has happened yet."""

    model_id: int
    version: int
    name: str
    fee: Amount
    assurance: Assurance
    meaning: str  # of the assurance, in this deployment
    offer: OfferInfo  # its operator, and the stake behind it
    url: str
    channel_id: Bytes32
    left: Amount  # in the channel, for further answers
    put_in: Amount  # what the answer needs first; 0 = nothing
    limit: Amount | None  # of all deposits


@dataclass(frozen=True, slots=True)
class ChannelPrepayment:
    """A quote with what is needed to act on it."""

    quote: ChannelQuote
    client: ChannelClient
    prepared: PreparedInput
    params: Bytes32


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """An answer whose receipt was checked, and is kept."""

    request_id: RequestId  # that it has if it is summoned
    receipt: str  # CHANNEL/N, as `tallystick verify` takes it
    operator: Address
    output_root: Bytes32  # as the operator signed it
    size: int
    fee: Amount
    left: Amount  # in the channel
    outputs: tuple[Output, ...]
    outside: tuple[Outside, ...] = ()  # what of the input was clamped


def quote(
    network: Network,
    wallet: Wallet,
    ask: Ask,
    where: str,
    *,
    limit: Amount | None,
    patience: float | None,
    stdin: Callable[[], bytes],
    progress: BytesProgress | None = None,
) -> ChannelPrepayment:
    """Check everything that can be checked without spending.

    Args:
        ask: its model, source, parameters and largest fee count.
        where: an endpoint's URL, an offer's id, or `ANNOUNCED`.
        limit: of all deposits into the channel; None = what the next ANSWERS answers need.
        patience: seconds for the answer; None = the client's.

    Raises:
        NotFound: no such model, or nobody sells it there.
        Refused, ContractError: too expensive, no access, or the limit is used up.
        InputInvalid: parameters or input do not fit the manifest.
        Unavailable: no endpoint can be reached.
    """
    version = models.current_version(network, ask.model)
    model_id = ask.model.model_id
    manifest = models.manifest(network, model_id, version)
    params = manifest.pack_params(ask.params)
    network.access.check(model_id, wallet.address, params)
    prepared = inputs.prepare(
        ask.source, manifest, lambda entry: quoting.fetch_file(network, entry, progress), stdin
    )

    def opened(offer: Offer, url: str) -> ChannelClient:
        if ask.max_fee is not None and offer.terms.fee > ask.max_fee:
            raise Refused(
                f"an answer costs {format_amount(offer.terms.fee)} at {url}, above your limit of "
                f"{format_amount(ask.max_fee)}",
                hint="raise --max-fee, or name another offer",
            )
        return ChannelClient(
            network, wallet, offer, manifest, url, deposit=Amount(ANSWERS * offer.terms.fee),
            limit=limit, **({} if patience is None else {"patience": patience}),
        )  # fmt: skip

    client = open_at(network, model_id, version, where, opened)
    info = offers.show(network, client.offer_id)
    put_in = client.lacks()
    if limit is None:  # what is shown before paying holds while paying
        client.limit = Amount(client.deposit + put_in)
    return ChannelPrepayment(
        ChannelQuote(
            model_id=model_id,
            version=version,
            name=manifest.name,
            fee=info.fee,
            assurance=info.offer.terms.assurance,
            meaning=quoting.assurance_meaning(network, info.offer.terms.assurance),
            offer=info,
            url=client.url,
            channel_id=client.channel_id,
            left=client.left,
            put_in=put_in,
            limit=client.limit,
        ),
        client,
        prepared,
        params,
    )


def again(prepayment: ChannelPrepayment, ask: Ask) -> ChannelPrepayment:
    """Return the same for another question through the same channel. Raises: as `quote`."""
    client = prepayment.client
    params = client.manifest.pack_params(ask.params)
    network = client.network
    prepared = inputs.prepare(
        ask.source, client.manifest, lambda entry: quoting.fetch_file(network, entry, None), bytes
    )
    return replace(prepayment, prepared=prepared, params=params)


def ask(
    prepayment: ChannelPrepayment, top: int = 3, heard: Callable[[str], object] | None = None
) -> tuple[ChannelAnswer, bytes]:
    """Pay for the answer and return it, with its canonical bytes.

    Args:
        heard: is told each piece of a text while it is written.

    Raises:
        See `ChannelClient`.
    """
    client, prepared = prepayment.client, prepayment.prepared
    found = client.ask_encoded(prepared.data, prepayment.params, heard)
    manifest: Manifest = client.manifest
    answer = ChannelAnswer(
        request_id=client.channel.request_id(found.receipt),
        receipt=f"{offers.name(client.channel_id)[:10]}/{found.receipt.index}",
        operator=prepayment.quote.offer.operator,
        output_root=found.receipt.output_root,
        size=len(found.output),
        fee=prepayment.quote.fee,
        left=client.left,
        outputs=outputs.present(found.output, manifest, prepared.texts, top),
        outside=prepared.outside,
    )
    return answer, found.output


def close(network: Network, wallet: Wallet, info: ChannelInfo, url: str = "") -> PaidBack:
    """Close a channel at once, as its operator agrees.

    Args:
        url: of the operator's endpoint; "" = what it announced.

    Raises:
        NotFound: the key of its vouchers is not kept here, or no endpoint is known.
        Refused, TransientError: the operator does not agree, or cannot be asked.
        ContractError: the consent came too late.
    """
    offer = info.offer.offer
    kept.find(network.settings.home, offers.name(info.channel_id))

    def opened(_offer: Offer, at: str) -> ChannelClient:
        manifest = models.manifest(network, offer.model_id, offer.version)
        nothing = Amount(0)
        return ChannelClient(network, wallet, offer, manifest, at, deposit=nothing, limit=nothing)

    where = url or offers.name(info.offer.offer_id)
    return open_at(network, offer.model_id, offer.version, where, opened).close()


def open_at(
    network: Network, model_id: int, version: int, where: str, opened: Callable[[Offer, str], T]
) -> T:
    """Return what `opened` makes of an offer and its endpoint's URL.

    Args:
        where: as for `quote`. Of announced endpoints the first that can be reached is taken.

    Raises:
        NotFound: nobody offers this at an endpoint, or not there.
        Unavailable, Refused: no endpoint can be reached, or the last one refused.
    """
    if where.startswith("0x"):
        info = offers.find(network, where)
        if (info.model_id, info.version) != (model_id, version):
            raise NotFound(
                f"offer {where} sells {info.model_id}@{info.version}, not {model_id}@{version}",
                hint=offers.LIST,
            )
        if not info.endpoint:
            raise NotFound(
                f"the operator of offer {where} announced no endpoint", hint="say its URL"
            )
        return opened(info.offer, endpoints.reachable(network, info.endpoint))
    if where != ANNOUNCED:
        endpoints.parse(where)
        return opened(offer_at(where.rstrip("/"), model_id, version), where.rstrip("/"))
    failure: TallystickError = NotFound(
        f"nobody announced where it answers {model_id}@{version} through channels",
        hint="`tallystick operator offer list`; or say its URL",
    )
    for info in offers.announced(network, model_id, version):
        try:
            return opened(info.offer, endpoints.reachable(network, info.endpoint))
        except (Unavailable, Refused) as error:
            failure = error
    raise failure
