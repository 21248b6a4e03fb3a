"""Committees about float answers as the chain tells them, and the acts that people take on them.

Who votes by itself is `oracle/agents/committee/member.py`.
"""

from dataclasses import dataclass

from oracle.chain.arguments import GENERAL
from oracle.chain.bindings.committee import (
    CommitteeCalled,
    Dispute,
    DrawMissed,
    Drawn,
    Enlisted,
    Finding,
    RoundStarted,
    RoundTallied,
    Seat,
    Stage,
    VoteCommitted,
    VoteEvicted,
    VoteRevealed,
    VoterFault,
    VoterPunished,
    VotersPaid,
)
from oracle.chain.bindings.dispute_game import BondReleased
from oracle.chain.event import Event
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
    RequestId,
    Timestamp,
    Wei,
)

BOND_MARGIN = (125, 100)  # of the bond that is needed now: the base fee moves
_MOVES = (
    CommitteeCalled, Drawn, RoundStarted, VoteCommitted, VoteEvicted, VoteRevealed, RoundTallied,
    VoterPunished, VotersPaid, DrawMissed, BondReleased,
)  # fmt: skip
FINDINGS = {
    Finding.NONE: "no majority",
    Finding.MATCH: "the answer is right",
    Finding.MISMATCH: "the answer is wrong",
    Finding.INPUT_UNAVAILABLE: "nobody has the input or the model",
    Finding.OUTPUT_UNAVAILABLE: "nobody has the output",
}
_FAULTS = {
    VoterFault.SILENCE: "was silent",
    VoterFault.ACTIVATION_OFF: "has not run the model",
    VoterFault.MINORITY: "found what most did not",
}


@dataclass(frozen=True, slots=True)
class Voter:
    """One member's part in a round."""

    member: Address
    committed: bool
    finding: Finding
    activation: Activation


@dataclass(frozen=True, slots=True)
class CommitteeInfo:
    """A dispute about a float answer."""

    request_id: RequestId
    stage: Stage
    finding: Finding
    challenger: Address
    bond: Wei
    eligible: Amount  # stake that could be drawn: an honest majority of what is drawn decides
    seed_block: int
    draw_until: Timestamp
    round: int
    commit_until: Timestamp
    reveal_until: Timestamp
    voters: tuple[Voter, ...]  # of the round
    moves: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class SeatInfo:
    """A member's seat, and what the contract owes it."""

    member: Address
    runtime_class: Bytes32
    stake: Amount
    release_at: Timestamp  # 0 = not leaving
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
    allowed = allow(network, wallet, network.committee.address, amount)
    return (*allowed, send(wallet, network.committee.enlist(class_, amount))[0])


def leave(network: Network, wallet: Wallet, class_: Bytes32 = GENERAL) -> Sent:
    """Start to leave; or, once the delay is over, take the stake out."""
    seat: Seat = network.committee.seat_of(class_, wallet.address)
    call = network.committee.finish_leave if seat.release_at else network.committee.start_leave
    return send(wallet, call(class_))[0]


def seat(network: Network, member: Address, class_: Bytes32 = GENERAL) -> SeatInfo:
    """Return a member's seat."""
    committee = network.committee
    found = committee.seat_of(class_, member)
    owed = committee.reward_of(member), committee.bond_of(member)
    return SeatInfo(member, class_, found.stake, found.release_at, *owed)


def members(network: Network, class_: Bytes32) -> tuple[Address, ...]:
    """Return everybody who ever enlisted in a class, in the order of their coming."""
    found = network.history.read(network.committee.address, (Enlisted,), None, class_)
    events = (h.event for h in found)
    return tuple(dict.fromkeys(e.member for e in events if isinstance(e, Enlisted)))


def withdraw(network: Network, wallet: Wallet) -> tuple[Sent, ...]:
    """Pay out what the contract owes the wallet, in both currencies."""
    committee, done = network.committee, []
    if committee.bond_of(wallet.address):
        done.append(send(wallet, committee.withdraw_bond())[0])
    if committee.reward_of(wallet.address):
        done.append(send(wallet, committee.withdraw_reward())[0])
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
    needed = network.committee.bond_needed("pending")
    bond = Wei(needed * BOND_MARGIN[0] // BOND_MARGIN[1])
    return send(wallet, network.committee.challenge(info.request, delivery, value=bond))[0]


def advance(network: Network, wallet: Wallet, request_id: RequestId) -> Sent:
    """Do what anyone may do next: draw, tally, end a missed draw, or free the bond.

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
    if network.history.now() >= committee.draw_until(request_id):
        return send(wallet, committee.lapse(info.request, info.delivery))[0]
    return send(wallet, committee.draw(request_id))[0]


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


def detail(event: Event) -> str:  # noqa: PLR0911 -- one line per kind
    """Say in words what an event adds to its name."""
    match event:
        case CommitteeCalled():
            return (
                f"by {event.challenger}, bond {format_ether(event.bond)}; "
                f"{format_amount(event.eligible)} of stake can be drawn"
            )
        case RoundStarted():
            return f"round {event.round + 1}"
        case VoteCommitted() | VoteEvicted():
            return f"{event.member}"
        case VoteRevealed():
            return f"{event.member}: {FINDINGS[event.finding]}"
        case RoundTallied():
            return f"{FINDINGS[event.finding]}, {event.valid} valid votes"
        case VoterPunished():
            return f"{event.member} {_FAULTS[event.fault]}: {format_amount(event.amount)}"
        case VotersPaid():
            each = f"{format_amount(event.tokens_each)}, {format_ether(event.wei_each)}"
            return f"{event.voters} voters, each {each}"
        case DrawMissed():
            return f"{event.challenger} loses the bond"
        case BondReleased():
            return f"{format_ether(event.amount)} to {event.challenger}"
    return ""


def _answered(network: Network, request_id: RequestId) -> tuple[RequestInfo, Delivery]:
    info = requests.show(network, request_id)
    if info.delivery is None:
        raise PermanentError(f"request 0x{request_id.hex()} has no answer: {info.state.value}")
    return info, info.delivery


def _info(
    network: Network, request_id: RequestId, dispute: Dispute, moves: tuple[Moment, ...]
) -> CommitteeInfo:
    committee = network.committee
    voters = []
    for member in committee.voters_of(request_id, dispute.round):
        ballot = committee.ballot_of(request_id, dispute.round, member)
        voters.append(Voter(member, any(ballot.commitment), ballot.finding, ballot.activation))
    return CommitteeInfo(
        request_id=request_id,
        stage=dispute.stage,
        finding=dispute.finding,
        challenger=dispute.challenger,
        bond=dispute.bond,
        eligible=dispute.eligible,
        seed_block=dispute.seed_block,
        draw_until=committee.draw_until(request_id),
        round=dispute.round,
        commit_until=dispute.commit_until,
        reveal_until=dispute.reveal_until,
        voters=tuple(voters),
        moves=moves,
    )
