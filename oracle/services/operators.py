"""Operators: registration, stake, authorisation, and what the chain knows of their work."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from oracle.chain.bindings.inference_market import (
    Annulled,
    Cancelled,
    Claimed,
    ClaimForfeited,
    Convicted,
    Delivered,
    Finalized,
    Requested,
)
from oracle.chain.bindings.operator_registry import (
    OperatorAuthorized,
    OperatorRegistered,
    ProfileUpdated,
)
from oracle.chain.event import Event
from oracle.chain.wallet import Wallet
from oracle.errors import NotFound
from oracle.scheduling.placement import Candidate
from oracle.services import models
from oracle.services.amounts import format_amount
from oracle.services.balances import allow
from oracle.services.channels import endpoints
from oracle.services.event_history import Happened, topic
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import ZERO32, ZERO_ADDRESS, Address, Amount, RequestId, Timestamp

RECENT = 256  # requests of a model that count for an operator's reputation
_LIFE = (
    Requested, Claimed, ClaimForfeited, Delivered, Finalized, Cancelled, Convicted, Annulled,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """One operator: money, profile, models, work done."""

    operator: Address
    registered: bool
    endpoint: str  # where it serves traces, as registered; "" = nowhere
    announced: str  # where it answers what channels pay; "" = no URL was announced
    staked: Amount
    locked: Amount
    free: Amount
    unbonding: Amount
    release_at: Timestamp  # 0 = nothing unbonds
    models: tuple[int, ...]  # for which it is authorised
    delivered: int
    in_flight: int
    failed: int
    earned: Amount  # settled fees since the deployment
    prepaid: Amount  # of those, still in the market


@dataclass(slots=True)
class _Work:
    """What one operator did, while events are folded."""

    delivered: int = 0
    failed: int = 0
    in_flight: int = 0
    earned: int = 0
    waits: list[int] | None = None


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────
def register(network: Network, wallet: Wallet, endpoint: str) -> Sent:
    """Register the wallet as an operator, or change its endpoint when it is one."""
    if network.operators.stake_of(wallet.address).registered:
        key = network.operators.encryption_key_of(wallet.address)
        return send(wallet, network.operators.update_profile(key, endpoint))[0]
    return send(wallet, network.operators.register(ZERO32, endpoint))[0]


def stake(
    network: Network, wallet: Wallet, amount: Amount, operator: Address | None = None
) -> tuple[Sent, ...]:
    """Move tokens of the wallet into an operator's stake (its own by default).

    Raises:
        ContractError: the wallet has not so many tokens, or the operator is not registered.
    """
    allowed = allow(network, wallet, network.operators.address, amount)
    return (*allowed, send(wallet, network.operators.stake(operator or wallet.address, amount))[0])


def start_unstake(network: Network, wallet: Wallet, amount: Amount) -> Sent:
    """Start the unbonding delay for free stake."""
    return send(wallet, network.operators.start_unstake(amount))[0]


def finish_unstake(network: Network, wallet: Wallet, to: Address | None = None) -> Sent:
    """Pay out what has unbonded, to the operator's own account unless another is named."""
    return send(wallet, network.operators.finish_unstake(to or wallet.address))[0]


def authorize(
    network: Network, wallet: Wallet, model_id: int, operator: Address, authorized: bool = True
) -> Sent:
    """Authorise an operator for a model, or no longer; only the model's owner may."""
    return send(wallet, network.operators.authorize(model_id, operator, authorized))[0]


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def status(network: Network, operator: Address) -> OperatorInfo:
    """Return what the chain knows of an operator.

    Raises:
        NotFound: it never registered.
    """
    held = network.operators.stake_of(operator)
    if not held.registered:
        raise NotFound(
            f"{operator} is not registered as an operator",
            hint="`tallystick operator register --key NAME`",
        )
    work = _fold(network, network.history.read(network.market.address, _LIFE))
    return _info(network, operator, work[operator], endpoints.announced(network, [operator]))


def list_operators(network: Network) -> tuple[OperatorInfo, ...]:
    """Return what the chain knows of everybody who registered, oldest first."""
    found = network.history.read(network.operators.address, (OperatorRegistered,))
    named = [h.event.operator for h in found if isinstance(h.event, OperatorRegistered)]
    work = _fold(network, network.history.read(network.market.address, _LIFE) if named else [])
    urls = endpoints.announced(network, named)
    return tuple(_info(network, operator, work[operator], urls) for operator in named)


def _info(
    network: Network, operator: Address, work: _Work, urls: Mapping[Address, str]
) -> OperatorInfo:
    held = network.operators.stake_of(operator)
    unbonding = network.operators.unbonding_of(operator)
    return OperatorInfo(
        operator=operator,
        registered=held.registered,
        endpoint=endpoint_of(network, operator),
        announced=urls.get(operator, ""),
        staked=held.staked,
        locked=held.locked,
        free=network.operators.free_stake_of(operator),
        unbonding=unbonding.amount,
        release_at=unbonding.release_at,
        models=models_of(network, operator),
        delivered=work.delivered,
        in_flight=work.in_flight,
        failed=work.failed,
        earned=Amount(work.earned),
        prepaid=network.market.balance_of(operator),
    )


def lacking(network: Network, found: OperatorInfo) -> tuple[str, ...]:
    """Return what keeps an operator from answering, with the command that mends it."""
    if not found.staked:
        return ("it has no stake: `tallystick operator stake AMOUNT --key NAME`",)
    if not found.models:
        return (
            "no owner has authorised it: "
            f"`tallystick operator authorize MODEL {found.operator} --key OWNER`",
        )
    missing = []
    for model_id in found.models:
        try:
            version = models.current_version(network, Selected(model_id, None))
        except NotFound:
            continue  # nobody can ask it
        lock = network.market.lock_of(network.registry.terms_of(model_id, version)).total
        if found.free < lock:
            missing.append(
                f"an answer of model {model_id} locks {format_amount(lock)}, and "
                f"{format_amount(found.free)} of stake is free: "
                "`tallystick operator stake AMOUNT --key NAME`"
            )
    return tuple(missing)


def authorized_for(network: Network, model_id: int) -> tuple[Address, ...]:
    """Return who was ever authorised for a model and still is."""
    found = network.history.read(network.operators.address, (OperatorAuthorized,), topic(model_id))
    named = {h.event.operator: None for h in found if isinstance(h.event, OperatorAuthorized)}
    return tuple(o for o in named if network.operators.is_authorized(model_id, o))


def candidates(network: Network, model_id: int) -> tuple[Candidate, ...]:
    """Return the facts about every operator of a model that `scheduler.choose` weighs.

    Work is counted over the model's last `RECENT` requests.
    """
    operators = authorized_for(network, model_id)
    asked = network.history.read(network.market.address, (Requested,), None, topic(model_id))[
        -RECENT:
    ]
    work: dict[Address, _Work] = defaultdict(_Work)
    if asked:
        ids = {h.event.request_id for h in asked if isinstance(h.event, Requested)}
        life = network.history.read(network.market.address, _LIFE, since=asked[0].block)
        work = _fold(network, [h for h in life if _request_id(h.event) in ids])
    return tuple(
        Candidate(
            operator=operator,
            authorized=True,
            registered=network.operators.stake_of(operator).registered,
            free_stake=network.operators.free_stake_of(operator),
            in_flight=work[operator].in_flight,
            delivered=work[operator].delivered,
            failed=work[operator].failed,
            latency=median(waits) if (waits := work[operator].waits) else None,
        )
        for operator in operators
    )


def _fold(network: Network, life: list[Happened]) -> dict[Address, _Work]:
    """Attribute what happened to requests to operators."""
    work: dict[Address, _Work] = defaultdict(_Work)
    responsible: dict[RequestId, Address] = {}  # of requests without a delivery
    asked_in: dict[RequestId, int] = {}
    delivered_in: list[tuple[Address, int, Timestamp]] = []
    for happened in life:
        event = happened.event
        if isinstance(event, Requested):
            asked_in[event.request_id] = happened.block
            responsible[event.request_id] = event.request.operator
        elif isinstance(event, Claimed):
            responsible[event.request_id] = event.operator
        elif isinstance(event, Delivered):
            work[event.operator].delivered += 1
            responsible.pop(event.request_id, None)
            if event.request_id in asked_in:
                asked = asked_in[event.request_id]
                delivered_in.append((event.operator, asked, event.stamp.time))
        elif isinstance(event, Finalized):
            work[event.operator].earned += event.operator_fee
        elif isinstance(event, ClaimForfeited | Convicted):
            work[event.operator].failed += 1
            responsible.pop(event.request_id, None)  # a cancellation is not held against it again
        elif isinstance(event, Cancelled):
            late = responsible.pop(event.request_id, ZERO_ADDRESS)
            work[late].failed += 1
    for operator in responsible.values():
        work[operator].in_flight += 1
    times = network.history.times(block for _, block, _ in delivered_in)
    for operator, block, moment in delivered_in:
        waits = work[operator].waits or []
        work[operator].waits = [*waits, moment - times[block]]
    return work


def _request_id(event: Event) -> RequestId | None:
    return getattr(event, "request_id", None)


def endpoint_of(network: Network, operator: Address) -> str:
    """Return the public URL that an operator registered; "" = none."""
    kinds = (OperatorRegistered, ProfileUpdated)
    found = network.history.read(network.operators.address, kinds, topic(operator))
    event = found[-1].event if found else None
    return event.endpoint if isinstance(event, kinds) else ""


def models_of(network: Network, operator: Address) -> tuple[int, ...]:
    """Return the models for which an operator is authorised."""
    found = network.history.read(
        network.operators.address, (OperatorAuthorized,), None, topic(operator)
    )
    named = {h.event.model_id: None for h in found if isinstance(h.event, OperatorAuthorized)}
    return tuple(m for m in named if network.operators.is_authorized(m, operator))
