"""Games about exact answers as the chain tells them, and the acts that anyone may take on them.

Who disputes wrong answers by himself is `challenger.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oracle.chain.arguments import DisputedAnswer
from oracle.chain.bindings.dispute_game import (
    BondReleased,
    Challenge,
    Challenged,
    ChallengeFailed,
    EquivocationProven,
    FaultProven,
    LeavesRevealed,
    NodeDemanded,
    NodeOpened,
    ReceiptAccepted,
    SilenceProven,
    StepAnswered,
    StepDemanded,
    TraceCommitted,
    Turn,
)
from oracle.chain.event import Event
from oracle.chain.wallet import Wallet
from oracle.errors import PermanentError
from oracle.services import models, requests
from oracle.services.amounts import format_ether
from oracle.services.event_history import Moment, topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.services.request_timeline import RequestState
from oracle.types import Address, RequestId, Timestamp, Wei

_MOVES = (
    Challenged, TraceCommitted, ReceiptAccepted, NodeDemanded, NodeOpened, LeavesRevealed,
    StepDemanded, StepAnswered, ChallengeFailed, FaultProven, EquivocationProven, SilenceProven,
    BondReleased,
)  # fmt: skip
_WHOSE = {
    Turn.NONE: "nobody's",
    Turn.CHALLENGER: "the challenger's",
    Turn.TRACE: "the operator's: the trace",
    Turn.NODE: "the operator's: a node",
    Turn.STEP: "the operator's: a step",
}


@dataclass(frozen=True, slots=True)
class Game:
    """One open challenge."""

    request_id: RequestId
    challenger: Address
    turn: Turn
    turn_of: str
    deadline: Timestamp
    over: bool  # the turn; whoever had it has lost
    demands: int
    hidden: bool  # a fault was committed to
    bond: Wei


@dataclass(frozen=True, slots=True)
class DisputeInfo:
    """Everything about one answer's games."""

    request_id: RequestId
    state: RequestState
    trace_committed: bool
    games: tuple[Game, ...]
    moves: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class BondsPaid:
    """Bonds that were paid out."""

    transaction: Sent | None
    amount: Wei
    released: int


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def list_games(network: Network, challenger: Address | None = None) -> tuple[Game, ...]:
    """Return the open games, oldest first; of one challenger, or of all."""
    named = [None, topic(challenger)] if challenger else []
    found = network.history.read(network.game.address, (Challenged,), *named)
    return _games(network, (h.event for h in found))


def show(network: Network, request_id: RequestId) -> DisputeInfo:
    """Return the games about one answer and every move.

    Raises:
        NotFound: there is no such request.
    """
    info = requests.show(network, request_id)
    found = network.history.read(network.game.address, _MOVES, topic(request_id))
    moves = network.history.moments(found, detail)
    return DisputeInfo(
        request_id=request_id,
        state=info.state,
        trace_committed=any(isinstance(h.event, TraceCommitted) for h in found),
        games=_games(network, (h.event for h in found)),
        moves=moves,
    )


def answer_of(network: Network, request_id: RequestId) -> DisputedAnswer:
    """Return what calls about an answer bring back to the chain.

    Raises:
        NotFound: there is no such request. PermanentError: it was not answered.
    """
    info = requests.show(network, request_id)
    if info.delivery is None:
        raise PermanentError(f"request 0x{request_id.hex()} has no answer: {info.state.value}")
    record = models.record_of(network, info.model_id, info.version)
    return DisputedAnswer(info.request, info.delivery, record)


def detail(event: Event) -> str:  # noqa: PLR0911 -- one line per kind
    """Say in words what an event adds to its name."""
    match event:
        case Challenged():
            how = "hides a fault" if any(event.witness) else "demands the trace"
            return f"{event.challenger} {how}, bond {format_ether(event.bond)}"
        case TraceCommitted():
            return f"{len(event.leaves)} tensors"
        case NodeDemanded() | NodeOpened() | LeavesRevealed():
            return f"operator {event.op}, level {event.level}, node {event.index}"
        case StepDemanded() | StepAnswered() | FaultProven():
            return f"operator {event.op}, element [{event.row}, {event.col}]"
        case ChallengeFailed():
            return (
                f"{event.challenger} loses the bond: {format_ether(event.to_operator)} to the "
                f"operator, {format_ether(event.burned)} burned"
            )
        case BondReleased():
            return f"{format_ether(event.amount)} to {event.challenger}"
        case EquivocationProven() | SilenceProven():
            return f"by {event.challenger}"
    return ""


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────
def lapse(
    network: Network, wallet: Wallet, request_id: RequestId, challenger: Address | None = None
) -> tuple[Sent, ...]:
    """End the challenges of an answer whose challenger's turn is over; anyone may.

    Raises:
        PermanentError: there is none.
    """
    games = [
        game
        for game in show(network, request_id).games
        if game.turn is Turn.CHALLENGER and game.over and challenger in (None, game.challenger)
    ]
    if not games:
        raise PermanentError(
            f"no challenge of request 0x{request_id.hex()} has lapsed",
            hint=f"`tallystick challenger show 0x{request_id.hex()}` says whose turn it is",
        )
    answer = answer_of(network, request_id)
    return tuple(send(wallet, network.game.lapse(*answer.state, g.challenger))[0] for g in games)


def withdraw(network: Network, wallet: Wallet) -> BondsPaid:
    """Release the wallet's bonds in games whose request has ended, and pay out all that is free."""
    released = 0
    for game in list_games(network, wallet.address):
        if network.market.open_disputes_of(game.request_id) == 0:
            send(wallet, network.game.release_bond(game.request_id, wallet.address))
            released += 1
    amount = network.game.bond_of(wallet.address)
    if not amount:
        return BondsPaid(None, Wei(0), released)
    return BondsPaid(send(wallet, network.game.withdraw_bond())[0], amount, released)


def _games(network: Network, events: Iterable[Event]) -> tuple[Game, ...]:
    named = dict.fromkeys((e.request_id, e.challenger) for e in events if isinstance(e, Challenged))
    if not named:
        return ()
    now = network.history.now()
    found = ((key, network.game.challenge_of(*key)) for key in named)
    return tuple(_game(key, state, now) for key, state in found if state.turn is not Turn.NONE)


def _game(key: Sequence[object], state: Challenge, now: Timestamp) -> Game:
    request_id, challenger = key
    assert isinstance(request_id, bytes)
    assert isinstance(challenger, str)
    return Game(
        request_id=RequestId(request_id),
        challenger=Address(challenger),
        turn=state.turn,
        turn_of=_WHOSE[state.turn],
        deadline=state.deadline,
        over=now >= state.deadline,
        demands=state.demands,
        hidden=any(state.witness),
        bond=state.bond,
    )
