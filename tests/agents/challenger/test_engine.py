"""The engine against a game in memory: what it risks, what it never does, death at every step."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oracle.agents.challenger.engine import Budget, Engine, Unaffordable, Unsound
from oracle.agents.challenger.moves import AskNode, End, Open, Prove, Wait
from oracle.agents.challenger.store import ChallengerStore
from oracle.chain.bindings.dispute_game import Receipt, Turn
from oracle.errors import Unavailable
from oracle.exact import files
from oracle.exact.commitments import Committed, trace_root
from oracle.services.exact_faults import HonestTrace
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import SignedReceipt
from oracle.store.store import Store
from oracle.types import ZERO32, Amount, Bytes32, RequestId, Wei
from tests.agents.challenger.memory_chain_view import (
    ID,
    TURN,
    Counter,
    Deadly,
    MemoryChainView,
)
from tests.contracts.exact import example, single
from tests.support.killing import Killed

TRUTH = HonestTrace(example().constants, example().honest)


class Operator:
    """What the operator serves, and what is on IPFS."""

    def __init__(self, chain: MemoryChainView, *, serves: bool, output: bool = True) -> None:
        self.chain = chain
        self.serves = serves
        self.output = output
        committed = chain.committed
        leaves = committed.trace_leaves
        self.signed = SignedReceipt(
            Receipt(committed.output_root, trace_root(leaves), b"signature"), leaves
        )
        chain.signatures.add(self.signed.receipt)

    def receipt(self, endpoint: str, request_id: RequestId) -> SignedReceipt | None:
        return self.signed if self.serves else None

    def tensor(self, endpoint: str, request_id: RequestId, op: int, size: int) -> bytes | None:
        record = self._record(op)
        assert len(record) == size
        return record if self.serves else None

    def fetch(self, output_cid: Bytes32, output_root: Bytes32) -> bytes:
        if not self.output:
            raise Unavailable("nobody has it")
        return self._record(len(self.chain.committed.program.ops) - 1)

    def _record(self, op: int) -> bytes:
        tensor_id = self.chain.committed.program.id_of(op)
        return files.record(tensor_id, self.chain.committed.tree(tensor_id))


def engine(
    chain: MemoryChainView, operator: Operator, store: ChallengerStore, budget: Budget | None = None
) -> Engine:
    return Engine(chain, store, operator, operator.fetch, budget or Budget())


@pytest.fixture
def empty() -> Iterator[ChallengerStore]:
    with closing(Store.open("sqlite://")) as opened:
        yield ChallengerStore(opened)


@pytest.fixture
def store() -> Iterator[ChallengerStore]:
    with closing(Store.open("sqlite://")) as opened:
        yield ChallengerStore(opened)


def play(chain: MemoryChainView, made: Engine, truth: HonestTrace = TRUTH) -> object:
    """Let both sides move until the engine ends or waits for time to pass."""
    for _ in range(30):
        move = made.step(ID, lambda: truth)
        chain.mine()
        if isinstance(move, End | Wait) and not chain.outbox:
            return move
    raise AssertionError("the game does not end")


LIES = {
    "inside": example().lie_inside,
    "at the end": example().lie_at_the_end,
}


# ── What it never does ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("honest", [example().honest, example().lie_in_the_trace])
def test_step__right_output__never_challenges(store: ChallengerStore, honest: Committed) -> None:
    chain = MemoryChainView(honest)
    move = play(chain, engine(chain, Operator(chain, serves=True), store))
    assert move == End("the answer is right")
    assert chain.mined == []


def test_step__own_trace_refused_by_the_contract__never_challenges(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside)
    chain.contract_agrees = False
    with pytest.raises(Unsound, match="another element"):
        engine(chain, Operator(chain, serves=True), store).step(ID, lambda: TRUTH)
    assert chain.outbox == []


def test_step__own_execution_damaged__never_challenges(store: ChallengerStore) -> None:
    """A machine that computes wrongly sees lies everywhere; its own trace does not pass."""
    tensors = [t.copy() for t in example().honest.tensors]
    tensors[3][4, 4] += 1  # the middle of the output
    damaged = HonestTrace(example().constants, Committed(example().program, tensors))
    chain = MemoryChainView(example().honest)
    with pytest.raises(Unsound, match="does not pass the judge"):
        engine(chain, Operator(chain, serves=True), store).step(ID, lambda: damaged)


def test_step__window_over__does_not_challenge(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside)
    chain.pass_time(1000)
    move = engine(chain, Operator(chain, serves=True), store).step(ID, lambda: TRUTH)
    assert move == End("the challenge window has passed")


@pytest.mark.parametrize(
    ("budget", "balance", "why"),
    [
        (Budget(max_bond=Wei(999)), 10**18, "above your limit"),
        (Budget(min_bounty=Amount(7 * 10**6)), 10**18, "below your --min-bounty"),
        (Budget(), 1000, "of bond and up to"),
    ],
)
def test_step__too_expensive__says_why(
    store: ChallengerStore, budget: Budget, balance: int, why: str
) -> None:
    chain = MemoryChainView(example().lie_inside)
    chain.balance = Wei(balance)
    with pytest.raises(Unaffordable, match=why):
        engine(chain, Operator(chain, serves=True), store, budget).step(ID, lambda: TRUTH)
    assert store.plan(ID, chain.committed.output_root, 0) is None


def test_step__contract_as_operator__its_receipt_is_not_relied_on(store: ChallengerStore) -> None:
    """A contract may deny its signature once a fault was hidden: the bond would be lost."""
    chain = MemoryChainView(example().lie_inside, code=True)
    made = engine(chain, Operator(chain, serves=True), store)
    assert made.step(ID, lambda: TRUTH) == Open(None)
    chain.mine()
    play(chain, made)
    assert chain.verdict == "wrong"


def test_step__failed_twice__gives_up(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside)
    chain.failures = 2
    move = engine(chain, Operator(chain, serves=True), store).step(ID, lambda: TRUTH)
    assert move == End("the challenge failed")


def test_step__lapsed_once__receipt_is_not_relied_on_again(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside)
    chain.failures = 1
    made = engine(chain, Operator(chain, serves=True), store)
    assert made.step(ID, lambda: TRUTH) == Open(None)


# ── How games go ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("lie", LIES)
def test_step__served__two_moves(store: ChallengerStore, lie: str) -> None:
    chain = MemoryChainView(LIES[lie])
    play(chain, engine(chain, Operator(chain, serves=True), store))
    assert (chain.mined, chain.verdict) == (["Open", "Prove"], "wrong")


@pytest.mark.parametrize("lie", LIES)
def test_step__withheld__opened_and_proven(store: ChallengerStore, lie: str) -> None:
    chain = MemoryChainView(LIES[lie])
    made = engine(chain, Operator(chain, serves=False, output=False), store)
    play(chain, made)
    assert chain.verdict == "wrong"
    assert chain.mined[0] == "Open"
    assert chain.mined[-1] == "Prove"
    assert set(chain.mined[1:-1]) == {"AskNode"}
    assert len(chain.mined) <= 4


def test_step__one_operator__no_trace_is_needed(store: ChallengerStore) -> None:
    _, constants, honest, wrong = single()
    chain = MemoryChainView(wrong)
    made = engine(chain, Operator(chain, serves=False), store)
    play(chain, made, HonestTrace(constants, honest))
    assert chain.mined == ["Open", "Prove"]


def test_step__silent__convicted_when_the_turn_is_over(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside, replies=False)
    made = engine(chain, Operator(chain, serves=False), store)
    move = play(chain, made)
    assert isinstance(move, Wait)
    assert move.until == chain.challenge.deadline
    chain.pass_time(TURN)
    play(chain, made)
    assert (chain.mined, chain.verdict) == (["Open", "ConvictSilent"], "silent")


def test_step__other_trace_signed_than_posted__equivocation(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside)
    operator = Operator(chain, serves=False)
    made = engine(chain, operator, store)
    made.step(ID, lambda: TRUTH)
    chain.mine()
    other = Receipt(chain.committed.output_root, Bytes32(b"\x09" * 32), b"other")
    chain.signatures.add(other)
    store.keep_receipt(ID, SignedReceipt(other, ()))
    play(chain, made)
    assert (chain.mined, chain.verdict) == (["Open", "Equivocate"], "equivocation")


def test_step__forged_receipt_kept__is_not_acted_on(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside)
    store.keep_receipt(ID, SignedReceipt(Receipt(Bytes32(b"\x08" * 32), ZERO32, b"forged"), ()))
    play(chain, engine(chain, Operator(chain, serves=True), store))
    assert chain.mined == ["Open", "Prove"]


def test_step__challenge_vanishes__is_opened_again_with_the_same_witness(
    store: ChallengerStore,
) -> None:
    chain = MemoryChainView(example().lie_inside)
    made = engine(chain, Operator(chain, serves=True), store)
    made.step(ID, lambda: TRUTH)
    chain.mine()
    hidden = chain.challenge.witness
    chain.vanish()
    made.step(ID, lambda: TRUTH)
    chain.mine()
    assert chain.challenge.witness == hidden
    play(chain, made)
    assert chain.verdict == "wrong"


def test_step__operator_stops_serving__what_was_served_is_enough(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside)
    operator = Operator(chain, serves=True)
    made = engine(chain, operator, store)
    made.step(ID, lambda: TRUTH)
    chain.mine()
    operator.serves = operator.output = False
    play(chain, made)
    assert chain.mined == ["Open", "Prove"]


def test_step__store_lost_with_a_hidden_fault__waits_and_says_why(
    store: ChallengerStore, empty: ChallengerStore
) -> None:
    chain = MemoryChainView(example().lie_inside)
    operator = Operator(chain, serves=True)
    engine(chain, operator, store).step(ID, lambda: TRUTH)
    chain.mine()
    move = engine(chain, operator, empty).step(ID, lambda: TRUTH)
    assert isinstance(move, Wait)
    assert "before the trace is on chain" in move.reason


def test_step__trace_on_chain_and_store_lost__has_the_element_revealed(
    store: ChallengerStore, empty: ChallengerStore
) -> None:
    chain = MemoryChainView(example().lie_inside)
    operator = Operator(chain, serves=True)
    engine(chain, operator, store).step(ID, lambda: TRUTH)
    chain.mine()
    chain.leaves = chain.committed.trace_leaves
    made = engine(chain, operator, empty)
    assert isinstance(made.step(ID, lambda: TRUTH), AskNode)
    chain.mine()
    assert isinstance(made.step(ID, lambda: TRUTH), Prove)
    chain.mine()
    assert chain.verdict == "wrong"


def test_step__convicted_by_another__bond_is_released(store: ChallengerStore) -> None:
    chain = MemoryChainView(example().lie_inside, replies=False)
    made = engine(chain, Operator(chain, serves=False), store)
    made.step(ID, lambda: TRUTH)
    chain.mine()
    chain.state = RequestState.CONVICTED
    play(chain, made)
    assert chain.mined == ["Open", "Release"]
    assert chain.challenge.turn is Turn.NONE


# ── Death at every step ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("serves", [True, False])
def test_step__killed_at_any_call__same_game_and_nothing_twice(
    tmp_path: Path, serves: bool
) -> None:
    new = tmp_path / "new.db"
    Store.open(f"sqlite:///{new}").close()
    wanted, place = _game(new, serves, None)
    assert wanted[-1] == "Prove"
    assert place > 20
    for at in range(1, place + 1):
        mined, _ = _game(new, serves, at)
        assert mined == wanted, f"killed at call {at}"


def _game(new: Path, serves: bool, at: int | None) -> tuple[list[str], int]:
    """Play a game, dying once at the given call; return what was mined, and the calls made."""
    file = shutil.copy(new, new.with_name(f"{at}.db"))  # making the tables takes half a second
    chain = MemoryChainView(example().lie_inside)
    operator = Operator(chain, serves=serves)
    counter = Counter(at)
    while chain.state is RequestState.DELIVERED:
        kept = Store.open(f"sqlite:///{file}")
        parts = (chain, ChallengerStore(kept), operator, operator)
        chain_, store, traces, outputs = (Deadly(part, counter) for part in parts)
        made = Engine(chain_, store, traces, outputs.fetch, Budget())  # type: ignore[arg-type]
        try:
            while chain.state is RequestState.DELIVERED:
                made.step(ID, lambda: TRUTH)
                chain.mine()
        except Killed:
            counter.until = None
            chain.mine()
        kept.close()
    return chain.mined, counter.count
