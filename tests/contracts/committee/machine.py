"""A market with a committee in an EVM in this process, and the words to play with it."""

from dataclasses import dataclass
from typing import Any

from eth_abi import encode

from benchmarks.committee_model import Rules
from oracle.chain.deploy import created_address
from oracle.protocol.canonical import keccak
from tests.support.evm import Evm

START = 1_800_000_000
ZERO, ZERO32, DEAD = "0x" + "00" * 20, bytes(32), "0x" + "00" * 18 + "dEaD"
WINDOW, FEE, DOLLAR = 60, 250_000, 10**6
BOND, MIN_STAKE, PENALTY, VOTE = 1_001, 20 * DOLLAR, DOLLAR, 5 * DOLLAR
SEASONING, SEED_DELAY, DRAW, COMMIT, REVEAL, APPEAL, TALLY = 10, 2, 100, 40, 30, 25, 20
LONGEST = 5 * (DRAW + COMMIT + REVEAL + APPEAL + TALLY)
LEAVE = SEASONING + 2 * LONGEST
AGE = LONGEST + TALLY
TOLERANCE, DEMAND, AUDIT_BPS = 1_000, 60, 1_000
LOCK = 2 * 5 * FEE
BOUNTY = LOCK * 30 // 100
RULES = Rules(MIN_STAKE, PENALTY, VOTE)
DEPLOYER, OWNER, REQUESTER, OPERATOR, CHALLENGER, STRANGER = (
    "0x" + f"{0xD0 + i:040x}" for i in range(6)
)
MEMBERS = ["0x" + f"{0xA000 + i:040x}" for i in range(120)]
GENERAL = ZERO32
ROOT, OUTPUT = b"\3" * 32, b"\4" * 32
DIGEST, SALT, ACTIVATION = b"\6" * 32, b"\5" * 32, 1_234_567_891
NONE, MATCH, MISMATCH, NO_INPUT, NO_OUTPUT = range(5)
UNDISPUTED, DRAWING, VOTING, CLOSED = range(4)
SILENCE, ACTIVATION_OFF, CONTRADICTED = range(3)
DISPUTE = (
    *("stage", "round", "tallied", "finding", "challengedAt", "until", "seedBlock", "tolerance"),
    *("eligible", "firstSize", "winners", "tokens", "weis", "runtimeClass"),
)
ROUND = (
    *("caller", "bond", "seed", "matched", "mismatched", "inputMissing", "outputMissing"),
    *("activation", "margin", "committed"),
)
RANK = ["bytes32", "bytes32", "uint256", "address"]
COMMITMENT = ["bytes32", "uint256", "address", "uint8", "bytes32", "int128", "bytes32"]


@dataclass(frozen=True)
class Job:
    """One delivered answer."""

    words: tuple
    delivery: tuple
    id: bytes


def rank(seed: bytes, request_id: bytes, round_: int, member: str) -> int:
    """Return a member's hash by the formula."""
    return int.from_bytes(keccak(encode(RANK, [seed, request_id, round_, member])))


def commitment(request_id: bytes, round_: int, member: str, vote: tuple) -> bytes:
    """Return what a member commits to; a vote is (finding, digest, activation, salt)."""
    return keccak(encode(COMMITMENT, [request_id, round_, member, *vote]))


def words(finding: int = MATCH, activation: int = ACTIVATION) -> tuple:
    """Return a vote as `reveal` takes it."""
    return (finding, DIGEST, activation, SALT)


class CommitteeWorld:
    """The contracts, deployed and funded; calls of the committee by default."""

    def __init__(self, fee: int = FEE, people: int = 12) -> None:
        world = self.evm = Evm(START)
        self.fee = fee
        token = world.deploy(DEPLOYER, "TestDollar")
        market, seats, committee = (created_address(DEPLOYER, n) for n in (4, 5, 6))
        operators = created_address(DEPLOYER, 3)
        registry = world.deploy(
            DEPLOYER, "ModelRegistry", ZERO, ZERO, 1, 100, AUDIT_BPS, DOLLAR, operators
        )
        access = world.deploy(DEPLOYER, "ModelAccess", registry, market)
        stakes = world.deploy(DEPLOYER, "OperatorRegistry", token, registry, market, 10**6)
        wiring = (token, registry, access, stakes, ZERO, ZERO, committee, ZERO, DEPLOYER)
        world.deploy(DEPLOYER, "InferenceMarket", (*wiring, 500, DOLLAR, 10**5, 30, DEMAND, AGE, 0))
        rules = (market, MIN_STAKE, SEASONING, LEAVE)
        self.seats = world.deploy(DEPLOYER, "CommitteeSeats", rules)
        periods = (DRAW, COMMIT, REVEAL, APPEAL, TALLY)
        fixed = (market, seats, BOND, PENALTY, VOTE, SEED_DELAY, *periods)
        self.place = world.deploy(DEPLOYER, "Committee", fixed)
        assert self.place.lower() == committee.lower()
        self.lanes = 0
        self.people = [OWNER, REQUESTER, OPERATOR, CHALLENGER, STRANGER, *MEMBERS[:people]]
        self._publish()
        self._fund(market, stakes)

    def _publish(self) -> None:
        call = self.evm.call
        call(OWNER, "ModelRegistry", "registerModel", "model", 0)
        fields = (b"\1" * 32, b"\2" * 32, 1, TOLERANCE, self.fee, 7_000, 1_000, 5, WINDOW, 0)
        call(OWNER, "ModelRegistry", "publishVersion", 1, ZERO32, fields)
        self.terms = call(OWNER, "ModelRegistry", "termsOf", 1, 1)

    def _fund(self, market: str, stakes: str) -> None:
        call = self.evm.call
        for account in self.people:
            self.evm.fund(account, 10**18)
            call(account, "TestDollar", "faucet", account, 1_000 * DOLLAR)
            for spender in (market, stakes, self.seats):
                call(account, "TestDollar", "approve", spender, 2**255)
        call(OPERATOR, "OperatorRegistry", "register", ZERO32, "")
        call(OWNER, "OperatorRegistry", "authorize", 1, OPERATOR, True)
        call(OPERATOR, "OperatorRegistry", "stake", OPERATOR, 900 * DOLLAR)
        call(REQUESTER, "InferenceMarket", "deposit", REQUESTER, 900 * DOLLAR)

    # ── Calls ───────────────────────────────────────────────────────────────────────────────────
    def call(self, caller: str, function: str, *arguments: Any, value: int = 0) -> Any:
        return self.evm.call(caller, "Committee", function, *arguments, value=value)

    def seat(self, caller: str, function: str, *arguments: Any) -> Any:
        return self.evm.call(caller, "CommitteeSeats", function, *arguments)

    def market(self, caller: str, function: str, *arguments: Any, value: int = 0) -> Any:
        return self.evm.call(caller, "InferenceMarket", function, *arguments, value=value)

    # ── Seats ───────────────────────────────────────────────────────────────────────────────────
    def start(self, members: int, stake: int = MIN_STAKE) -> None:
        """Enlist the first members and let their stake count."""
        for member in MEMBERS[:members]:
            self.seat(member, "enlist", GENERAL, stake)
        self.evm.set_time(self.evm.time + SEASONING)

    def stake_of(self, member: str) -> int:
        return int(self.seat(OWNER, "seatOf", GENERAL, member)[0])

    def bound_of(self, member: str) -> int:
        return int(self.seat(OWNER, "seatOf", GENERAL, member)[2])

    def reward_of(self, account: str) -> int:
        return int(self.seat(OWNER, "rewardOf", account))

    def bond_of(self, account: str) -> int:
        return int(self.call(OWNER, "bondOf", account))

    # ── A dispute ───────────────────────────────────────────────────────────────────────────────
    def deliver(self) -> Job:
        """Make a request and deliver an answer to it."""
        now, lane = self.evm.time, self.lanes
        self.lanes += 1
        order = (1, 1, lane, ROOT, ZERO32, ZERO32, self.fee, 50, 100, OPERATOR, ZERO, 0, ZERO32)
        self.market(REQUESTER, "request", order)
        words = (
            int(REQUESTER, 16) | lane << 160 | lane << 192,
            int(OPERATOR, 16) | now + 50 << 160 | now + 100 << 200,
            1 << 160 | 1 << 208,
            *(ROOT, ZERO32, ZERO32, ZERO32, self.terms),
        )
        self.market(OPERATOR, "deliver", words, (ZERO, 0), (OUTPUT, ZERO32, 0))
        return Job(words, (OPERATOR, now, OUTPUT), self.market(OWNER, "requestIdOf", words))

    def dispute(self, job: Job) -> dict[str, Any]:
        return dict(zip(DISPUTE, self.call(OWNER, "disputeOf", job.id), strict=True))

    def round(self, job: Job, number: int) -> dict[str, Any]:
        return dict(zip(ROUND, self.call(OWNER, "roundOf", job.id, number), strict=True))

    def challenge(self, job: Job, account: str = CHALLENGER, bond: int | None = None) -> None:
        needed = self.call(OWNER, "challengeBond", job.words, job.delivery[1])
        value = needed if bond is None else bond
        self.call(account, "challenge", job.words, job.delivery, value=value)

    def draw(self, job: Job) -> None:
        """Go to the seed block and draw."""
        self.evm.number = max(self.evm.number, self.dispute(job)["seedBlock"] + 1)
        self.evm.set_block()
        self.call(STRANGER, "draw", job.id)

    def voting(self) -> Job:
        """Deliver, challenge and draw."""
        job = self.deliver()
        self.challenge(job)
        self.draw(job)
        return job

    def drawn(self, job: Job) -> list[str]:
        """Return who sits in the present round."""
        round_ = self.dispute(job)["round"]
        members = [m for m in MEMBERS if m in self.people]
        return [m for m in members if self.call(OWNER, "depositOf", job.id, round_, m)]

    def go(self, time: int) -> None:
        """Let time pass until then, unless it is later already."""
        if time > self.evm.time:
            self.evm.set_time(time)

    def commit(self, job: Job, votes: dict[str, tuple]) -> None:
        round_ = self.dispute(job)["round"]
        for member, vote in votes.items():
            self.call(member, "commit", job.id, commitment(job.id, round_, member, vote))

    def to_reveals(self, job: Job) -> None:
        self.go(self.dispute(job)["until"])

    def to_appeals(self, job: Job) -> None:
        self.go(self.dispute(job)["until"] + REVEAL)

    def reveal(self, job: Job, votes: dict[str, tuple]) -> None:
        for member, vote in votes.items():
            self.call(member, "reveal", job.id, *vote)

    def vote(self, job: Job, votes: dict[str, tuple], hidden: tuple[str, ...] = ()) -> None:
        """Commit and reveal, and go to the end of the reveals."""
        self.commit(job, votes)
        self.to_reveals(job)
        self.reveal(job, {m: vote for m, vote in votes.items() if m not in hidden})
        self.to_appeals(job)

    def appeal(self, job: Job, account: str = OPERATOR, bond: int | None = None) -> None:
        """Appeal, and draw the next round."""
        needed = self.call(OWNER, "appealBond", job.id)
        self.call(account, "appeal", job.id, value=needed if bond is None else bond)
        self.draw(job)

    def tally(self, job: Job) -> None:
        """Tally as soon as nobody can appeal."""
        self.go(self.dispute(job)["until"] + REVEAL + APPEAL)
        self.call(STRANGER, "tally", job.words, job.delivery)

    def settle(self, job: Job, caller: str = STRANGER) -> None:
        """Settle every vote of every round."""
        members = [m for m in MEMBERS if m in self.people]
        for round_ in range(self.dispute(job)["round"] + 1):
            self.call(caller, "settle", job.id, round_, members)
