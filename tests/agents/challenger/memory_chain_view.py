"""The dispute game in memory: enough of DisputeGame.sol to play the engine against, and to kill it.

One request, one challenger, one operator; a block per transaction. Judges with the real judge.
"""

from dataclasses import dataclass, replace

from oracle.agents.challenger import moves
from oracle.agents.challenger.moves import GameView
from oracle.chain.arguments import DisputedAnswer
from oracle.chain.bindings.dispute_game import Challenge, LeavesRevealed, NodeOpened, Receipt, Turn
from oracle.chain.revert import ContractError
from oracle.exact import game, judge
from oracle.exact.commitments import Committed, trace_root
from oracle.exact.partial_tensor import TreeNode
from oracle.exact.proofs import claim
from oracle.services.request_timeline import RequestState
from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    Amount,
    Assurance,
    Bytes32,
    Delivery,
    RequestId,
    Stamp,
    Terms,
    Timestamp,
    VersionRecord,
    Wei,
)
from tests.support import samples
from tests.support.killing import Killed

ME = Address("0x" + "11" * 20)
OPERATOR = Address("0x" + "22" * 20)
ID = RequestId(b"\x07" * 32)
NOBODY = Challenge(
    Turn.NONE, 0, Timestamp(0), 0, 0, 0, Wei(0), ZERO32, 0, ZERO_ADDRESS, ZERO_ADDRESS
)
TURN = 100  # seconds
_TERMS = Terms(Amount(10**6), 7000, 0, 10, 60, 0, Assurance.EXACT)


def answer_of(committed: Committed) -> DisputedAnswer:
    """Return a delivered answer with what somebody committed to."""
    request = samples.request(
        requester=ME,
        operator=OPERATOR,
        priority_until=Timestamp(0),
        expires_at=Timestamp(0),
        input_root=committed.input_root,
        terms=_TERMS,
    )
    record = VersionRecord(
        1, 1, OPERATOR, ZERO32, ZERO32, ZERO32, committed.program.model_root, Assurance.EXACT,
        0, Timestamp(0),
    )  # fmt: skip
    return DisputedAnswer(
        request, Delivery(OPERATOR, Stamp(Timestamp(1)), committed.output_root), record
    )


@dataclass(frozen=True)
class Intent:
    """A move that was committed to."""

    view: GameView
    move: moves.Move
    plan: moves.Plan | None


class MemoryChainView:
    """The chain, the outbox and the operator."""

    me = ME

    def __init__(self, committed: Committed, *, replies: bool = True, code: bool = False) -> None:
        self.committed = committed
        self.replies = replies
        self.code = code  # the operator is a contract
        self.answer = answer_of(committed)
        self.state = RequestState.DELIVERED
        self.now = 10
        self.final_at = 1000
        self.challenge = NOBODY
        self.leaves: tuple[Bytes32, ...] | None = None
        self.shown: list[NodeOpened | LeavesRevealed] = []
        self.failures = 0
        self.refuted = False
        self.verdict = ""
        self.outbox: list[Intent] = []
        self.mined: list[str] = []
        self.signatures: set[Receipt] = set()
        self.balance = Wei(10**18)
        self.bond = Wei(1000)
        self.contract_agrees = True

    # ── The engine's port ───────────────────────────────────────────────────────────────────────

    def view(self, request_id: RequestId) -> GameView:
        open_ = self.challenge.turn is not Turn.NONE
        return GameView(
            request_id=ID,
            now=Timestamp(self.now),
            state=self.state,
            answer=self.answer,
            output_cid=ZERO32,
            final_at=Timestamp(self.final_at),
            challenge=self.challenge,
            first=ME if open_ else ZERO_ADDRESS,
            disputes=int(open_ and self.state is RequestState.DELIVERED),
            leaves=self.leaves,
            shown=tuple(self.shown),
            failures=self.failures,
            refuted=self.refuted,
        )

    def busy(self, request_id: RequestId) -> bool:
        return bool(self.outbox)

    def play(self, view: GameView, move: moves.Move, plan: moves.Plan | None = None) -> None:
        self.outbox.append(Intent(view, move, plan))

    def check(self, claim_: object, step: object) -> bool:
        return judge.check(claim_, step) is self.contract_agrees  # type: ignore[arg-type]

    def vouched(self, view: GameView, receipt: Receipt) -> bool:
        return receipt in self.signatures

    def irrevocable(self, operator: Address) -> bool:
        return not self.code

    def endpoint(self, operator: Address) -> str:
        return "http://operator"

    def stake(self, view: GameView) -> tuple[Wei, Wei, Wei, Amount]:
        return self.bond, Wei(1), self.balance, Amount(6 * 10**6)

    # ── The contract ────────────────────────────────────────────────────────────────────────────

    def mine(self) -> None:
        """Put what waits into blocks; then the operator replies, if it does."""
        for intent in self.outbox:
            self.now += 1
            try:
                self._apply(intent)
                self.mined.append(type(intent.move).__name__)
            except ContractError:
                self.mined.append("refused")
        self.outbox.clear()
        if self.replies and self.challenge.turn in (Turn.TRACE, Turn.NODE, Turn.STEP):
            self._reply()

    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    def vanish(self) -> None:
        """Forget the challenge, as a reorg does."""
        self.challenge = NOBODY

    def _apply(self, intent: Intent) -> None:
        turn, game_ = self.challenge.turn, self.challenge
        match intent.move:
            case moves.Open():
                self._require(turn is Turn.NONE and self.now < self.final_at)
                hidden = moves.witness(ID, ME, intent.plan)
                first = Turn.CHALLENGER if any(hidden) or self.leaves is not None else Turn.TRACE
                self.challenge = replace(
                    NOBODY, turn=first, deadline=self.now + TURN, witness=hidden, bond=self.bond,
                    witness_block=self.now if any(hidden) else 0,
                )  # fmt: skip
            case moves.Prove(step, receipt, salt):
                self._require(turn is Turn.CHALLENGER and self.now < game_.deadline)
                plan = moves.Plan(0, salt, (step.op, step.row, step.col))
                hidden = moves.witness(ID, ME, plan) == game_.witness
                self._require(hidden or self._revealed(step))
                root = trace_root(self.leaves or ()) if self.leaves else ZERO32
                if root == ZERO32 and receipt.signature:
                    self._require(receipt in self.signatures and not self.code)
                    root = receipt.trace_root
                self._require(
                    not judge.check(replace(claim(self.committed), trace_root=root), step)
                )
                self._convict("wrong")
            case moves.AskNode(op, node):
                self._require(turn is Turn.CHALLENGER and self.leaves is not None)
                target = op << 72 | node.level << 64 | node.index
                self._demand(Turn.NODE, target)
            case moves.AskStep((op, row, col)):
                self._require(turn is Turn.CHALLENGER and self.leaves is not None)
                self._demand(Turn.STEP, op << 72 | row << 32 | col)
            case moves.ConvictSilent():
                self._require(turn not in (Turn.NONE, Turn.CHALLENGER))
                self._require(self.now >= game_.deadline)
                self._convict("silent")
            case moves.Equivocate(first, _):
                self._require(first in self.signatures)
                self._convict("equivocation")
            case moves.Release():
                self._require(self.state is not RequestState.DELIVERED)
                self.challenge = NOBODY

    def _demand(self, turn: Turn, target: int) -> None:
        self.challenge = replace(
            self.challenge,
            turn=turn,
            demands=self.challenge.demands + 1,
            target=target,
            deadline=Timestamp(self.now + TURN),
        )

    def _reply(self) -> None:
        state = self.challenge
        target = 0
        if state.turn is Turn.TRACE:
            self.leaves = game.answer_trace(self.committed).leaves
        elif state.turn is Turn.NODE:
            op, level = state.target >> 72 & 0xFFFF, state.target >> 64 & 0xFF
            index = state.target & (1 << 64) - 1
            shown = game.answer_node(self.committed, op, TreeNode(level, index))
            if isinstance(shown, game.OpenNodeArguments):
                self.shown.append(NodeOpened(ID, ME, op, level, index, shown.nodes))
            else:
                self.shown.append(LeavesRevealed(ID, ME, op, level, index, shown.data))
                target = state.target | 1 << 95
        else:
            return
        self.challenge = replace(
            state, turn=Turn.CHALLENGER, target=target, deadline=Timestamp(self.now + TURN)
        )

    def _revealed(self, step: object) -> bool:
        return bool(self.challenge.target & 1 << 95)

    def _convict(self, why: str) -> None:
        self.verdict, self.state, self.challenge = why, RequestState.CONVICTED, NOBODY

    @staticmethod
    def _require(holds: bool) -> None:
        if not holds:
            raise ContractError("Refused", {}, "refused")


class Deadly:
    """Passes calls on; kills at the n-th call of everything that shares the counter."""

    def __init__(self, target: object, counter: "Counter") -> None:
        self._target = target
        self._counter = counter

    def __getattr__(self, name: str) -> object:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: object, **options: object) -> object:
            self._counter.tick()
            result = found(*args, **options)
            self._counter.tick()
            return result

        return call


class Counter:
    """Counts calls and returns: each one is a place to die."""

    def __init__(self, until: int | None) -> None:
        self.count = 0
        self.until = until

    def tick(self) -> None:
        self.count += 1
        if self.until is not None and self.count >= self.until:
            raise Killed
