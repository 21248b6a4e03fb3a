"""Rounds of training: what they ask for, where they stand, and what their opener does.

Who takes part is in `joining.py`, aggregates are in `aggregating.py`, challenges in
`challenging.py`.
"""

from dataclasses import dataclass
from enum import Enum

from oracle.chain.bindings.training_rounds import (
    AggregatePublished,
    TrainingOpened,
    TrainingRound,
    TrainingRule,
    TrainingStage,
    TrainingTerms,
    UpdateRevealed,
    UpdateStatus,
)
from oracle.chain.wallet import Wallet
from oracle.errors import NotFound
from oracle.services import balances
from oracle.services.builders import Update
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.services.training import bases
from oracle.types import ZERO32, ZERO_ADDRESS, Address, Amount, Bytes32, Timestamp

_DAY = 86_400
_NEVER = Timestamp(0)


class TrainingPhase(Enum):
    """Where a round stands, as the clock and the contract together tell."""

    COMMIT = "takes commitments to updates"
    REVEAL = "updates are revealed"
    SERVE = "updates can be demanded"
    CLAIM = "waits for an aggregator"
    AGGREGATE = "an aggregator is at work"
    LATE = "its aggregator is late; anyone may take its place"
    EXPIRED = "nobody aggregated it; anyone may void the round"
    CHALLENGE = "the aggregate can be challenged"
    SETTLE = "anyone may settle the round"
    SETTLED = "settled"
    VOID = "void"


ENDED = (TrainingPhase.SETTLED, TrainingPhase.VOID)


@dataclass(frozen=True, slots=True)
class RevealedUpdate:
    """An update of a round.

    Attributes:
        number: its place in the order of reveals, from 1.
        cid: digest in the CID of its file. digest: SHA-256 of the file.
    """

    number: int
    participant: Address
    weight: int
    status: UpdateStatus
    root: Bytes32
    cid: Bytes32
    digest: Bytes32


@dataclass(frozen=True, slots=True)
class TrainingRoundInfo:
    """A round as it stands now.

    Attributes:
        until: when the phase ends by itself, 0 when somebody has to act.
        attempt: aggregates that were published so far.
        cid: of the index of the last aggregate; digest: SHA-256 of its next state's file.
        share: of the reward, of each update that counts; known when settled.
    """

    round_id: int
    model_id: int
    version: int
    opener: Address
    phase: TrainingPhase
    until: Timestamp
    terms: TrainingTerms
    committed: int
    updates: tuple[RevealedUpdate, ...]
    counted: int
    aggregator: Address
    attempt: int
    challenges: int
    sums_root: Bytes32
    next_root: Bytes32
    cid: Bytes32
    digest: Bytes32
    share: Amount


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What an opener chooses; the rest of the terms follows from the version.

    Attributes:
        clip: bound of an update's coordinates. scale_bits: a coordinate of 1 is 2^-scale_bits.
        trim: k of the rule `trimmed`.
        …_period: seconds.
    """

    clip: int = 2**15 - 1
    rule: TrainingRule = TrainingRule.MEAN
    trim: int = 0
    scale_bits: int = 16
    max_weight: int = 2**16 - 1
    least_clients: int = 2
    most_clients: int = 16
    commit_period: int = _DAY
    reveal_period: int = _DAY // 4
    serve_period: int = _DAY // 4
    aggregate_period: int = _DAY
    challenge_period: int = _DAY
    aggregator_bond: Amount = Amount(50 * 10**6)  # noqa: RUF009 - a number with a name
    participant_bond: Amount = Amount(10 * 10**6)  # noqa: RUF009
    reward: Amount = Amount(0)  # noqa: RUF009
    fee: Amount = Amount(0)  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class OpenedTraining:
    """A round that was just opened."""

    round_id: int
    model_id: int
    version: int
    state_root: Bytes32
    parameters: int
    transaction: Sent


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def show(network: Network, round_id: int) -> TrainingRoundInfo:
    """Return one round.

    Raises:
        NotFound: there is no such round.
    """
    round_ = network.training.round_of(round_id)
    if round_.stage is TrainingStage.NONE:
        raise NotFound(f"there is no round {round_id} of training", hint="`tallystick train list`")
    terms = network.training.terms_of(round_id)
    happened = network.history.read(
        network.training.address, (UpdateRevealed, AggregatePublished), topic(round_id)
    )
    events = [one.event for one in happened]
    published = [e for e in events if isinstance(e, AggregatePublished)]
    stands = round_.stage in (TrainingStage.PUBLISHED, TrainingStage.SETTLED)
    last = published[-1] if published and stands else None
    phase, until = phase_of(terms, round_, network.history.now())
    return TrainingRoundInfo(
        round_id=round_id,
        model_id=terms.model_id,
        version=terms.version,
        opener=round_.opener,
        phase=phase,
        until=until,
        terms=terms,
        committed=round_.committed,
        updates=tuple(
            _revealed(network, round_id, e) for e in events if isinstance(e, UpdateRevealed)
        ),
        counted=round_.counted,
        aggregator=round_.aggregator,
        attempt=round_.attempt,
        challenges=round_.challenges,
        sums_root=round_.sums_root if last else ZERO32,
        next_root=round_.next_root if last else ZERO32,
        cid=last.cid if last else ZERO32,
        digest=last.digest if last else ZERO32,
        share=round_.share,
    )


def list_rounds(network: Network, model_id: int | None = None) -> tuple[TrainingRoundInfo, ...]:
    """Return rounds, oldest first, of one model or of all."""
    opened = network.history.read(
        network.training.address,
        (TrainingOpened,),
        None,
        None if model_id is None else topic(model_id),
    )
    ids = [one.event.round_id for one in opened if isinstance(one.event, TrainingOpened)]
    return tuple(show(network, round_id) for round_id in ids)


def phase_of(
    terms: TrainingTerms, round_: TrainingRound, now: Timestamp
) -> tuple[TrainingPhase, Timestamp]:
    """Return where a round stands at a time, and until when; 0 where somebody has to act."""
    match round_.stage:
        case TrainingStage.SETTLED:
            return TrainingPhase.SETTLED, _NEVER
        case TrainingStage.VOID:
            return TrainingPhase.VOID, _NEVER
        case TrainingStage.PUBLISHED if now < round_.until:
            return TrainingPhase.CHALLENGE, round_.until
        case TrainingStage.PUBLISHED:
            waits = TrainingPhase.CHALLENGE if round_.challenges else TrainingPhase.SETTLE
            return waits, _NEVER
        case _:
            return _collecting(terms, round_, now)


def _collecting(
    terms: TrainingTerms, round_: TrainingRound, now: Timestamp
) -> tuple[TrainingPhase, Timestamp]:
    for phase, until in (
        (TrainingPhase.COMMIT, round_.commit_until),
        (TrainingPhase.REVEAL, round_.reveal_until),
        (TrainingPhase.SERVE, round_.serve_until),
    ):
        if now < until:
            return phase, until
    if round_.aggregator != ZERO_ADDRESS:
        if now < round_.until:
            return TrainingPhase.AGGREGATE, round_.until
        return TrainingPhase.LATE, _NEVER
    if round_.challenges:
        return TrainingPhase.SERVE, _NEVER
    if round_.counted >= terms.least_clients and now < round_.end_by:
        return TrainingPhase.CLAIM, round_.end_by
    return TrainingPhase.EXPIRED, _NEVER


def _revealed(network: Network, round_id: int, event: UpdateRevealed) -> RevealedUpdate:
    held = network.training.update_of(round_id, event.number)
    return RevealedUpdate(
        number=event.number,
        participant=event.participant,
        weight=held.weight,
        status=held.status,
        root=held.root,
        cid=event.cid,
        digest=event.digest,
    )


# ── What the opener does ────────────────────────────────────────────────────────────────────────
def open_round(
    network: Network,
    wallet: Wallet,
    model_id: int,
    version: int,
    *,
    plan: TrainingPlan,
    update: Update = lambda _done, _total: None,
) -> OpenedTraining:
    """Open a round that begins with a version's weights. Takes reward and fee from the wallet.

    Raises:
        NotFound: no such version. InputInvalid: it is no safetensors of a known architecture.
        ContractError: not the model's holder, or terms out of range.
    """
    base = bases.make(network, model_id, version, plan.scale_bits, update)
    terms = TrainingTerms(
        model_id=model_id,
        version=version,
        parameters=base.parameters,
        clip=plan.clip,
        rule=plan.rule,
        trim=plan.trim,
        scale_bits=plan.scale_bits,
        max_weight=plan.max_weight,
        least_clients=plan.least_clients,
        most_clients=plan.most_clients,
        state_root=base.root,
        commit_period=plan.commit_period,
        reveal_period=plan.reveal_period,
        serve_period=plan.serve_period,
        aggregate_period=plan.aggregate_period,
        challenge_period=plan.challenge_period,
        aggregator_bond=plan.aggregator_bond,
        participant_bond=plan.participant_bond,
        reward=plan.reward,
        fee=plan.fee,
    )
    balances.allow(network, wallet, network.training.address, Amount(plan.reward + plan.fee))
    sent, receipt = send(wallet, network.training.open(terms))
    round_id = receipt.one(TrainingOpened).round_id
    return OpenedTraining(round_id, model_id, version, base.root, base.parameters, sent)
