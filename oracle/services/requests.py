"""Requests on the market: which there are, and the acts that anyone may take on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.chain.bindings.inference_market import Convicted, OutputDemanded, Requested
from oracle.chain.revert import ContractError
from oracle.chain.transactions import with_bond_margin
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, NotFound, PermanentError
from oracle.services import request_timeline
from oracle.services.event_history import Happened, topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.services.request_timeline import LIFE, RequestInfo, RequestState
from oracle.types import NO_CLAIM, Address, Amount, Delivery, Request, RequestId, Timestamp, Wei

MAX_IDS = 100  # requests whose events are asked for by id


@dataclass(frozen=True, slots=True)
class Demanded:
    """A demand for an output's bytes."""

    transaction: Sent
    bond: Wei
    deadline: Timestamp


@dataclass(frozen=True, slots=True)
class Conviction:
    """What the end of a withheld answer paid."""

    transaction: Sent
    operator: Address
    to_requester: Amount  # its fee, and the compensation
    bounty: Amount  # half to whoever demanded, half to whoever convicted


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def show(network: Network, request_id: RequestId, *, since: int = 0) -> RequestInfo:
    """Return one request with its timeline; `since` is a block that is not after its own.

    Raises:
        NotFound: the market never logged it, or a reorg removed it.
    """
    life = network.history.read(network.market.address, LIFE, topic(request_id), since=since)
    if not life or not isinstance(life[0].event, Requested):
        raise NotFound(
            f"there is no request 0x{request_id.hex()}",
            hint="`tallystick request list` shows yours; a reorg can remove a young one",
        )
    moments = network.history.moments(life, request_timeline.detail)
    return request_timeline.fold([h.event for h in life], network.history.now(), moments)


def list_requests(
    network: Network,
    *,
    model_id: int | None = None,
    requester: Address | None = None,
    state: RequestState | None = None,
) -> tuple[RequestInfo, ...]:
    """Return requests, oldest first, without their timelines."""
    asked = network.history.read(
        network.market.address,
        (Requested,),
        None,
        None if model_id is None else topic(model_id),
        None if requester is None else topic(requester),
    )
    if not asked:
        return ()
    ids = [h.event.request_id for h in asked if isinstance(h.event, Requested)]
    only = (
        [[topic(i) for i in ids]] if len(ids) <= MAX_IDS else []
    )  # else reading those of others as well costs less
    life = network.history.read(network.market.address, LIFE, *only, since=asked[0].block)
    by_id: dict[RequestId, list[Happened]] = {request_id: [] for request_id in ids}
    for happened in life:
        request_id = getattr(happened.event, "request_id", None)
        if request_id in by_id:
            by_id[request_id].append(happened)
    now = network.history.now()
    every = (request_timeline.fold([h.event for h in events], now) for events in by_id.values())
    return tuple(info for info in every if state in (None, info.state))


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────
def cancel(network: Network, wallet: Wallet, request_id: RequestId) -> Sent:
    """Refund a request that nobody answered in time; anyone may.

    Raises:
        ContractError: it has not expired yet. PermanentError: it was answered or ended.
    """
    info = show(network, request_id)
    if info.state not in (RequestState.REQUESTED, RequestState.CLAIMED):
        raise PermanentError(
            f"request 0x{request_id.hex()} cannot be cancelled: {info.state.value}"
        )
    call = network.market.cancel_expired(info.request, info.claim or NO_CLAIM)
    return send(wallet, call)[0]


def finalize(network: Network, wallet: Wallet, request_ids: Sequence[RequestId]) -> Sent:
    """Settle answers whose challenge window has passed; anyone may.

    Raises:
        ContractError: a window is still open, or a dispute is.
        PermanentError: one was not answered, or has ended.
    """
    if not request_ids:
        raise InputInvalid("no request was named", hint="give one or more request ids")
    infos = [show(network, request_id) for request_id in request_ids]
    deliveries = []
    for info in infos:
        if info.delivery is None or info.state is not RequestState.DELIVERED:
            raise PermanentError(
                f"request 0x{info.request_id.hex()} cannot be finalized: {info.state.value}"
            )
        deliveries.append(info.delivery)
    call = network.market.finalize([info.request for info in infos], deliveries)
    return send(wallet, call)[0]


def retry_callback(network: Network, wallet: Wallet, request_id: RequestId) -> Sent:
    """Call the consumer of a final answer whose call was skipped for its price; anyone may, once.

    Raises:
        ContractError: no call was skipped. PermanentError: it was not answered.
    """
    info = show(network, request_id)
    if info.output_root is None:
        raise PermanentError(f"request 0x{request_id.hex()} has no answer: {info.state.value}")
    return send(wallet, network.market.retry_callback(info.request, info.output_root))[0]


def bond_needed(network: Network, wallet: Wallet, request_id: RequestId) -> Wei:
    """Return the bond, in wei, that `demand` would send along now."""
    request, delivery = _delivered(network, request_id)
    try:
        wallet.simulate(network.market.demand_output(request, delivery, value=Wei(0)))
    except ContractError as error:
        if error.name != "BondTooLow":
            raise
        return with_bond_margin(Wei(int(error.values["needed"])))
    return Wei(0)


def demand(network: Network, wallet: Wallet, request_id: RequestId, bond: Wei) -> Demanded:
    """Oblige the operator to post an output's bytes on chain.

    Raises:
        ContractError: not answered, already final or demanded, or the bond is too low.
    """
    request, delivery = _delivered(network, request_id)
    call = network.market.demand_output(request, delivery, value=bond)
    transaction, receipt = send(wallet, call)
    return Demanded(transaction, bond, receipt.one(OutputDemanded).deadline)


def convict(network: Network, wallet: Wallet, request_id: RequestId) -> Conviction:
    """Convict an operator that did not post a demanded output in time; anyone may.

    Raises:
        ContractError: nobody demanded it, it was posted, or there is still time.
        PermanentError: the request has no answer, or has ended.
    """
    request, delivery = _delivered(network, request_id)
    transaction, receipt = send(wallet, network.market.convict_withheld(request, delivery))
    event = receipt.one(Convicted)
    paid = Amount(event.refund + event.compensation)
    return Conviction(transaction, event.operator, paid, event.bounty)


def _delivered(network: Network, request_id: RequestId) -> tuple[Request, Delivery]:
    info = show(network, request_id)
    if info.delivery is None:
        raise PermanentError(
            f"request 0x{request_id.hex()} has no answer to demand: {info.state.value}"
        )
    return info.request, info.delivery
