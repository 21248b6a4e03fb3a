"""The chain as the engine sees it: games as of the finalized block, moves as kept transactions.

`ChainView` is the port of the engine; `RpcChainView` is the real one.
"""

from typing import Protocol

from eth_account import Account

from oracle.agents.agent import Agent
from oracle.agents.challenger.moves import (
    AskNode,
    AskStep,
    ConvictSilent,
    Equivocate,
    GameView,
    Move,
    Open,
    Plan,
    Prove,
    Release,
    witness,
)
from oracle.chain.arguments import NO_RECEIPT, DisputedAnswer
from oracle.chain.bindings.dispute_game import (
    ChallengeFailed,
    LeavesRevealed,
    NodeOpened,
    Receipt,
    StepAnswered,
    TraceCommitted,
)
from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.bindings.step_verifier import StepVerifier
from oracle.chain.contract import Call
from oracle.chain.revert import ContractError
from oracle.chain.rpc import quantity
from oracle.chain.transactions import with_bond_margin
from oracle.exact.receipt import receipt as typed_receipt
from oracle.exact.steps import ExactClaim, ProofStep
from oracle.protocol import eip712
from oracle.services import operators, request_timeline
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.request_timeline import LIFE, RequestState
from oracle.types import (
    ZERO32,
    Address,
    Amount,
    Request,
    RequestId,
    Timestamp,
    VersionRecord,
    Wei,
)

GAME_GAS = 1_200_000  # of the longest game, all parties' transactions: Turns.sol
_GAME = (TraceCommitted, NodeOpened, LeavesRevealed, ChallengeFailed, StepAnswered)
_KINDS: dict[type, str] = {
    Open: "challenge", Prove: "prove", AskNode: "demand", AskStep: "demand",
    ConvictSilent: "silent", Equivocate: "equivocate", Release: "release",
}  # fmt: skip


class ChainView(Protocol):
    """What the engine needs of a chain."""

    me: Address

    def view(self, request_id: RequestId) -> GameView:
        """Return one game as the finalized block has it."""

    def busy(self, request_id: RequestId) -> bool:
        """Return whether a move of ours is under way."""

    def play(self, view: GameView, move: Move, plan: Plan | None = None) -> None:
        """Commit the intent to make a move; it is sent later, whatever happens to us."""

    def check(self, claim: ExactClaim, step: ProofStep) -> bool:
        """Return whether the contract finds a committed element right.

        Raises:
            ContractError: a part of the step does not fit.
        """

    def vouched(self, view: GameView, receipt: Receipt) -> bool:
        """Return whether the operator signed this."""

    def irrevocable(self, operator: Address) -> bool:
        """Return whether signatures of this account stay valid: contracts can change their mind."""

    def endpoint(self, operator: Address) -> str:
        """Return where the operator serves traces; "" = nowhere."""

    def stake(self, view: GameView) -> tuple[Wei, Wei, Wei, Amount]:
        """Return bond, gas (in wei) that a game may cost, our balance, and the bounty."""


class RpcChainView(ChainView):
    """The contracts of one deployment, used by one agent."""

    def __init__(self, network: Network, agent: Agent) -> None:
        self.me = agent.address
        self._network = network
        self._agent = agent
        self._verifier = StepVerifier(network.rpc, network.contracts.step_verifier)
        self._records: dict[tuple[int, int], VersionRecord] = {}

    # ── Read ────────────────────────────────────────────────────────────────────────────────────

    def finalized(self) -> int:
        """Return the number of the newest block that counts."""
        head = quantity(self._network.rpc.call("eth_blockNumber"))
        return max(0, head - self._network.settings.finality_depth)

    def view(self, request_id: RequestId) -> GameView:
        network, block = self._network, self.finalized()
        market, name = network.market.address, topic(request_id)
        life = [h for h in network.history.read(market, LIFE, name) if h.block <= block]
        now = self._agent.now()
        if not life or not isinstance(life[0].event, Requested):
            info, answer = None, None
        else:
            info = request_timeline.fold([h.event for h in life], now)
            answer = None
            if info.delivery is not None:
                answer = DisputedAnswer(info.request, info.delivery, self._record(info.request))
        delivered = [h.event for h in life if isinstance(h.event, Delivered)]
        moves = network.history.read(network.game.address, _GAME, name)
        events = [h.event for h in moves if h.block <= block]
        mine = [e for e in events if getattr(e, "challenger", None) == self.me]
        traces = [e.leaves for e in events if isinstance(e, TraceCommitted)]
        return GameView(
            request_id=request_id,
            now=now,
            state=info.state if info else RequestState.REQUESTED,
            answer=answer,
            output_cid=delivered[-1].output_cid if delivered else ZERO32,
            final_at=(info.final_at if info else None) or Timestamp(0),
            challenge=network.game.challenge_of(request_id, self.me, block),
            first=network.game.first_challenger_of(request_id, block),
            disputes=network.market.open_disputes_of(request_id, block),
            leaves=traces[-1] if traces else None,
            shown=tuple(e for e in events if isinstance(e, NodeOpened | LeavesRevealed)),
            failures=sum(isinstance(e, ChallengeFailed) for e in mine),
            refuted=any(isinstance(e, StepAnswered) for e in mine),
        )

    def busy(self, request_id: RequestId) -> bool:
        return self._agent.busy(request_id)

    def check(self, claim: ExactClaim, step: ProofStep) -> bool:
        return self._verifier.check(claim, step)

    def vouched(self, view: GameView, receipt: Receipt) -> bool:
        assert view.answer is not None
        operator = view.answer.delivery.operator
        if not self.irrevocable(operator):
            return self._vouched_by_contract(view.answer, receipt)
        typed = typed_receipt(
            chain_id=self._network.contracts.chain_id,
            game=self._network.game.address,
            request_id=view.request_id,
            output_root=receipt.output_root,
            trace_root=receipt.trace_root,
        )
        try:
            found = Account._recover_hash(eip712.digest(typed), signature=receipt.signature)
        except Exception:  # whatever a stranger wrote
            return False
        return bool(found == operator) and receipt.signature[64] in (27, 28)

    def irrevocable(self, operator: Address) -> bool:
        return self._network.rpc.call("eth_getCode", operator, "latest") in ("0x", None)

    def endpoint(self, operator: Address) -> str:
        return operators.endpoint_of(self._network, operator)

    def stake(self, view: GameView) -> tuple[Wei, Wei, Wei, Amount]:
        assert view.answer is not None
        rpc = self._network.rpc
        price = quantity(rpc.call("eth_gasPrice"))
        balance = quantity(rpc.call("eth_getBalance", self.me, "latest"))
        lock = self._network.market.lock_of(view.answer.request.terms)
        return self._bond(view.request_id), Wei(GAME_GAS * price), Wei(balance), lock.bounty

    def _bond(self, request_id: RequestId) -> Wei:
        return with_bond_margin(self._network.game.bond_needed(request_id, "pending"))

    def _vouched_by_contract(self, answer: DisputedAnswer, receipt: Receipt) -> bool:
        """Ask the game, which looks at the signature before anything else."""
        try:
            self._agent.simulate(
                self._network.game.prove_equivocation(*answer.state, receipt, NO_RECEIPT)
            )
        except ContractError as error:
            return error.name == "ReceiptsAgree"
        return True

    def _record(self, request: Request) -> VersionRecord:
        key = (request.model_id, request.version)
        if key not in self._records:
            network = self._network
            found = network.history.read(
                network.registry.address, (VersionPublished,), topic(request.model_id)
            )
            for happened in found:
                assert isinstance(happened.event, VersionPublished)
                record = happened.event.record
                self._records[record.model_id, record.version] = record
        return self._records[key]

    # ── Move ────────────────────────────────────────────────────────────────────────────────────

    def play(self, view: GameView, move: Move, plan: Plan | None = None) -> None:
        self._agent.submit(_KINDS[type(move)], view.request_id, self._call(view, move, plan))

    def _call(self, view: GameView, move: Move, plan: Plan | None) -> Call:  # noqa: PLR0911
        game, answer = self._network.game, view.answer
        if isinstance(move, Release):
            return game.release_bond(view.request_id, self.me)
        assert answer is not None
        match move:
            case Open():
                assert plan is not None
                hidden = witness(view.request_id, self.me, plan)
                return game.challenge(*answer.state, hidden, value=self._bond(view.request_id))
            case Prove(step, receipt, salt):
                return game.prove(*answer.state, answer.preimage, receipt, salt, step)
            case AskNode(op, node):
                return game.demand_node(*answer.state, op, node.level, node.index)
            case AskStep(fault):
                return game.demand_step(*answer.state, *fault)
            case ConvictSilent():
                return game.convict_silent(*answer.state, self.me)
            case Equivocate(first, second):
                return game.prove_equivocation(*answer.state, first, second)
        raise AssertionError(f"{move} is not sent")
