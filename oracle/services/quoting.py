"""What an answer would cost and be worth: everything is checked before money is spent.

Version, price, access, parameters, balance, input, operator, in the order of what they cost to
check. Publishes and sends nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oracle.chain.transactions import with_bond_margin
from oracle.errors import InputInvalid, NotFound, Refused
from oracle.exact.quantisation import Outside
from oracle.protocol.manifest import FileEntry, Manifest
from oracle.scheduling import placement
from oracle.scheduling.placement import Candidate
from oracle.services import inputs, models, operators
from oracle.services.amounts import decimal, format_amount
from oracle.services.inputs import PreparedInput
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.types import NO_WEI, ZERO_ADDRESS, Address, Amount, Assurance, Bytes32, Order, Wei

PRIORITY = 30  # seconds in which only the preferred operator may answer
LIFETIME = 600  # seconds until the money can be had back
CALLBACK_GAS = 100_000  # for a consumer that stores a digest and does a little with it

BytesProgress = Callable[[str, int, int], None]  # (file, bytes done, bytes in total)


class BalanceTooLow(Refused):
    """The prepaid balance does not cover the fee; a deposit mends it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person wants to know."""

    model: Selected
    source: Any  # as `inputs.prepare` takes it
    params: Mapping[str, float] = field(default_factory=dict)
    max_fee: Amount | None = None  # None = the fee as it is now
    operator: Address | None = None  # None = the scheduler chooses
    priority: int | None = None  # seconds; None = PRIORITY, or half a shorter lifetime
    lifetime: int = LIFETIME
    consumer: Address | None = None  # contract that is called with the final answer's digest
    callback_gas: int = CALLBACK_GAS


@dataclass(frozen=True, slots=True)
class Quote:
    """What an answer would cost and be worth; nothing has happened yet."""

    model_id: int
    version: int
    name: str
    fee: Amount
    max_units: int  # that the fee is the price of; 0 = flat
    balance: Amount  # prepaid, before the request
    assurance: Assurance
    meaning: str  # of the assurance, in this deployment
    insured: Amount  # paid to the requester when the answer is convicted
    challenge_window: int  # seconds
    operator: Address
    operator_reason: str
    params: Mapping[str, float]
    shapes: Mapping[str, tuple[int, ...]]
    outside: tuple[Outside, ...]  # what of the input is clamped
    input_digest: Bytes32
    consumer: Address | None
    callback_gas: int  # 0 without a consumer
    callback_bond: Wei  # sent along for that gas; what is not used comes back


@dataclass(frozen=True, slots=True)
class Prepayment:
    """A quote with what is needed to act on it."""

    quote: Quote
    order: Order
    manifest: Manifest
    prepared: PreparedInput


def quote(
    network: Network,
    requester: Address,
    ask: Ask,
    *,
    stdin: Callable[[], bytes],
    progress: BytesProgress | None = None,
) -> Prepayment:
    """Check everything that can be checked without spending; cheapest first.

    Raises:
        NotFound: no such model or version, or no operator that can serve it.
        Refused, ContractError: retired, too expensive, no access, rate limit, parameter bounds,
            balance too low.
        InputInvalid: parameters or input do not fit the manifest, or the consumer is no contract.
    """
    consumer, callback_gas = _callback(network, ask)
    version = models.current_version(network, ask.model)
    model_id = ask.model.model_id
    terms = network.registry.terms_of(model_id, version)
    if terms.retired:
        raise Refused(
            f"version {version} of model {model_id} is retired and takes no new requests",
            hint=f"`tallystick model versions {model_id}` shows those in use",
        )
    if ask.max_fee is not None and terms.fee > ask.max_fee:
        raise Refused(
            f"the fee is {format_amount(terms.fee)}, above your limit of "
            f"{format_amount(ask.max_fee)}",
            hint="raise the limit (--max-fee, max_fee=), or choose another version",
        )
    manifest = models.manifest(network, model_id, version)
    params = manifest.pack_params(ask.params)
    network.access.check(model_id, requester, params)
    balance = network.market.balance_of(requester)
    if balance < terms.fee:
        raise BalanceTooLow(
            f"your prepaid balance is {format_amount(balance)}, the fee {format_amount(terms.fee)}",
            hint=f"`tallystick wallet deposit {decimal(Amount(terms.fee - balance))} "
            f"--key {network.settings.key or 'NAME'}`",
        )
    prepared = inputs.prepare(
        ask.source, manifest, lambda entry: fetch_file(network, entry, progress), stdin
    )
    lock = network.market.lock_of(terms)
    if ask.operator is None:
        choice = placement.choose(operators.candidates(network, model_id), lock.total)
        operator, reason = choice.operator, choice.reason
    else:
        _require_able(network, model_id, ask.operator, lock.total)
        operator, reason = ask.operator, "as you said"
    order = Order(
        model_id=model_id,
        version=version,
        lane=0,
        input_root=prepared.root,
        input_cid=prepared.locator,
        params=params,
        max_fee=terms.fee if ask.max_fee is None else ask.max_fee,
        priority_window=_priority(ask),
        lifetime=ask.lifetime,
        operator=operator,
        consumer=consumer or ZERO_ADDRESS,
        callback_gas=callback_gas,
    )
    return Prepayment(
        quote=Quote(
            model_id=model_id,
            version=version,
            name=manifest.name,
            fee=terms.fee,
            max_units=terms.max_units,
            balance=balance,
            assurance=terms.assurance,
            meaning=assurance_meaning(network, terms.assurance),
            insured=lock.compensation,
            challenge_window=terms.challenge_window,
            operator=operator,
            operator_reason=reason,
            params=manifest.unpack_params(params),
            shapes=prepared.shapes,
            outside=prepared.outside,
            input_digest=prepared.root,
            consumer=consumer,
            callback_gas=callback_gas,
            callback_bond=_callback_bond(network, consumer, callback_gas),
        ),
        order=order,
        manifest=manifest,
        prepared=prepared,
    )


def _require_able(network: Network, model_id: int, operator: Address, lock: Amount) -> None:
    """Refuse an operator that was named and cannot answer.

    Raises:
        NotFound: it is not registered, not authorised, or lacks free stake.
    """
    known = (c for c in operators.candidates(network, model_id) if c.operator == operator)
    registered = network.operators.stake_of(operator).registered
    stranger = Candidate(operator, False, registered, Amount(0))
    ranked = placement.rank(next(known, stranger), lock)
    if ranked.expected_wait is None:
        raise NotFound(
            f"operator {operator} cannot answer this now: it {ranked.reason}",
            hint="name another, or none: one that can is chosen",
        )


def _priority(ask: Ask) -> int:
    return min(PRIORITY, ask.lifetime // 2) if ask.priority is None else ask.priority


def _callback(network: Network, ask: Ask) -> tuple[Address | None, int]:
    if ask.consumer is None:
        return None, 0
    if network.rpc.call("eth_getCode", ask.consumer, "latest") in ("0x", None):
        raise InputInvalid(
            f"the consumer {ask.consumer} is no contract on this chain: nobody would hear the call",
            hint="name a contract with receiveAnswer (contracts/interfaces/IConsumer.sol)",
        )
    return ask.consumer, ask.callback_gas


def _callback_bond(network: Network, consumer: Address | None, callback_gas: int) -> Wei:
    if consumer is None:
        return NO_WEI
    return with_bond_margin(network.market.callback_bond(callback_gas, block="pending"))


def assurance_meaning(network: Network, assurance: Assurance) -> str:
    """Say what protects the requester from a wrong answer, in this very deployment."""
    config = network.market.config()
    if assurance is Assurance.EXACT:
        module, how = config.exact_module, "a contract re-executes one element and convicts"
    else:
        module, how = (
            config.committee_module,
            "operators drawn at random re-run it: honest majority of drawn stake",
        )
    if module == ZERO_ADDRESS:
        return (
            "no dispute module is deployed here: a withheld answer can be convicted, "
            "a wrong one cannot"
        )
    return how


def fetch_file(network: Network, entry: FileEntry, progress: BytesProgress | None) -> Path:
    """Bring a file of a manifest here, verified; it stays in the cache under its SHA-256."""
    target = network.cache / entry.sha256.hex()

    def report(done: int, total: int) -> None:
        if progress:
            progress(entry.path, done, total)

    network.ipfs.fetch_file(entry.cid, target, entry.sha256, entry.size, report)
    return target
