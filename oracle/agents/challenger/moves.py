"""One game as a challenger sees it, and the moves there are in it: values alone.

Which move is made when is in `decide.py`, sending them in `chain_view.py`.
"""

from dataclasses import dataclass

from eth_abi.abi import encode

from oracle.chain.arguments import NO_RECEIPT, DisputedAnswer
from oracle.chain.bindings.dispute_game import Challenge, LeavesRevealed, NodeOpened, Receipt
from oracle.exact.partial_tensor import TreeNode
from oracle.exact.steps import ProofStep
from oracle.merkle import keccak
from oracle.services.exact_faults import Fault
from oracle.services.request_timeline import RequestState
from oracle.types import ZERO32, Address, Bytes32, RequestId, Timestamp


@dataclass(frozen=True, slots=True)
class GameView:
    """One game as the chain tells it, at one block."""

    request_id: RequestId
    now: Timestamp  # of the coming block
    state: RequestState
    answer: DisputedAnswer | None  # None: not delivered (any more)
    output_cid: Bytes32  # where the answer's bytes are; zero = under its root
    final_at: Timestamp
    challenge: Challenge  # ours
    first: Address  # oldest open challenger; zero = nobody
    disputes: int  # open ones, by the market's count
    leaves: tuple[Bytes32, ...] | None  # of the trace, once it is on chain
    shown: tuple[NodeOpened | LeavesRevealed, ...]
    failures: int  # challenges of ours that failed
    refuted: bool  # the operator proved an element that we asked for


@dataclass(frozen=True, slots=True)
class Plan:
    """What was committed to before a challenge was sent; kept, or a crash would lose the bond."""

    attempt: int  # 0, 1, …
    salt: Bytes32
    fault: Fault | None  # None: the trace is demanded


# ── Moves ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Wait:
    """It is not our turn, or something is missing."""

    reason: str
    until: Timestamp | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is left to do."""

    outcome: str


@dataclass(frozen=True, slots=True)
class Open:
    """Challenge, with a hidden fault or by demanding the trace."""

    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Prove:
    """Show the fault."""

    step: ProofStep
    receipt: Receipt
    salt: Bytes32


@dataclass(frozen=True, slots=True)
class AskNode:
    """Demand a node."""

    op: int
    node: TreeNode


@dataclass(frozen=True, slots=True)
class AskStep:
    """Demand that the operator proves an element itself."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class ConvictSilent:
    """The operator's turn is over."""


@dataclass(frozen=True, slots=True)
class Equivocate:
    """Two statements of the operator contradict each other; without `second`, one and the chain."""

    first: Receipt
    second: Receipt = NO_RECEIPT


@dataclass(frozen=True, slots=True)
class Release:
    """The request ended otherwise: free the bond."""


Move = Wait | End | Open | Prove | AskNode | AskStep | ConvictSilent | Equivocate | Release


def witness(request_id: RequestId, me: Address, plan: Plan) -> Bytes32:
    """Return what hides a plan's fault; zero when it demands the trace."""
    if plan.fault is None:
        return ZERO32
    kinds = ["bytes32", "address", "bytes32", "uint256", "uint256", "uint256"]
    return keccak(encode(kinds, [request_id, me, plan.salt, *plan.fault]))
