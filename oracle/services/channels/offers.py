"""Offers in the payment channels: which there are, what they promise, and the stake behind them."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from oracle.chain.bindings.payment_channels import Cover, LockSpent, OfferCovered
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, NotFound, Refused, did_you_mean
from oracle.services import models, requests
from oracle.services.amounts import format_amount
from oracle.services.channels import endpoints, summons
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Amount, Bytes32, Offer, Timestamp

T = TypeVar("T")
LIST = "`tallystick operator offer list` shows those that can be used"

ACCESS_GRACE = 300  # seconds in which an operator learns of a change (PaymentChannels.GRACE)


class OfferState(Enum):
    """Where an offer stands."""

    UNCOVERED = "no stake stands behind it yet"
    OPEN = "takes channels"
    ENDING = "takes no new money; its stake stays until the end"
    ENDED = "over; its stake can be released"
    RELEASED = "over; its stake is free"
    EXHAUSTED = "over: every lock was slashed, claims that were held go back"


@dataclass(frozen=True, slots=True)
class OfferInfo:
    """One operator's answers of one version at fixed terms, and what stands behind them."""

    offer_id: Bytes32
    state: OfferState
    operator: Address
    model_id: int
    model: str  # its name
    version: int
    number: int
    fee: Amount  # of one answer
    insured: Amount  # paid for an answer that is convicted
    challenge_window: int  # seconds
    lock: Amount  # stake that one conviction takes
    locks: int  # convictions that are paid for from now on
    open: int  # answers that are summoned and not told to be over
    convicted: int
    answers_until: Timestamp  # after it an answer cannot always be summoned in time; 0 = no end
    ends_at: Timestamp  # 0 = not ending
    current: bool  # whether the registry has the same terms now
    endpoint: str  # that the operator announced; "" = none that is a URL
    offer: Offer


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def list_offers(
    network: Network,
    *,
    operator: Address | None = None,
    model_id: int | None = None,
    offer_ids: tuple[Bytes32, ...] | None = None,
    every: bool = True,
) -> tuple[OfferInfo, ...]:
    """Return offers, oldest first: all of them, or those that have stake and are not over."""
    found = network.history.read(
        network.channels.address,
        (OfferCovered,),
        None if offer_ids is None else only(offer_ids),
        None if operator is None else topic(operator),
        None if model_id is None else topic(model_id),
    )
    offers = {
        h.event.offer_id: h.event.offer
        for h in found
        if isinstance(h.event, OfferCovered)
        and (offer_ids is None or h.event.offer_id in offer_ids)
    }
    if not offers:
        return ()
    spent = network.history.read(network.channels.address, (LockSpent,), only(offers))
    convicted = Counter(h.event.offer_id for h in spent if isinstance(h.event, LockSpent))
    now = network.history.now()
    urls = endpoints.announced(network, {offer.operator for offer in offers.values()})
    infos = (
        _info(network, i, offer, convicted[i], now, url=urls.get(offer.operator, ""))
        for i, offer in offers.items()
    )
    live = (OfferState.OPEN, OfferState.ENDING)
    return tuple(info for info in infos if every or info.state in live)


def show(network: Network, offer_id: Bytes32) -> OfferInfo:
    """Return one offer that has, or had, stake behind it.

    Raises:
        NotFound: the chain knows none of this id.
    """
    found = list_offers(network, offer_ids=(offer_id,))
    if not found:
        raise NotFound(f"the chain knows no offer {name(offer_id)}", hint=LIST)
    return found[0]


def announced(network: Network, model_id: int, version: int) -> tuple[OfferInfo, ...]:
    """Return the open offers of a version whose operators say where they answer, cheapest first."""
    found = list_offers(network, model_id=model_id, every=False)
    usable = [
        info
        for info in found
        if info.state is OfferState.OPEN and info.version == version and info.endpoint and info.fee
    ]
    return tuple(sorted(usable, key=lambda info: (info.fee, -info.locks)))


def find(network: Network, text: str) -> OfferInfo:
    """Return the offer that a person means: an id or its beginning, or a model with one offer.

    Raises:
        InputInvalid: neither, or several offers are meant. NotFound: there is no such offer.
    """
    if text.startswith("0x"):
        return pick(text, {name(o.offer_id): o for o in list_offers(network)}, "offer", LIST)
    selected = models.select(network, text)
    found = [
        info
        for info in list_offers(network, model_id=selected.model_id)
        if info.state is OfferState.OPEN and selected.version in (None, info.version)
    ]
    if not found:
        raise NotFound(f"nobody offers answers of {text} in channels now", hint=LIST)
    if len(found) > 1:
        ids = ", ".join(f"{name(o.offer_id)[:10]} ({format_amount(o.fee)})" for o in found)
        raise InputInvalid(f"{text} has {len(found)} offers", hint=f"name one of them: {ids}")
    return found[0]


def sold(network: Network, operator: Address, text: str) -> tuple[OfferInfo, ...]:
    """Return an operator's offers of a model's version that have stake and a price, newest first.

    Raises:
        NotFound: no such model, or there is no such offer.
    """
    selected = models.select(network, text)
    version = models.current_version(network, selected)
    if found := covered(network, operator, selected.model_id, version):
        return found
    raise NotFound(
        f"{operator} has no covered offer of {text.partition('@')[0]}@{version}",
        hint=f"`tallystick operator offer cover {text} LOCKS` puts stake behind one",
    )


def covered(
    network: Network, operator: Address, model_id: int, version: int
) -> tuple[OfferInfo, ...]:
    """Return an operator's offers of a version that have stake and a price, newest first."""
    found = list_offers(network, operator=operator, model_id=model_id, every=False)
    return tuple(info for info in reversed(found) if info.version == version and info.fee)


def only(ids: Collection[Bytes32]) -> Sequence[Bytes32] | None:
    """Return the topics that events of these offers have; None = reading all costs less. Pure."""
    return tuple(ids) if len(ids) <= requests.MAX_IDS else None


def name(some_id: Bytes32) -> str:
    """Return an id as people write it."""
    return "0x" + some_id.hex()


def pick(text: str, known: Mapping[str, T], what: str, hint: str) -> T:
    """Return what an id names, or its beginning. Pure.

    Raises:
        InputInvalid: no id, or the beginning of several. NotFound: none begins so.
    """
    if not re.fullmatch("0x[0-9a-fA-F]{1,64}", text):
        raise InputInvalid(f"{text!r:.80} is no id of {what}s", hint="0x and hex digits")
    found = [value for key, value in known.items() if key.startswith(text.lower())]
    if not found:
        raise NotFound(f"there is no {what} {text}", hint=did_you_mean(text, known) + hint)
    if len(found) > 1:
        raise InputInvalid(f"{len(found)} {what}s begin with {text}", hint="write more digits")
    return found[0]


def state_of(cover: Cover, now: Timestamp) -> OfferState:
    """Return where an offer with this stake stands. Pure."""
    if cover.exhausted:
        return OfferState.EXHAUSTED
    if cover.ends_at == 0:
        return OfferState.OPEN if cover.locks else OfferState.UNCOVERED
    if now < cover.ends_at:
        return OfferState.ENDING
    return OfferState.ENDED if cover.locks else OfferState.RELEASED


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────
def draft(network: Network, operator: Address, text: str, number: int | None = None) -> OfferInfo:
    """Return the offer that `cover` would put stake behind; nothing is sent.

    Args:
        operator: whose offer a new one would be.
        text: a model, whose present terms a new offer gets; or the id of an offer that grows.
        number: of a new offer; None = one more than the operator's highest for this version.

    Raises:
        Refused: the version is retired, the offer's terms are no longer those of the registry, or
            it is ending or over. Or the version is metered.
    """
    if text.startswith("0x"):
        info = find(network, text)
    else:
        selected = models.select(network, text)
        model_id, version = selected.model_id, models.current_version(network, selected)
        terms = network.registry.terms_of(model_id, version)
        if number is None:
            mine = list_offers(network, operator=operator, model_id=model_id)
            number = max((o.number for o in mine if o.version == version), default=-1) + 1
        offer = Offer(operator, model_id, version, terms, number)
        offer_id, now = network.channels.offer_id_of(offer), network.history.now()
        url = endpoints.announced(network, [operator]).get(operator, "")
        info = _info(network, offer_id, offer, 0, now, url=url)
    again = f"`tallystick operator offer cover {info.model_id}@{info.version} LOCKS`"
    if info.state not in (OfferState.OPEN, OfferState.UNCOVERED):
        raise Refused(
            f"offer {info.number} of model {info.model_id} is {info.state.name.lower()}: "
            "it takes no more stake",
            hint=f"{again} makes the next one",
        )
    now_terms = network.registry.terms_of(info.model_id, info.version)
    if now_terms.retired:
        raise Refused(
            f"version {info.version} of model {info.model_id} is retired",
            hint=f"`tallystick model versions {info.model_id}` shows those in use",
        )
    if now_terms.max_units:
        raise Refused(
            f"version {info.version} is paid by units, which a receipt does not name",
            hint="channels sell versions with a flat fee: this one is asked on the chain",
        )
    if not info.current:
        raise Refused(
            f"the terms of version {info.version} have changed: an answer costs "
            f"{format_amount(now_terms.fee)} now, {format_amount(info.fee)} in this offer",
            hint=f"{again} makes an offer at the present terms; end this one with `uncover`",
        )
    return info


def cover(network: Network, wallet: Wallet, info: OfferInfo, locks: int) -> Sent:
    """Put stake behind an offer, or more of it.

    Raises:
        ContractError: the wallet is not its operator, is not authorised, or has too little stake.
    """
    return send(wallet, network.channels.cover(info.offer, locks))[0]


def uncover(network: Network, wallet: Wallet, info: OfferInfo) -> Sent:
    """End an offer, two challenge windows from now.

    Raises:
        ContractError: it is ending or over, or another's whose operator is still authorised.
    """
    return send(wallet, network.channels.uncover(info.offer))[0]


def release(network: Network, wallet: Wallet, info: OfferInfo) -> tuple[Sent, ...]:
    """Free the stake of an offer that has ended, once its summoned answers are over.

    Raises:
        ContractError: it has not ended, or a summoned answer is not over.
    """
    ended = summons.end(network, wallet, info.offer_id) if info.open else ()
    return (*ended, send(wallet, network.channels.release(info.offer))[0])


def _info(
    network: Network, offer_id: Bytes32, offer: Offer, convicted: int, now: Timestamp, *, url: str
) -> OfferInfo:
    terms, stake = offer.terms, network.channels.cover_of(offer_id)
    lock, window = network.market.lock_of(terms), offer.terms.challenge_window
    return OfferInfo(
        offer_id=offer_id,
        state=state_of(stake, now),
        operator=offer.operator,
        model_id=offer.model_id,
        model=network.registry.name_of(offer.model_id),
        version=offer.version,
        number=offer.number,
        fee=terms.fee,
        insured=lock.compensation,
        challenge_window=window,
        lock=lock.total,
        locks=stake.locks,
        open=stake.open,
        convicted=convicted,
        answers_until=Timestamp(stake.ends_at and stake.ends_at - window),
        ends_at=stake.ends_at,
        current=network.registry.terms_of(offer.model_id, offer.version) == terms,
        endpoint=url,
        offer=offer,
    )
