"""The engine against a game in memory: what it risks, what it never does, death at every step."""

from pathlib import Path

import pytest

from oracle.agents.challenger.engine import Budget, Engine, Unaffordable, Unsound
from oracle.agents.challenger.moves import AskNode, End, Open, Prove, Wait
from oracle.agents.challenger.store import Memory
from oracle.chain.dispute_game import Receipt, Turn
from oracle.errors import Unavailable
from oracle.exact import files
from oracle.exact.commitments import Committed, trace_root
from oracle.services.exact_faults import HonestTrace
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import SignedReceipt
from oracle.types import ZERO32, Amount, Bytes32, RequestId, Wei
from tests.agents.challenger.memory_chain_view import (
    ID,
    ME,
    TURN,
    Counter,
    Deadly,
    Killed,
    MemoryBoard,
)
from tests.contracts.exact import example, single

TRUTH = HonestTrace(example().constants, example().honest)


class Operator:
    """What the operator serves, and what is on IPFS."""

    def __init__(self, board: MemoryBoard, *, serves: bool, output: bool = True) -> None:
        self.board = board
        self.serves = serves
        self.output = output
        committed = board.committed
        leaves = committed.trace_leaves
        self.signed = SignedReceipt(
            Receipt(committed.output_root, trace_root(leaves), b"signature"), leaves
        )
        board.signatures.add(self.signed.receipt)

    def receipt(self, endpoint: str, request_id: RequestId) -> SignedReceipt | None:
        return self.signed if self.serves else None

    def tensor(self, endpoint: str, request_id: RequestId, op: int, size: int) -> bytes | None:
        record = self._record(op)
        assert len(record) == size
        return record if self.serves else None

    def fetch(self, output_cid: Bytes32, output_root: Bytes32) -> bytes:
        if not self.output:
            raise Unavailable("nobody has it")
        return self._record(len(self.board.committed.program.ops) - 1)

    def _record(self, op: int) -> bytes:
        tensor_id = self.board.committed.program.id_of(op)
        return files.record(tensor_id, self.board.committed.tree(tensor_id))


def engine(
    board: MemoryBoard, operator: Operator, memory: Memory, budget: Budget | None = None
) -> Engine:
    return Engine(board, memory, operator, operator, budget or Budget())


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "challenger.db", ME)


def play(board: MemoryBoard, made: Engine, truth: HonestTrace = TRUTH, most: int = 30) -> object:
    """Let both sides move until the engine ends or waits for time to pass."""
    for _ in range(most):
        move = made.step(ID, lambda: truth)
        board.mine()
        if isinstance(move, End | Wait) and not board.outbox:
            return move
    raise AssertionError("the game does not end")


LIES = {
    "inside": example().lie_inside,
    "at the end": example().lie_at_the_end,
}


# ── What it never does ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("honest", [example().honest, example().lie_in_the_trace])
def test_step__right_output__never_challenges(memory: Memory, honest: Committed) -> None:
    board = MemoryBoard(honest)
    move = play(board, engine(board, Operator(board, serves=True), memory))
    assert move == End("the answer is right")
    assert board.mined == []


def test_step__own_trace_refused_by_the_contract__never_challenges(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    board.contract_agrees = False
    with pytest.raises(Unsound, match="another element"):
        engine(board, Operator(board, serves=True), memory).step(ID, lambda: TRUTH)
    assert board.outbox == []


def test_step__own_execution_damaged__never_challenges(memory: Memory) -> None:
    """A machine that computes wrongly sees lies everywhere; its own trace does not pass."""
    tensors = [t.copy() for t in example().honest.tensors]
    tensors[3][4, 4] += 1  # the middle of the output
    damaged = HonestTrace(example().constants, Committed(example().program, tensors))
    board = MemoryBoard(example().honest)
    with pytest.raises(Unsound, match="does not pass the judge"):
        engine(board, Operator(board, serves=True), memory).step(ID, lambda: damaged)


def test_step__window_over__does_not_challenge(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    board.pass_time(1000)
    move = engine(board, Operator(board, serves=True), memory).step(ID, lambda: TRUTH)
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
    memory: Memory, budget: Budget, balance: int, why: str
) -> None:
    board = MemoryBoard(example().lie_inside)
    board.balance = Wei(balance)
    with pytest.raises(Unaffordable, match=why):
        engine(board, Operator(board, serves=True), memory, budget).step(ID, lambda: TRUTH)
    assert memory.plan(ID, board.committed.output_root, 0) is None


def test_step__contract_as_operator__its_receipt_is_not_relied_on(memory: Memory) -> None:
    """A contract may deny its signature once a fault was hidden: the bond would be lost."""
    board = MemoryBoard(example().lie_inside, code=True)
    made = engine(board, Operator(board, serves=True), memory)
    assert made.step(ID, lambda: TRUTH) == Open(None)
    board.mine()
    play(board, made)
    assert board.verdict == "wrong"


def test_step__failed_twice__gives_up(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    board.failures = 2
    move = engine(board, Operator(board, serves=True), memory).step(ID, lambda: TRUTH)
    assert move == End("the challenge failed")


def test_step__lapsed_once__receipt_is_not_relied_on_again(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    board.failures = 1
    made = engine(board, Operator(board, serves=True), memory)
    assert made.step(ID, lambda: TRUTH) == Open(None)


# ── How games go ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("lie", LIES)
def test_step__served__two_moves(memory: Memory, lie: str) -> None:
    board = MemoryBoard(LIES[lie])
    play(board, engine(board, Operator(board, serves=True), memory))
    assert (board.mined, board.verdict) == (["Open", "Prove"], "wrong")


@pytest.mark.parametrize("lie", LIES)
def test_step__withheld__opened_and_proven(memory: Memory, lie: str) -> None:
    board = MemoryBoard(LIES[lie])
    made = engine(board, Operator(board, serves=False, output=False), memory)
    play(board, made)
    assert board.verdict == "wrong"
    assert board.mined[0] == "Open"
    assert board.mined[-1] == "Prove"
    assert set(board.mined[1:-1]) == {"AskNode"}
    assert len(board.mined) <= 4


def test_step__one_operator__no_trace_is_needed(memory: Memory) -> None:
    _, constants, honest, wrong = single()
    board = MemoryBoard(wrong)
    made = engine(board, Operator(board, serves=False), memory)
    play(board, made, HonestTrace(constants, honest))
    assert board.mined == ["Open", "Prove"]


def test_step__silent__convicted_when_the_turn_is_over(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside, replies=False)
    made = engine(board, Operator(board, serves=False), memory)
    move = play(board, made)
    assert isinstance(move, Wait)
    assert move.until == board.challenge.deadline
    board.pass_time(TURN)
    play(board, made)
    assert (board.mined, board.verdict) == (["Open", "ConvictSilent"], "silent")


def test_step__other_trace_signed_than_posted__equivocation(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    operator = Operator(board, serves=False)
    made = engine(board, operator, memory)
    made.step(ID, lambda: TRUTH)
    board.mine()
    other = Receipt(board.committed.output_root, Bytes32(b"\x09" * 32), b"other")
    board.signatures.add(other)
    memory.keep_receipt(ID, SignedReceipt(other, ()))
    play(board, made)
    assert (board.mined, board.verdict) == (["Open", "Equivocate"], "equivocation")


def test_step__forged_receipt_kept__is_not_acted_on(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    memory.keep_receipt(ID, SignedReceipt(Receipt(Bytes32(b"\x08" * 32), ZERO32, b"forged"), ()))
    play(board, engine(board, Operator(board, serves=True), memory))
    assert board.mined == ["Open", "Prove"]


def test_step__challenge_vanishes__is_opened_again_with_the_same_witness(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    made = engine(board, Operator(board, serves=True), memory)
    made.step(ID, lambda: TRUTH)
    board.mine()
    hidden = board.challenge.witness
    board.vanish()
    made.step(ID, lambda: TRUTH)
    board.mine()
    assert board.challenge.witness == hidden
    play(board, made)
    assert board.verdict == "wrong"


def test_step__operator_stops_serving__what_was_served_is_enough(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside)
    operator = Operator(board, serves=True)
    made = engine(board, operator, memory)
    made.step(ID, lambda: TRUTH)
    board.mine()
    operator.serves = operator.output = False
    play(board, made)
    assert board.mined == ["Open", "Prove"]


def test_step__memory_lost_with_a_hidden_fault__waits_and_says_why(tmp_path: Path) -> None:
    board = MemoryBoard(example().lie_inside)
    operator = Operator(board, serves=True)
    engine(board, operator, Memory(tmp_path / "a", ME)).step(ID, lambda: TRUTH)
    board.mine()
    move = engine(board, operator, Memory(tmp_path / "b", ME)).step(ID, lambda: TRUTH)
    assert isinstance(move, Wait)
    assert "before the trace is on chain" in move.reason


def test_step__trace_on_chain_and_memory_lost__has_the_element_revealed(tmp_path: Path) -> None:
    board = MemoryBoard(example().lie_inside)
    operator = Operator(board, serves=True)
    engine(board, operator, Memory(tmp_path / "a", ME)).step(ID, lambda: TRUTH)
    board.mine()
    board.leaves = board.committed.trace_leaves
    made = engine(board, operator, Memory(tmp_path / "b", ME))
    assert isinstance(made.step(ID, lambda: TRUTH), AskNode)
    board.mine()
    assert isinstance(made.step(ID, lambda: TRUTH), Prove)
    board.mine()
    assert board.verdict == "wrong"


def test_step__convicted_by_another__bond_is_released(memory: Memory) -> None:
    board = MemoryBoard(example().lie_inside, replies=False)
    made = engine(board, Operator(board, serves=False), memory)
    made.step(ID, lambda: TRUTH)
    board.mine()
    board.state = RequestState.CONVICTED
    play(board, made)
    assert board.mined == ["Open", "Release"]
    assert board.challenge.turn is Turn.NONE


# ── Death at every step ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("serves", [True, False])
def test_step__killed_at_any_call__same_game_and_nothing_twice(
    tmp_path: Path, serves: bool
) -> None:
    wanted, place = _game(tmp_path / "alive", serves, None)
    assert wanted[-1] == "Prove"
    assert place > 20
    for at in range(1, place + 1):
        mined, _ = _game(tmp_path / str(at), serves, at)
        assert mined == wanted, f"killed at call {at}"


def _game(folder: Path, serves: bool, at: int | None) -> tuple[list[str], int]:
    """Play a game, dying once at the given call; return what was mined, and the calls made."""
    folder.mkdir()
    board = MemoryBoard(example().lie_inside)
    operator = Operator(board, serves=serves)
    counter = Counter(at)
    while board.state is RequestState.DELIVERED:
        memory = Memory(folder / "challenger.db", ME)
        parts = [Deadly(part, counter) for part in (board, memory, operator, operator)]
        made = Engine(*parts, Budget())  # type: ignore[arg-type]
        try:
            while board.state is RequestState.DELIVERED:
                made.step(ID, lambda: TRUTH)
                board.mine()
        except Killed:
            counter.until = None
            board.mine()
        memory.close()
    return board.mined, counter.count
