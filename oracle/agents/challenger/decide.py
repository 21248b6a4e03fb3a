"""Which move a challenger makes in one game: a decision over values, no chain and no clock. Pure.

```
 nothing open ──▶ Open: fault hidden, ──▶ our turn ──▶ Prove · AskNode · AskStep
      │           or trace demanded          ▲               │
      │                                      └─ operator's turn ──▶ ConvictSilent
      └──▶ Equivocate, at any time
 request over ──▶ Release ──▶ End
```
docs/exact.md, section 7, is the game. What this adds is caution: a hidden fault is only committed
to when it can be proven without the operator's help, for a lapse costs the bond.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.agents.challenger.moves import (
    AskNode,
    AskStep,
    ConvictSilent,
    End,
    Equivocate,
    GameView,
    Move,
    Open,
    Plan,
    Prove,
    Release,
    Wait,
    witness,
)
from oracle.chain.arguments import NO_RECEIPT
from oracle.chain.bindings.dispute_game import Receipt, Turn
from oracle.exact import game
from oracle.exact.commitments import trace_root
from oracle.exact.steps import ExactClaim
from oracle.exact.tensors import depth_of
from oracle.services.exact_faults import Fault, KnownTrace, leaf_index, needs_trace
from oracle.services.request_timeline import RequestState
from oracle.types import ZERO32, ZERO_ADDRESS, Address

MAX_DEMANDS = 12  # of one challenge; DisputeGame.sol
MAX_FAILURES = 2  # challenges of one answer that we let lapse before giving it up
_REVEALED = 1 << 95  # libraries/Target.sol


@dataclass(frozen=True, slots=True)
class Position:
    """Everything that a move depends on.

    Attributes:
        view: the chain.
        known: the operator's trace as far as it was shown. Its leaves are those on chain, else
            those of `usable`.
        receipts: all that the operator signed for this request, signatures checked.
        usable: the receipt whose leaves `known` has, when the chain has none.
        plan: of our last challenge.
        me: the challenger.
    """

    view: GameView
    known: KnownTrace
    receipts: Sequence[Receipt]
    usable: Receipt | None
    plan: Plan | None
    me: Address

    @property
    def claim(self) -> ExactClaim:
        """What the chain holds of the answer, with the trace as it is known."""
        return claim_of(self.view, self.known)


def decide(position: Position) -> Move:
    """Return the next move."""
    view = position.view
    if view.state is not RequestState.DELIVERED or view.answer is None:
        return after(view)
    contradiction = equivocation(view, position.receipts)
    if contradiction is not None and (view.first != ZERO_ADDRESS or view.now < view.final_at):
        return contradiction
    turn = view.challenge.turn
    if turn is Turn.NONE:
        return _begin(position)
    if turn is not Turn.CHALLENGER:
        if view.now >= view.challenge.deadline:
            return ConvictSilent()
        return Wait("the operator's turn", view.challenge.deadline)
    return _our_turn(position)


def after(view: GameView) -> Move:
    """Return the next move when there is no answer (any more) to dispute."""
    if view.challenge.turn is not Turn.NONE:
        return Release() if view.disputes == 0 else Wait("the request is being ended")
    return End(view.state.value)


def equivocation(view: GameView, receipts: Sequence[Receipt]) -> Equivocate | None:
    """Return a contradiction among what the operator said."""
    assert view.answer is not None
    delivered = view.answer.delivery.output_root
    posted = trace_root(view.leaves or ())
    for receipt in receipts:
        if receipt.output_root != delivered or _differ(receipt.trace_root, posted):
            return Equivocate(receipt)
    for i, first in enumerate(receipts):
        for second in receipts[i + 1 :]:
            if _differ(first.trace_root, second.trace_root):
                return Equivocate(first, second)
    return None


def claim_of(view: GameView, known: KnownTrace) -> ExactClaim:
    """Return what the chain holds of an answer, with the trace as it is known."""
    assert view.answer is not None
    answer = view.answer
    root, delivered = answer.record.model_root, answer.delivery.output_root
    return ExactClaim(root, answer.request.input_root, delivered, known.trace_root)


def _differ(first: bytes, second: bytes) -> bool:
    """Whether two stated roots contradict each other; zero states nothing."""
    return ZERO32 not in (first, second) and first != second


def _begin(position: Position) -> Move:
    view, known = position.view, position.known
    if not known.wrong:
        return End("the answer is right")
    if view.refuted or view.failures >= MAX_FAILURES:
        return End("the challenge failed")
    if view.now >= view.final_at:
        return End("the challenge window has passed")
    found = known.move()
    if isinstance(found, game.ProveElement) and _alone(position):
        fault = (found.op, found.row, found.col)
        if known.step(position.claim, fault) is not None:
            return Open(fault)
    return Open(None)


def _alone(position: Position) -> bool:
    """Whether the trace root that a proof needs is ours to bring: nobody can take it back.

    A receipt is not relied on after a challenge that failed: it may have been the reason.
    """
    view, known = position.view, position.known
    if view.leaves is not None or not _opens_trace(known):
        return True
    return position.usable is not None and view.failures == 0


def _opens_trace(known: KnownTrace) -> bool:
    program = known.truth.program
    return known.suspect != len(program.ops) - 1 or needs_trace(program)


def _our_turn(position: Position) -> Move:
    view, known = position.view, position.known
    if view.now >= view.challenge.deadline:
        return Wait("our turn is over: anyone may end the challenge")
    match known.move():
        case game.NoFault():
            return Wait("the answer is right: this challenge was a mistake")
        case game.DemandTrace():
            return Wait("the trace is not on chain", view.challenge.deadline)
        case game.DemandNode(op, node):
            return _demand(view, AskNode(op, node))
        case game.ProveElement(op, row, col):
            return _prove(position, (op, row, col))


def _prove(position: Position, found: Fault) -> Move:
    """Show the fault that was hidden, or one in what was revealed to us; else have it revealed."""
    view, known, plan = position.view, position.known, position.plan
    receipt = NO_RECEIPT
    if position.usable is not None and view.leaves is None and _opens_trace(known):
        receipt = position.usable
    planned = _planned(position)
    for fault in dict.fromkeys(f for f in (planned, found) if f is not None):
        step = known.step(position.claim, fault)
        if step is not None and (fault == planned or _revealed(view, known, fault)):
            return Prove(step, receipt, ZERO32 if plan is None else plan.salt)
    if known.step(position.claim, found) is None:
        return _demand(view, AskStep(found))
    return _demand(view, AskNode(found[0], known.cover(found)))


def _planned(position: Position) -> Fault | None:
    """Return the fault that our open challenge hides, if we still know it."""
    view, plan = position.view, position.plan
    if plan is None or plan.fault is None or view.challenge.witness == ZERO32:
        return None
    hidden = witness(view.request_id, position.me, plan)
    return plan.fault if hidden == view.challenge.witness else None


def _revealed(view: GameView, known: KnownTrace, fault: Fault) -> bool:
    """Whether the element lies in the leaves that were revealed to this very challenge."""
    target = view.challenge.target
    op, level, index = target >> 72 & 0xFFFF, target >> 64 & 0xFF, target & (1 << 64) - 1
    if not target & _REVEALED or op != fault[0]:
        return False
    program = known.truth.program
    depth = depth_of(program.spec_of(program.id_of(op)))
    return leaf_index(fault, program) >> depth - level == index


def _demand(view: GameView, move: AskNode | AskStep) -> Move:
    if view.leaves is None:
        return Wait("nothing can be demanded before the trace is on chain", view.challenge.deadline)
    if view.challenge.demands >= MAX_DEMANDS:
        return Wait("all demands are used up", view.challenge.deadline)
    return move
