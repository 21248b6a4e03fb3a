"""A market with a committee in an EVM in this process, and the words to play with it."""

from dataclasses import dataclass
from typing import Any

from eth_abi import encode

from oracle.chain.deploy import created_address
from oracle.protocol.canonical import keccak
from tests.support.evm import Evm

START = 1_800_000_000
ZERO, ZERO32, DEAD = "0x" + "00" * 20, bytes(32), "0x" + "00" * 18 + "dead"
WINDOW, FEE, DOLLAR = 60, 250_000, 10**6
BOND, MIN_STAKE, PENALTY = 1_001, 20 * DOLLAR, DOLLAR
SEASONING, SEED_DELAY, DRAW, COMMIT, REVEAL, TALLY = 10, 2, 100, 40, 30, 20
LONGEST = DRAW + 3 * (COMMIT + REVEAL + TALLY)
LEAVE = SEASONING + 2 * LONGEST
AGE = LONGEST + TALLY
TOLERANCE, DEMAND = 1_000, 60
LOCK = 2 * 5 * FEE
BOUNTY = LOCK * 30 // 100
DEPLOYER, OWNER, REQUESTER, OPERATOR, CHALLENGER, STRANGER = (
    "0x" + f"{0xD0 + i:040x}" for i in range(6)
)
MEMBERS = ["0x" + f"{0xA0 + i:040x}" for i in range(6)]
PEOPLE = [OWNER, REQUESTER, OPERATOR, CHALLENGER, STRANGER, *MEMBERS]
GENERAL = ZERO32
NAMES = (
    *("stage", "round", "tallied", "finding", "challengedAt", "commitUntil", "revealUntil"),
    *("seedBlock", "challenger", "bond", "eligible", "runtimeClass", "seed"),
)
RANK = ["bytes32", "bytes32", "uint256", "address"]
VOTE = ["bytes32", "uint256", "address", "uint8", "bytes32", "int128", "bytes32"]


@dataclass
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
    return keccak(encode(VOTE, [request_id, round_, member, *vote]))


class CommitteeWorld:
    """The contracts, deployed and funded; calls of the committee by default."""

    def __init__(self) -> None:
        world = self.evm = Evm(START)
        token = world.deploy(DEPLOYER, "TestDollar")
        market, committee = created_address(DEPLOYER, 4), created_address(DEPLOYER, 5)
        registry = world.deploy(DEPLOYER, "ModelRegistry", ZERO, 1, 100)
        access = world.deploy(DEPLOYER, "ModelAccess", registry, market)
        stakes = world.deploy(DEPLOYER, "OperatorRegistry", token, registry, market, 10**6)
        wiring = (token, registry, access, stakes, ZERO, ZERO, committee, DEPLOYER)
        world.deploy(DEPLOYER, "InferenceMarket", (*wiring, 500, DOLLAR, 10**5, 30, DEMAND, AGE))
        rules = (market, BOND, MIN_STAKE, PENALTY, SEASONING, SEED_DELAY)
        rules += (DRAW, COMMIT, REVEAL, TALLY)
        self.place = world.deploy(DEPLOYER, "Committee", rules)
        assert self.place.lower() == committee.lower()
        self.lanes = 0
        self._publish()
        self._fund(market, stakes)

    def _publish(self) -> None:
        call = self.evm.call
        call(OWNER, "ModelRegistry", "registerModel", "model", 0)
        fields = (b"\1" * 32, b"\2" * 32, 1, TOLERANCE, FEE, 7_000, 1_000, 5, WINDOW)
        call(OWNER, "ModelRegistry", "publishVersion", 1, ZERO32, fields)
        self.terms = call(OWNER, "ModelRegistry", "termsOf", 1, 1)

    def _fund(self, market: str, stakes: str) -> None:
        call = self.evm.call
        for account in PEOPLE:
            self.evm.fund(account, 10**18)
            call(account, "TestDollar", "faucet", account, 1_000 * DOLLAR)
            for spender in (market, stakes, self.place):
                call(account, "TestDollar", "approve", spender, 2**255)
        call(OPERATOR, "OperatorRegistry", "register", ZERO32, "")
        call(OWNER, "OperatorRegistry", "authorize", 1, OPERATOR, True)
        call(OPERATOR, "OperatorRegistry", "stake", OPERATOR, 200 * DOLLAR)
        call(REQUESTER, "InferenceMarket", "deposit", REQUESTER, 100 * DOLLAR)

    def call(self, caller: str, function: str, *arguments: Any, value: int = 0) -> Any:
        return self.evm.call(caller, "Committee", function, *arguments, value=value)

    def start(self, members: int) -> None:
        """Enlist the first members and let their stake count."""
        for member in MEMBERS[:members]:
            self.call(member, "enlist", GENERAL, MIN_STAKE)
        self.evm.set_time(self.evm.time + SEASONING)

    def deliver(self) -> Job:
        """Make a request and deliver an answer to it."""
        call, now, lane = self.evm.call, self.evm.time, self.lanes
        self.lanes += 1
        root = b"\3" * 32
        order = (1, 1, lane, root, ZERO32, ZERO32, FEE, 50, 100, OPERATOR, ZERO, 0, ZERO32)
        call(REQUESTER, "InferenceMarket", "request", order)
        words = (
            int(REQUESTER, 16) | lane << 160 | lane << 192,
            int(OPERATOR, 16) | now + 50 << 160 | now + 100 << 200,
            1 << 160 | 1 << 208,
            *(root, ZERO32, ZERO32, ZERO32, self.terms),
        )
        call(OPERATOR, "InferenceMarket", "deliver", words, (ZERO, 0), b"\4" * 32, ZERO32)
        request_id = call(OWNER, "InferenceMarket", "requestIdOf", words)
        return Job(words, (OPERATOR, now, b"\4" * 32), request_id)

    def challenge(self, job: Job, account: str = CHALLENGER, bond: int = BOND) -> None:
        self.call(account, "challenge", job.words, job.delivery, value=bond)

    def dispute(self, job: Job) -> dict[str, Any]:
        return dict(zip(NAMES, self.call(OWNER, "disputeOf", job.id), strict=True))
