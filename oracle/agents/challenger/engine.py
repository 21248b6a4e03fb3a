"""Plays the games of one challenger, a step a call: gathers what is known, decides, commits, moves.

Everything that a later step needs is kept before a transaction that relies on it is sent, so a
process that is killed at any line goes on where it was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from oracle.agents.challenger import decide
from oracle.agents.challenger.chain_view import ChainView
from oracle.agents.challenger.decide import Position
from oracle.agents.challenger.moves import End, GameView, Move, Open, Wait
from oracle.agents.challenger.store import ChallengerStore
from oracle.chain.bindings.dispute_game import Turn
from oracle.chain.revert import ContractError
from oracle.errors import DigestMismatch, InputInvalid, PermanentError, TransientError
from oracle.exact import proofs
from oracle.exact.commitments import trace_root
from oracle.services.amounts import format_amount, format_ether
from oracle.services.exact_faults import HonestTrace, KnownTrace, record_size, sample_step, sound
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import SignedReceipt, TraceSource
from oracle.types import Amount, Bytes32, RequestId, Wei


class Unaffordable(PermanentError):
    """A game that costs more than was allowed, or than there is, or brings too little."""


class Unsound(PermanentError):
    """Our own trace does not pass the judge: we must not accuse anybody with it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a challenger risks, and for what."""

    max_bond: Wei | None = None
    min_bounty: Amount = Amount(0)  # noqa: RUF009 -- a number with a name


class Engine:
    """One challenger's games."""

    def __init__(
        self,
        chain: ChainView,
        store: ChallengerStore,
        traces: TraceSource,
        output_of: Callable[[Bytes32, Bytes32], bytes],
        budget: Budget,
    ) -> None:
        """Take the collaborators.

        Args:
            output_of: returns an answer's record by CID and root; raises TransientError when nobody
                has it, DigestMismatch when it is another.
        """
        self._chain = chain
        self._store = store
        self._traces = traces
        self._output_of = output_of
        self._budget = budget
        self._log: Any = structlog.get_logger("tallystick.challenger")

    def step(self, request_id: RequestId, reexecute: Callable[[], HonestTrace]) -> Move:
        """Make the next move of a game, if there is one to make now; return it, or why not.

        Args:
            reexecute: returns the honest trace; called only when it matters.

        Raises:
            Unaffordable, Unsound: no challenge was opened.
            TransientError, RpcError, ContractError: the chain could not be read.
        """
        if self._chain.busy(request_id):
            return Wait("a transaction is under way")
        view = self._chain.view(request_id)
        if view.answer is None or view.state is not RequestState.DELIVERED:
            move = decide.after(view)
        else:
            move = self._decide(view, reexecute())
        if isinstance(move, Wait | End):
            return move
        plan = None
        if isinstance(move, Open):
            assert view.answer is not None
            self._afford(view)
            delivered = view.answer.delivery.output_root
            plan = self._store.keep_plan(request_id, delivered, view.failures, move.fault)
            move = Open(plan.fault)
        self._log.info("move", request_id=request_id, move=type(move).__name__)
        self._chain.play(view, move, plan)
        return move

    # ── What is known ───────────────────────────────────────────────────────────────────────────

    def _decide(self, view: GameView, truth: HonestTrace) -> Move:
        assert view.answer is not None
        delivered = view.answer.delivery.output_root
        ours = view.challenge.turn in (Turn.NONE, Turn.CHALLENGER)
        signed = self._signed(view, truth, ask=ours and delivered != truth.output_root)
        usable = self._usable(view, signed)
        known = KnownTrace(truth, delivered, self._leaves(view, usable))
        if ours and known.wrong:
            self._look(view, known)
        plan = self._store.plan(view.request_id, delivered, view.failures)
        move = decide.decide(
            Position(
                view=view,
                known=known,
                receipts=[one.receipt for one in signed],
                usable=None if usable is None else usable.receipt,
                plan=plan,
                me=self._chain.me,
            )
        )
        if isinstance(move, Open):
            self._prepare(view, known, move)
        return move

    def _leaves(self, view: GameView, usable: SignedReceipt | None) -> tuple[Bytes32, ...] | None:
        if view.leaves is not None:
            return view.leaves
        return None if usable is None else usable.leaves

    def _signed(self, view: GameView, truth: HonestTrace, *, ask: bool) -> list[SignedReceipt]:
        """Return what the operator signed, as kept and, with `ask`, as it says now."""
        assert view.answer is not None
        if ask:
            operator = view.answer.delivery.operator
            answer = self._traces.receipt(self._chain.endpoint(operator), view.request_id)
            if answer is not None and self._chain.vouched(view, answer.receipt):
                whole = len(answer.leaves) == len(truth.program.ops) - 1
                whole = whole and trace_root(answer.leaves) == answer.receipt.trace_root
                leaves = answer.leaves if whole else ()
                self._store.keep_receipt(view.request_id, SignedReceipt(answer.receipt, leaves))
        kept = self._store.receipts(view.request_id)
        return [one for one in kept if self._chain.vouched(view, one.receipt)]

    def _usable(self, view: GameView, signed: list[SignedReceipt]) -> SignedReceipt | None:
        """Return a receipt that can carry a proof: of this answer, with its leaves, for good."""
        assert view.answer is not None
        delivery = view.answer.delivery
        for one in signed:
            if one.receipt.output_root == delivery.output_root and one.leaves:
                return one if self._chain.irrevocable(delivery.operator) else None
        return None

    def _look(self, view: GameView, known: KnownTrace) -> None:
        """Get the tensor that is first wrong, from wherever it can be had."""
        if view.leaves is not None:
            known.add_shown(view.shown)
        op = known.suspect
        if op is None:
            return
        leaf = known.stated(op)
        assert leaf is not None
        kept = self._store.tensor(view.request_id, op, leaf)
        if kept is not None and known.add_tensor(op, kept):
            return
        for record in self._served(view, known, op):
            if record is not None and known.add_tensor(op, record):
                self._store.keep_tensor(view.request_id, op, leaf, record)
                return

    def _served(self, view: GameView, known: KnownTrace, op: int) -> Iterator[bytes | None]:
        assert view.answer is not None
        if op == len(known.truth.program.ops) - 1:
            try:
                yield self._output_of(view.output_cid, known.output_root)
            except (TransientError, DigestMismatch, InputInvalid) as error:
                self._log.debug("output_missing", request_id=view.request_id, error=str(error))
        endpoint = self._chain.endpoint(view.answer.delivery.operator)
        size = record_size(known.truth.program, op)
        yield self._traces.tensor(endpoint, view.request_id, op, size)

    # ── Before money is risked ──────────────────────────────────────────────────────────────────

    def _prepare(self, view: GameView, known: KnownTrace, move: Open) -> None:
        """See that the judge, ours and the contract, is on our side."""
        assert view.answer is not None
        truth = known.truth
        if not sound(truth, view.answer.request.input_root):
            raise Unsound("our own trace does not pass the judge: nothing is challenged with it")
        claim = proofs.claim(truth.honest)
        last = sample_step(truth, len(truth.program.ops) - 1)
        wrong = None if move.fault is None else known.step(decide.claim_of(view, known), move.fault)
        try:
            agreed = self._chain.check(claim, last)
            if wrong is not None:
                agreed = agreed and not self._chain.check(decide.claim_of(view, known), wrong)
        except ContractError as error:
            raise Unsound(f"the contract does not take our proof: {error}") from error
        if not agreed:
            raise Unsound("the contract computes another element than we do")

    def _afford(self, view: GameView) -> None:
        """Weigh bond and gas against the bounty, as far as two currencies can be."""
        bond, gas, balance, bounty = self._chain.stake(view)
        most, least = self._budget.max_bond, self._budget.min_bounty
        if most is not None and bond > most:
            raise Unaffordable(
                f"the bond is {format_ether(bond)}, above your limit of {format_ether(most)}",
                hint="raise --max-bond, or wait for a lower base fee",
            )
        if balance < bond + gas:
            raise Unaffordable(
                f"a game needs {format_ether(bond)} of bond and up to {format_ether(gas)} of gas, "
                f"{self._chain.me} has {format_ether(balance)}",
                hint="send it currency; the bond comes back with the conviction",
            )
        if bounty < least:
            raise Unaffordable(
                f"the bounty is {format_amount(bounty)}, below your --min-bounty of "
                f"{format_amount(least)}"
            )
        self._log.info("stakes", request_id=view.request_id, bond=bond, gas=gas, bounty=int(bounty))
