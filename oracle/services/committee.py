"""Committees about float answers as the chain tells them, and the acts that people take on them.

Who votes by itself is `oracle/agents/committee/member.py`.
"""

from dataclasses import dataclass

from oracle.chain.arguments import GENERAL
from oracle.chain.bindings.committee import (
    Appealed,
    AppellantPaid,
    BallotState,
    CommitteeCalled,
    Decided,
    Dispute,
    DrawMissed,
    Drawn,
    Finding,
    RoundCalled,
    RoundTallied,
    Stage,
    VoteCommitted,
    VoteRevealed,
    VoterFault,
    VoterPaid,
    VoterPunished,
)
from oracle.chain.bindings.committee_seats import Enlisted, Seat
from oracle.chain.bindings.dispute_game import BondReleased
from oracle.chain.event import Event
from oracle.chain.transactions import with_bond_margin
from oracle.chain.wallet import Wallet
from oracle.errors import PermanentError
from oracle.protocol.canonical import keccak
from oracle.services import requests
from oracle.services.amounts import format_amount, format_ether
from oracle.services.balances import allow
from oracle.services.event_history import Moment, topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.services.request_timeline import RequestInfo
from oracle.types import (
    Activation,
    Address,
    Amount,
    Assurance,
    Bytes32,
    Delivery,
    Request,
    RequestId,
    Timestamp,
    Wei,
)

_MOVES = (
    CommitteeCalled, RoundCalled, Drawn, VoteCommitted, VoteRevealed, Appealed, RoundTallied,
    Decided, VoterPunished, VoterPaid, AppellantPaid, DrawMissed, BondReleased,
)  # fmt: skip
FINDINGS = {
    Finding.NONE: "nothing was found",
    Finding.MATCH: "the answer is right",
    Finding.MISMATCH: "the answer is wrong",
    Finding.INPUT_UNAVAILABLE: "nobody has the input or the model",
    Finding.OUTPUT_UNAVAILABLE: "nobody has the output",
}
_FAULTS = {
    VoterFault.SILENCE: "was silent",
    VoterFault.ACTIVATION_OFF: "has not run the model",
    VoterFault.CONTRADICTED: "is contradicted by the last finding",
}
AGAINST = (Finding.MISMATCH, Finding.OUTPUT_UNAVAILABLE)  # the operator


@dataclass(frozen=True, slots=True)
class Voter:
    """One member's part in a round."""

    member: Address
    state: BallotState
    finding: Finding
    activation: Activation
    bound: Amount  # what its vote weighs, and can lose


@dataclass(frozen=True, slots=True)
class VoteRoundInfo:
    """One round of votes; each later one is an appeal, or follows a round that found nothing."""

    number: int
    size: int  # members expected
    caller: Address  # challenger or appellant
    bond: Wei
    finding: Finding  # of the votes revealed so far
    voters: tuple[Voter, ...]


@dataclass(frozen=True, slots=True)
class CommitteeInfo:
    """A dispute about a float answer."""

    request_id: RequestId
    stage: Stage
    finding: Finding
    challenger: Address
    eligible: Amount  # stake that could be drawn: an honest majority of it decides at the last
    round: int
    until: Timestamp  # end of the draw, or of commits
    reveal_until: Timestamp  # 0 while the round is not drawn
    appeal_until: Timestamp  # 0 while it is not drawn, or when the whole pool votes
    rounds: tuple[VoteRoundInfo, ...]
    moves: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class SeatInfo:
    """A member's seat, and what the contract owes it."""

    member: Address
    runtime_class: Bytes32
    stake: Amount
    release_at: Timestamp  # 0 = not leaving
    bound: Amount  # by votes that are not settled
    reward: Amount
    bonds: Wei


def runtime_class(name: str) -> Bytes32:
    """Return the class of a format, such as "torch.export"; "" is the general one."""
    return keccak(name.encode()) if name else GENERAL


# ── Members ─────────────────────────────────────────────────────────────────────────────────────
def enlist(
    network: Network, wallet: Wallet, amount: Amount, class_: Bytes32 = GENERAL
) -> tuple[Sent, ...]:
    """Move tokens of the wallet into its seat. Raises what the contract refuses."""
    allowed = allow(network, wallet, network.seats.address, amount)
    return (*allowed, send(wallet, network.seats.enlist(class_, amount))[0])


def leave(network: Network, wallet: Wallet, class_: Bytes32 = GENERAL) -> Sent:
    """Start to leave; or, once the delay is over, take the stake out."""
    seat: Seat = network.seats.seat_of(class_, wallet.address)
    call = network.seats.finish_leave if seat.release_at else network.seats.start_leave
    return send(wallet, call(class_))[0]


def seat(network: Network, member: Address, class_: Bytes32 = GENERAL) -> SeatInfo:
    """Return a member's seat."""
    found = network.seats.seat_of(class_, member)
    owed = network.seats.reward_of(member), network.committee.bond_of(member)
    return SeatInfo(member, class_, found.stake, found.release_at, found.bound, *owed)


def members(network: Network, class_: Bytes32) -> tuple[Address, ...]:
    """Return everybody who ever enlisted in a class, in the order of their coming."""
    found = network.history.read(network.seats.address, (Enlisted,), None, class_)
    events = (h.event for h in found)
    return tuple(dict.fromkeys(e.member for e in events if isinstance(e, Enlisted)))


def withdraw(network: Network, wallet: Wallet) -> tuple[Sent, ...]:
    """Pay out what the contract owes the wallet, in both currencies."""
    done = []
    if network.committee.bond_of(wallet.address):
        done.append(send(wallet, network.committee.withdraw_bond())[0])
    if network.seats.reward_of(wallet.address):
        done.append(send(wallet, network.seats.withdraw_reward())[0])
    return tuple(done)


# ── Disputes ────────────────────────────────────────────────────────────────────────────────────
def challenge(network: Network, wallet: Wallet, request_id: RequestId) -> Sent:
    """Call the committee about an answer.

    Raises:
        PermanentError: there is no answer, or it is an exact model's.
        ContractError: too late, disputed before, or too few members.
    """
    info, delivery = _answered(network, request_id)
    if info.request.terms.assurance is not Assurance.COMMITTEE:
        raise PermanentError(
            "an exact model's answer is not voted on: a contract re-executes it",
            hint=f"`tallystick challenger run --request 0x{request_id.hex()}`",
        )
    bond = challenge_bond(network, info.request, delivery)
    return send(wallet, network.committee.challenge(info.request, delivery, value=bond))[0]


def challenge_bond(network: Network, request: Request, delivery: Delivery) -> Wei:
    """Return what a challenge puts up: what is needed now, and a margin."""
    return with_bond_margin(
        network.committee.challenge_bond(request, delivery.stamp.time, block="pending")
    )


def appeal_bond(network: Network, request_id: RequestId) -> Wei:
    """Return what an appeal puts up: what is needed now, and a margin."""
    return with_bond_margin(network.committee.appeal_bond(request_id, block="pending"))


def appeal(network: Network, wallet: Wallet, request_id: RequestId) -> Sent:
    """Doubt the finding of the present round: twice as many members vote.

    Raises:
        ContractError: too early, too late, or the whole pool voted.
    """
    bond = appeal_bond(network, request_id)
    return send(wallet, network.committee.appeal(request_id, value=bond))[0]


def advance(network: Network, wallet: Wallet, request_id: RequestId) -> Sent:
    """Do what anyone may do next: draw, tally, end a missed draw, or free the bonds.

    Raises:
        PermanentError: nothing is to be done. ContractError: not yet.
    """
    committee, info = network.committee, requests.show(network, request_id)
    dispute = committee.dispute_of(request_id)
    if dispute.stage in (Stage.NONE, Stage.CLOSED):
        raise PermanentError(f"request 0x{request_id.hex()} has no open dispute")
    if network.market.open_disputes_of(request_id) == 0:
        return send(wallet, committee.release_bond(request_id))[0]
    assert info.delivery is not None
    if dispute.stage is Stage.VOTING:
        return send(wallet, committee.tally(info.request, info.delivery))[0]
    if network.history.now() >= dispute.until:
        return send(wallet, committee.lapse(info.request, info.delivery))[0]
    return send(wallet, committee.draw(request_id))[0]


def settle(network: Network, wallet: Wallet, request_id: RequestId) -> tuple[Sent, ...]:
    """Pay and punish the voters of a dispute that has ended, and free what their votes bind.

    Raises:
        PermanentError: nothing is to be settled.
    """
    calls = [
        network.committee.settle(request_id, round_, members)
        for round_, members in unsettled(network, request_id)
    ]
    if not calls:
        raise PermanentError(
            f"no votes about request 0x{request_id.hex()} are to be settled",
            hint=f"`tallystick committee show 0x{request_id.hex()}` says how far its dispute is",
        )
    return tuple(send(wallet, call)[0] for call in calls)


def unsettled(network: Network, request_id: RequestId) -> list[tuple[int, list[Address]]]:
    """Return rounds of a dispute, and who has a vote there that is not settled."""
    chain, found = network.committee, []
    for round_, members in _members(network, request_id).items():
        states = {m: chain.ballot_of(request_id, round_, m).state for m in members}
        open_ = (BallotState.COMMITTED, BallotState.REVEALED)
        if left := [m for m, state in states.items() if state in open_]:
            found.append((round_, left))
    return found


def list_disputes(network: Network, *, every: bool = False) -> tuple[CommitteeInfo, ...]:
    """Return the open disputes, oldest first; or all there ever were."""
    found = network.history.read(network.committee.address, (CommitteeCalled,))
    ids = [h.event.request_id for h in found if isinstance(h.event, CommitteeCalled)]
    states = [(request_id, network.committee.dispute_of(request_id)) for request_id in ids]
    return tuple(
        _info(network, request_id, dispute, ())
        for request_id, dispute in states
        if every or dispute.stage is not Stage.CLOSED
    )


def show(network: Network, request_id: RequestId) -> CommitteeInfo:
    """Return a dispute with every move.

    Raises:
        PermanentError: nobody called the committee.
    """
    dispute = network.committee.dispute_of(request_id)
    if dispute.stage is Stage.NONE:
        raise PermanentError(
            f"nobody called the committee about request 0x{request_id.hex()}",
            hint=f"`tallystick committee challenge 0x{request_id.hex()}`",
        )
    found = network.history.read(network.committee.address, _MOVES, topic(request_id))
    moves = network.history.moments(found, detail)
    return _info(network, request_id, dispute, moves)


def detail(event: Event) -> str:  # noqa: PLR0911, PLR0912 -- one line per kind
    """Say in words what an event adds to its name."""
    match event:
        case CommitteeCalled():
            return f"by {event.challenger}; {format_amount(event.eligible)} of stake can be drawn"
        case RoundCalled():
            return f"round {event.round + 1}: {event.size} members are expected"
        case Drawn():
            return f"round {event.round + 1}"
        case VoteCommitted():
            return f"{event.member}"
        case Appealed():
            return f"{event.appellant} doubts: {FINDINGS[event.finding]}"
        case VoteRevealed():
            return f"{event.member}: {FINDINGS[event.finding]}"
        case RoundTallied():
            return f"round {event.round + 1}: {FINDINGS[event.finding]}"
        case Decided():
            return f"{FINDINGS[event.finding]}; contradicted votes lose {format_amount(event.lost)}"
        case VoterPunished():
            return f"{event.member} {_FAULTS[event.fault]}: {format_amount(event.amount)}"
        case VoterPaid():
            pay = f"{format_amount(event.token_amount)}, {format_ether(event.wei_amount)}"
            return f"{event.member}: {pay}"
        case AppellantPaid():
            return f"{event.appellant}: {format_amount(event.amount)}"
        case DrawMissed():
            return f"round {event.round + 1}: nobody drew it in time"
        case BondReleased():
            return f"{format_ether(event.amount)} to {event.challenger}"
    return ""


def _answered(network: Network, request_id: RequestId) -> tuple[RequestInfo, Delivery]:
    info = requests.show(network, request_id)
    if info.delivery is None:
        raise PermanentError(f"request 0x{request_id.hex()} has no answer: {info.state.value}")
    return info, info.delivery


def _members(network: Network, request_id: RequestId) -> dict[int, list[Address]]:
    """Return who committed to a vote, by round, in the order of their coming."""
    found: dict[int, list[Address]] = {}
    for happened in network.history.read(
        network.committee.address, (VoteCommitted,), topic(request_id)
    ):
        assert isinstance(happened.event, VoteCommitted)
        found.setdefault(happened.event.round, []).append(happened.event.member)
    return found


def _info(
    network: Network, request_id: RequestId, dispute: Dispute, moves: tuple[Moment, ...]
) -> CommitteeInfo:
    chain, fixed = network.committee, network.committee.config()
    members = _members(network, request_id)
    rounds = []
    for number in range(dispute.round + 1):
        round_ = chain.round_of(request_id, number)
        voters = []
        for member in members.get(number, []):
            ballot = chain.ballot_of(request_id, number, member)
            voters.append(
                Voter(member, ballot.state, ballot.finding, ballot.activation, ballot.bound)
            )
        finding, size = chain.finding_of(request_id, number), chain.size_of(request_id, number)
        rounds.append(
            VoteRoundInfo(number, size, round_.caller, round_.bond, finding, tuple(voters))
        )
    voting = dispute.stage is Stage.VOTING
    last = rounds[-1].size == chain.size_of(request_id, dispute.round + 1)
    reveal_until = Timestamp(dispute.until + fixed.reveal_period if voting else 0)
    appeal_until = Timestamp(reveal_until + fixed.appeal_period if voting and not last else 0)
    return CommitteeInfo(
        request_id=request_id,
        stage=dispute.stage,
        finding=dispute.finding,
        challenger=rounds[0].caller,
        eligible=dispute.eligible,
        round=dispute.round,
        until=dispute.until,
        reveal_until=reveal_until,
        appeal_until=appeal_until,
        rounds=tuple(rounds),
        moves=moves,
    )
