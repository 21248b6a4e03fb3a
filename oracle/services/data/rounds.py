"""Rounds for data: what they ask for, where they stand, and what their opener does.

Who brought what to one is in `contributions.py`; what anyone may do is in `advancing.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from oracle.chain.bindings.data_rounds import (
    Round,
    RoundOpened,
    RoundSettled,
    RoundStage,
    RoundTerms,
    TestSetRevealed,
)
from oracle.chain.bindings.valuation_game import Case, ValuationPublished
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, NotFound, PermanentError
from oracle.ipfs import data_sets
from oracle.protocol.training import TrainingData, test_commitment
from oracle.services import balances
from oracle.services.data import files, round_events, secrets
from oracle.services.data.secrets import Secret, SecretBook
from oracle.services.event_history import Happened, Moment, topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import ZERO32, ZERO_ADDRESS, Address, Amount, Bytes32, Credits, Timestamp
from oracle.valuation.dataset import DataSet
from oracle.valuation.errors import SchemaMismatch


class RoundClosed(PermanentError):
    """A round does not take what was brought any more, or not yet."""


class RoundPhase(Enum):
    """Where a round stands, as the clock and the contracts together tell."""

    SUBMIT = "takes commitments to data sets"
    REVEAL = "data sets are revealed"
    TEST = "the test set is revealed"
    ANSWER = "demanded rows are shown"
    NUMBER = "anyone may number the contributions"
    MISSED = "the test set was not revealed; anyone may void the round"
    VALUE = "a valuator computes what the data is worth"
    CHALLENGE = "the valuation can be challenged"
    SETTLE = "anyone may settle the round"
    SETTLED = "settled"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class RoundInfo:
    """A round as it stands now.

    Attributes:
        until: when the phase ends by itself, 0 when somebody has to act.
        deposit: of an account without a tier; fee: of every contribution.
        test_root: of the test set, once it is revealed.
        valuation_root: of the published valuation; zero when there is none.
        most: credits that the round gets at the most, by what is held now; None when nothing is.
        credits: that the settled valuation gave in all.
    """

    round_id: int
    model_id: int
    opener: Address
    phase: RoundPhase
    until: Timestamp
    submit_until: Timestamp
    reveal_until: Timestamp
    test_until: Timestamp
    terms: RoundTerms
    deposit: Amount
    fee: Amount
    contributions: int
    revealed: int
    numbered: int
    rows: int
    test_root: Bytes32 | None
    test_cid: Bytes32 | None
    valuator: Address
    attempt: int
    challenges: int
    valuation_root: Bytes32
    values: tuple[int, ...]
    most: Credits | None
    credits: Credits
    moves: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A round that was just opened."""

    round_id: int
    model_id: int
    terms: RoundTerms
    test_root: Bytes32
    transaction: Sent


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What an opener chooses; the rest of the terms follows from schema and test set."""

    neighbours: int = 5
    row_tolerance: int = 0
    test_tolerance: int = 0
    max_contributions: int = 64
    max_rows: int = 1 << 14
    submit_period: int = 86_400  # seconds, as both that follow
    reveal_period: int = 86_400
    test_period: int = 86_400
    reward: Amount = Amount(0)  # noqa: RUF009 - a number with a name


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def show(network: Network, round_id: int) -> RoundInfo:
    """Return one round with all that happened in it.

    Raises:
        NotFound: there is no such round.
    """
    happened = round_events.read(network, round_id)
    if not happened:
        raise NotFound(f"there is no round {round_id}", hint="`tallystick data round list`")
    return _info(network, round_id, happened, round_events.tell(network, happened))


def list_rounds(network: Network, model_id: int | None = None) -> tuple[RoundInfo, ...]:
    """Return rounds, oldest first, of one model or of all; without what happened in them."""
    opened = network.history.read(
        network.data_rounds.address,
        (RoundOpened,),
        None,
        None if model_id is None else topic(model_id),
    )
    found: dict[int, list[Happened]] = {
        h.event.round_id: [h] for h in opened if isinstance(h.event, RoundOpened)
    }
    if not found:
        return ()
    ids = [topic(round_id) for round_id in found]
    kinds = (TestSetRevealed, RoundSettled)
    since = opened[0].block
    for place, events in (
        (network.data_rounds.address, kinds),
        (network.valuations.address, (ValuationPublished,)),
    ):
        for happened in network.history.read(place, events, ids, since=since):
            found[happened.event.round_id].append(happened)  # type: ignore[attr-defined]
    return tuple(_info(network, round_id, life, ()) for round_id, life in found.items())


def current(network: Network, model_id: int) -> int:
    """Return the model's last round.

    Raises:
        NotFound: nobody ever opened one.
    """
    round_id = network.data_rounds.current_round_of(model_id)
    if not round_id:
        raise NotFound(
            f"model {model_id} has no round for data",
            hint=f"its holder opens one: `tallystick data round open {model_id} TEST_SET`",
        )
    return round_id


def _info(
    network: Network, round_id: int, happened: Iterable[Happened], told: tuple[Moment, ...]
) -> RoundInfo:
    round_ = network.data_rounds.round_of(round_id)
    case = network.valuations.case_of(round_id)
    config = network.data_rounds.config()
    events = [h.event for h in happened]
    opened = next(e for e in events if isinstance(e, RoundOpened))
    test = next((e for e in events if isinstance(e, TestSetRevealed)), None)
    valued = [e for e in events if isinstance(e, ValuationPublished)]
    settled = next((e for e in events if isinstance(e, RoundSettled)), None)
    phase, until = phase_of(network, round_id, round_, case)
    last = valued[-1] if valued and phase in _VALUED else None
    most = network.credits.mintable(round_.model_id, opened.terms.test_rows)
    return RoundInfo(
        round_id=round_id,
        model_id=round_.model_id,
        opener=round_.opener,
        phase=phase,
        until=until,
        submit_until=round_.submit_until,
        reveal_until=round_.reveal_until,
        test_until=round_.test_until,
        terms=opened.terms,
        deposit=config.deposit,
        fee=config.fee,
        contributions=round_.contributions,
        revealed=round_.revealed,
        numbered=round_.numbered,
        rows=round_.rows,
        test_root=test.test_root if test else None,
        test_cid=test.cid if test else None,
        valuator=case.valuator,
        attempt=case.attempt,
        challenges=case.challenges,
        valuation_root=last.valuation_root if last else ZERO32,
        values=last.values if last else (),
        most=Credits(most) if most < UNBOUNDED else None,
        credits=settled.credits if settled else Credits(0),
        moves=told,
    )


UNBOUNDED = 2**256 - 1  # what ICredits.mintable says of a model without credits
_VALUED = (RoundPhase.CHALLENGE, RoundPhase.SETTLE, RoundPhase.SETTLED)


def phase_of(
    network: Network, round_id: int, round_: Round, case: Case
) -> tuple[RoundPhase, Timestamp]:
    """Return where a round stands by the latest block's clock, and until when."""
    now, never = network.history.now(), Timestamp(0)
    if round_.stage is RoundStage.COLLECTING:
        return _collecting(network, round_id, round_, now)
    if round_.stage is RoundStage.VALUING:
        if not case.published:
            end = case.until if case.valuator != ZERO_ADDRESS else _end_by(network, round_, case)
            return RoundPhase.VALUE, end
        if now < case.until:
            return RoundPhase.CHALLENGE, case.until
        return (RoundPhase.CHALLENGE if case.challenges else RoundPhase.SETTLE), never
    if round_.stage is RoundStage.NONE:
        raise NotFound(f"there is no round {round_id}", hint="`tallystick data round list`")
    return (RoundPhase.SETTLED if round_.stage is RoundStage.SETTLED else RoundPhase.VOID), never


def _collecting(
    network: Network, round_id: int, round_: Round, now: Timestamp
) -> tuple[RoundPhase, Timestamp]:
    answered = Timestamp(round_.test_until + network.row_demands.wait_of(round_id))
    for phase, until in (
        (RoundPhase.SUBMIT, round_.submit_until),
        (RoundPhase.REVEAL, round_.reveal_until),
        (RoundPhase.TEST, round_.test_until),
        (RoundPhase.ANSWER, answered if round_.test_revealed else 0),
    ):
        if now < until:
            return phase, Timestamp(until)
    return (RoundPhase.NUMBER if round_.test_revealed else RoundPhase.MISSED), Timestamp(0)


def _end_by(network: Network, round_: Round, case: Case) -> Timestamp:
    if case.end_by:
        return case.end_by
    return Timestamp(round_.sealed_at + network.valuations.config().valuing_period)


# ── What the opener does ────────────────────────────────────────────────────────────────────────
def open_round(
    network: Network,
    wallet: Wallet,
    model_id: int,
    *,
    test: DataSet,
    data: TrainingData,
    plan: RoundPlan,
) -> Opened:
    """Open a round whose test set is committed to now and hidden until data sets are revealed.

    Raises:
        SchemaMismatch: the test set is not of this schema.
        InputInvalid: the schema is not that of the model's manifest.
        ContractError: not the model's holder, a round is live, terms out of range.
    """
    pinned = files.of_model(network, model_id)
    if pinned not in (None, data):
        raise InputInvalid(
            f"model {model_id} pins another schema of data in its manifest",
            hint="leave --schema out to take the manifest's, or publish a new version",
        )
    if test.width != len(data.columns):
        raise SchemaMismatch(f"the test set has {test.width} columns, not {len(data.columns)}")
    secret_salt = secrets.salt()
    commitment = test_commitment(model_id, wallet.address, secret_salt, test.root, test.rows)
    terms = RoundTerms(
        features=test.width,
        neighbours=plan.neighbours,
        row_tolerance=plan.row_tolerance,
        test_tolerance=plan.test_tolerance,
        test_rows=test.rows,
        max_contributions=plan.max_contributions,
        max_rows=plan.max_rows,
        submit_period=plan.submit_period,
        reveal_period=plan.reveal_period,
        test_period=plan.test_period,
        reward=plan.reward,
        test_commitment=commitment,
        schema=files.publish(network, data),
    )
    book = SecretBook.of(network.settings.home, network.contracts)
    secret = Secret(commitment, wallet.address, model_id, secret_salt, test.root, test.rows)
    book.keep(secret, test)
    balances.allow(network, wallet, network.data_rounds.address, plan.reward)
    sent, receipt = send(wallet, network.data_rounds.open_round(model_id, terms))
    round_id = receipt.one(RoundOpened).round_id
    return Opened(round_id, model_id, terms, test.root, sent)


def reveal_test(network: Network, wallet: Wallet, round_id: int) -> Sent:
    """Publish the test set and open the commitment to it; anyone who holds its secret may.

    Raises:
        NotFound: this machine does not hold the secret.
        ContractError: too early, too late, or revealed before.
    """
    secret = test_secret(network, round_id)
    if secret is None:
        raise NotFound(
            f"the test set of round {round_id} was not committed to on this machine",
            hint="reveal it where `tallystick data round open` was run",
        )
    book = SecretBook.of(network.settings.home, network.contracts)
    wallet.simulate(
        network.data_rounds.reveal_test(round_id, secret.root, secret.salt, secret.root)
    )
    cid = data_sets.publish(network.ipfs, book.data(secret), book.folder)
    call = network.data_rounds.reveal_test(round_id, secret.root, secret.salt, cid)
    return send(wallet, call)[0]


def test_secret(network: Network, round_id: int) -> Secret | None:
    """Return what opens the commitment to a round's test set, if it was made here."""
    round_ = network.data_rounds.round_of(round_id)
    if round_.test_revealed:
        return None
    return SecretBook.of(network.settings.home, network.contracts).find(round_.test)


def exclude(network: Network, wallet: Wallet, round_id: int, index: int) -> Sent:
    """Leave out a contribution whose data nobody serves; its deposit goes back.

    Raises:
        ContractError: not the opener, not in the phase of the test set, not revealed.
    """
    return send(wallet, network.data_rounds.exclude(round_id, index))[0]
