"""The committee as a test drives it: delivered answers, members, and votes with defaults."""

from dataclasses import dataclass, field
from typing import Any

from eth_abi import encode
from eth_utils import keccak

from tests.contracts.chain import at, chain, now
from tests.contracts.market import DOLLAR, ZERO32, Market, digest

BOND = 10**14  # for each expected vote
MIN_STAKE = 20 * DOLLAR
PENALTY = DOLLAR
VOTE = 5 * DOLLAR
SEASONING, SEED_DELAY = 10, 2
DRAW, COMMIT, REVEAL, APPEAL, TALLY = 100, 60, 50, 25, 20  # seconds
LONGEST = 5 * (DRAW + COMMIT + REVEAL + APPEAL + TALLY)
LEAVE_DELAY = SEASONING + 2 * LONGEST

NONE, MATCH, MISMATCH, NO_INPUT, NO_OUTPUT = range(5)  # findings
UNDISPUTED, DRAWING, VOTING, CLOSED = range(4)  # stages
SILENCE, ACTIVATION_OFF, CONTRADICTED = range(3)  # faults
COMMITTED, REVEALED, SETTLED = range(1, 4)  # states of ballots
GENERAL = ZERO32
TOLERANCE = 1_000  # of the version: 1e-6
ACTIVATION = 1_234_567_891  # what honest voters find, in 1e-9
DEAD = "0x000000000000000000000000000000000000dEaD"
SALT = "0x" + "5a" * 32
TYPES = ["bytes32", "uint256", "address", "uint8", "bytes32", "int128", "bytes32"]
DISPUTE = (
    "stage round tallied finding challengedAt until seedBlock tolerance eligible firstSize winners"
    " tokens weis runtimeClass"
)
ROUND = "caller bond seed matched mismatched inputMissing outputMissing activation margin committed"


@dataclass(frozen=True)
class Vote:
    """What a voter says; the defaults are those of an honest one."""

    finding: int = MATCH
    activation: int = ACTIVATION
    output_digest: str = digest("my output")
    salt: str = SALT


@dataclass
class Panel:
    """The contract with a market around it, and one dispute at a time."""

    contract: Any
    seats: Any
    market: Market
    token: Any
    challenger: Any
    members: list = field(default_factory=list)

    # ── Members ─────────────────────────────────────────────────────────────────────────────────
    def enlist(self, account: Any, amount: int = MIN_STAKE, runtime_class: str = GENERAL) -> Any:
        self.fund(account, amount)
        return self.seats.enlist(runtime_class, amount, {"from": account})

    def fund(self, account: Any, amount: int) -> None:
        """Give somebody tokens and let the committee take them."""
        self.token.faucet(account, amount, {"from": account})
        self.token.approve(self.seats, amount, {"from": account})

    def season(self) -> None:
        """Let all stakes count."""
        chain.mine(timestamp=now() + SEASONING + 1)

    def stake_of(self, account: Any, runtime_class: str = GENERAL) -> int:
        return self.seats.seatOf(runtime_class, account)[0]

    # ── Challenge and draw ──────────────────────────────────────────────────────────────────────
    def challenge(self, delivered: tuple, sender: Any = None, value: int | None = None) -> Any:
        needed = self.contract.challengeBond(delivered[0], delivered[1][1])
        by = {"from": sender or self.challenger, "value": needed if value is None else value}
        return self.contract.challenge(*delivered, by)

    def id_of(self, delivered: tuple) -> str:
        return self.market.id_of(delivered[0])

    def dispute(self, delivered: tuple) -> dict:
        found = self.contract.disputeOf(self.id_of(delivered))
        return dict(zip(DISPUTE.split(), found, strict=True))

    def round(self, delivered: tuple, number: int = 0) -> dict:
        found = self.contract.roundOf(self.id_of(delivered), number)
        return dict(zip(ROUND.split(), found, strict=True))

    def drawn(self, delivered: tuple) -> list:
        """Return who sits in the present round."""
        request_id, round_ = self.id_of(delivered), self.dispute(delivered)["round"]
        return [m for m in self.members if self.contract.depositOf(request_id, round_, m)]

    def to_the_seed(self, delivered: tuple) -> None:
        """Mine until the hash of the seed block is there."""
        missing = self.dispute(delivered)["seedBlock"] + 1 - chain.height
        if missing > 1:
            chain.mine(missing - 1)

    def draw(self, delivered: tuple, sender: Any = None) -> Any:
        self.to_the_seed(delivered)
        return self.contract.draw(self.id_of(delivered), {"from": sender or self.challenger})

    def voting(self, delivered: tuple) -> tuple:
        """Challenge and draw."""
        self.challenge(delivered)
        self.draw(delivered)
        return delivered

    # ── Vote ────────────────────────────────────────────────────────────────────────────────────
    def commitment(self, delivered: tuple, member: Any, vote: Vote, round_: int) -> str:
        words = (
            bytes.fromhex(self.id_of(delivered)[2:]),
            round_,
            member.address,
            vote.finding,
            bytes.fromhex(vote.output_digest[2:]),
            vote.activation,
            bytes.fromhex(vote.salt[2:]),
        )
        return "0x" + keccak(encode(TYPES, words)).hex()

    def commit(self, delivered: tuple, member: Any, vote: Vote | None = None) -> Any:
        round_ = self.dispute(delivered)["round"]
        commitment = self.commitment(delivered, member, vote or Vote(), round_)
        return self.contract.commit(self.id_of(delivered), commitment, {"from": member})

    def to_reveals(self, delivered: tuple) -> None:
        chain.mine(timestamp=max(self.dispute(delivered)["until"], now() + 1))

    def reveal(self, delivered: tuple, member: Any, vote: Vote | None = None) -> Any:
        vote = vote or Vote()
        words = (vote.finding, vote.output_digest, vote.activation, vote.salt)
        return self.contract.reveal(self.id_of(delivered), *words, {"from": member})

    def to_appeals(self, delivered: tuple) -> None:
        """Go to where the next transaction is the first that may appeal, or later."""
        at(max(self.dispute(delivered)["until"] + REVEAL, now() + 1))

    def appeal(self, delivered: tuple, sender: Any = None, value: int | None = None) -> Any:
        self.to_appeals(delivered)
        needed = self.contract.appealBond(self.id_of(delivered))
        by = {"from": sender or self.challenger, "value": needed if value is None else value}
        return self.contract.appeal(self.id_of(delivered), by)

    def tally(self, delivered: tuple, sender: Any = None) -> Any:
        """Tally as soon as nobody can appeal."""
        at(max(self.dispute(delivered)["until"] + REVEAL + APPEAL, now() + 1))
        return self.contract.tally(*delivered, {"from": sender or self.challenger})

    def wear_out(self, delivered: tuple) -> Any:
        """Let nobody vote in the rounds that are left; return what ends the dispute."""
        for _ in range(self.dispute(delivered)["round"], 4):
            self.tally(delivered)
            self.draw(delivered)
        return self.tally(delivered)

    def cast(self, delivered: tuple, votes: dict, hidden: tuple = ()) -> None:
        """Let members commit and reveal."""
        for member, vote in votes.items():
            self.commit(delivered, member, vote)
        self.to_reveals(delivered)
        for member, vote in votes.items():
            if member not in hidden:
                self.reveal(delivered, member, vote)

    def vote(self, delivered: tuple, *votes: Vote | None, hidden: tuple = ()) -> Any:
        """Let the members vote in their order (None = silent, hidden = not revealed), and tally."""
        cast = zip(self.members, votes, strict=False)
        self.cast(delivered, {m: v for m, v in cast if v is not None}, hidden)
        return self.tally(delivered)

    def settle(self, delivered: tuple, sender: Any = None, round_: int = 0) -> Any:
        """Settle all votes of a round."""
        by = {"from": sender or self.challenger}
        return self.contract.settle(self.id_of(delivered), round_, self.members, by)


def punished(transaction: Any) -> list[tuple]:
    """Return (member, fault, amount) of everybody that a transaction punished."""
    if "VoterPunished" not in transaction.events:
        return []
    return [(e["member"], e["fault"], e["amount"]) for e in transaction.events["VoterPunished"]]


def blind(activation: int, finding: int = MATCH) -> Vote:
    """Return the vote of somebody who has not run the model."""
    return Vote(finding, activation)
