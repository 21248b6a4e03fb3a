"""Rounds as tests play them: market, credits, rounds and valuation game in an EVM in this process.

Knows nothing of what is right: it calls, and hands back what was returned or why it was refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyrevm
import pytest
from eth_account import Account

from oracle.chain.deploy import created_address
from oracle.merkle import keccak, log, tree_path, tree_root
from tests.contracts import blocking_token
from tests.support.evm import Evm, Reverted

START = 1_800_000_000
ZERO, ZERO32, DEAD = "0x" + "00" * 20, bytes(32), "0x" + "00" * 18 + "dead"
DOLLAR = 10**6
TEST_ROWS = 1 << 10
ONE = TEST_ROWS << 40  # a value: all test rows are answered right
DEPOSIT, FEE, REWARD = 10 * DOLLAR, DOLLAR // 2, 3 * DOLLAR
SUBMIT, REVEAL, TEST = 100, 60, 30  # seconds
VALUING, CLAIM, WINDOW = 1_000, 200, 300  # seconds
STAKE, FORFEIT = 50 * DOLLAR, 5 * DOLLAR
MIN_REPLY, CLOCK = 20, 50  # seconds
MIN_ROWS, INTERVAL, ANSWERS, MAX_WEIGHT = 1, 1, 40, 5_000
NONE, COLLECTING, VALUE, SETTLED, VOID = range(5)
COMMITTED, REVEALED, EXCLUDED, DISPLACED, UNSERVED, CLOSED = range(1, 7)
# The rest of what people call is DataRounds'
OF_CREDITS = {
    *("claim", "claimable", "creditRevenue", "creditsOf", "endorse", "endorsedOf", "endorsementOf"),
    *("arrive", "arrivedOf", "come", "formerOf", "grant", "hasCredits", "hasLeft", "leave"),
    *("mintable", "protectsShare", "returnEndorsement", "settleEndorsement", "testRowsOf"),
    "totalCredits",
}
KEYS = {name: keccak(name.encode()) for name in ("alice", "bob", "carol", "dave")}
ALICE, BOB, CAROL, DAVE = (Account.from_key(key).address for key in KEYS.values())
DEPLOYER, OWNER, VALUATOR, RIVAL, CHALLENGER, TREASURY, OPERATOR, USER = (
    "0x" + f"{0xE0 + i:040x}" for i in range(8)
)
PEOPLE = (ALICE, BOB, CAROL, DAVE, OWNER, VALUATOR, RIVAL, CHALLENGER, OPERATOR, USER)
DATA_BPS = 5_000
SALT = b"\x5a" * 32
TEST_ROOT = keccak(b"test set")
CID = keccak(b"file")


def words(*values: Any) -> bytes:
    """Encode static values as abi.encode does."""
    return b"".join(_word(value) for value in values)


def _word(value: Any) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(32)
    return bytes.fromhex(value[2:]).rjust(32, b"\0") if isinstance(value, str) else bytes(value)


def commitment_to_test_set(
    root: bytes = TEST_ROOT,
    rows: int = TEST_ROWS,
    salt: bytes = SALT,
    opener: str = OWNER,
    model: int = 1,
) -> bytes:
    return keccak(words(model, opener, salt, root, rows))


def value_leaf(number: int, value: int) -> bytes:
    return keccak(b"\x12" + number.to_bytes(4) + value.to_bytes(8))


def values_root(values: list[int]) -> bytes:
    leaves = [value_leaf(c, value) for c, value in enumerate(values)]
    return tree_root(leaves, log(len(leaves)))


def value_path(values: list[int], number: int) -> tuple[bytes, ...]:
    leaves = [value_leaf(c, value) for c, value in enumerate(values)]
    return tree_path(leaves, log(len(leaves)), number)


@dataclass
class Data:
    """All contracts, with model 1 of OWNER; everybody has money and has approved everything."""

    world: Evm = field(default_factory=lambda: Evm(START))
    game: str = ""  # an account that stands in for the game; empty = the real one
    demands: str = ""  # another RowDemands than the one deployed here
    rounds: str = ""  # what DataCredits names, when it is not the DataRounds deployed here
    max_period: int = 10_000  # seconds
    answers: int = ANSWERS  # seconds
    max_weight: int = MAX_WEIGHT  # basis points
    interval: int = INTERVAL  # seconds
    min_rows: int = MIN_ROWS
    min_gas_price: int = 0  # wei
    predecessor: str = ZERO  # DataCredits of another deployment in the same world
    deployer: str = DEPLOYER
    round_id: int = 0

    def __post_init__(self) -> None:
        world = self.world
        token = blocking_token.deploy(world, self.deployer)
        programs = world.deploy(self.deployer, "ProgramRegistry")
        names = [created_address(self.deployer, 2 + i) for i in range(9)]
        registry, access, stakes, market, credits, rounds, demands, verifier, game = names
        world.deploy(self.deployer, "ModelRegistry", programs, credits, 1, 100, 0, 0, stakes)
        world.deploy(self.deployer, "ModelAccess", registry, market)
        world.deploy(self.deployer, "OperatorRegistry", token, registry, market, 10**6)
        wiring = (token, registry, access, stakes, credits, ZERO, ZERO, ZERO, TREASURY)
        world.deploy(
            self.deployer,
            "InferenceMarket",
            (*wiring, 500, 10**6, 10**5, 30, 60, 3_600, self.min_gas_price),
        )
        self.market, self.credits = market, credits
        world.deploy(
            *(self.deployer, "DataCredits"),
            (market, self.rounds or rounds, self.predecessor, self.max_weight),
        )
        self.rounds = rounds
        limits = (DEPOSIT, FEE, self.max_period, self.interval, self.min_rows)
        rules = (credits, self.demands or demands, self.game or game, *limits)
        world.deploy(self.deployer, "DataRounds", rules)
        world.deploy(self.deployer, "RowDemands", rounds, self.answers)
        if not self.game:
            world.deploy(self.deployer, "ValuationVerifier", rounds)
            times = (VALUING, CLAIM, WINDOW, MIN_REPLY, CLOCK)
            world.deploy(self.deployer, "ValuationGame", (rounds, verifier, STAKE, FORFEIT, *times))
            self.game = game
        self.requests = 0
        for account in PEOPLE:
            world.fund(account, 10**20)
            world.call(account, "TestDollar", "faucet", account, 10**6 * DOLLAR)
            for spender in (rounds, self.game, market, stakes):
                world.call(account, "TestDollar", "approve", spender, 2**256 - 1)
        self._publish()
        self.places = dict(world.places)

    def _publish(self) -> None:
        call = self.world.call
        call(OWNER, "ModelRegistry", "registerModel", "model", 0)
        fields = (CID, CID, 1, 1, 1, 0, DATA_BPS, 1, 1, 0)
        call(OWNER, "ModelRegistry", "publishVersion", 1, ZERO32, fields)
        call(OPERATOR, "OperatorRegistry", "register", ZERO32, "")
        call(OWNER, "OperatorRegistry", "authorize", 1, OPERATOR, True)
        call(OPERATOR, "OperatorRegistry", "stake", OPERATOR, 10**6 * DOLLAR)

    def take_code(self, address: str) -> None:
        """Let a test speak in a contract's name: whoever has code sends no transactions."""
        self.world.revm.insert_account_info(address, pyrevm.AccountInfo(nonce=1))

    def do(self, caller: str, function: str, *arguments: Any) -> Any:
        place = "DataCredits" if function in OF_CREDITS else "DataRounds"
        return self.world.call(caller, place, function, *arguments)

    def see(self, function: str, *arguments: Any) -> Any:
        return self.do(OWNER, function, *arguments)

    @property
    def gas(self) -> int:
        """Gas of the last call, without the transaction's 21,000 and its calldata."""
        return self.world.gas

    def tokens(self, account: str) -> int:
        return int(self.world.call(OWNER, "TestDollar", "balanceOf", account))

    def in_market(self, account: str) -> int:
        return int(self.world.call(OWNER, "InferenceMarket", "balanceOf", account))

    def pass_to(self, name: str) -> None:
        """Go to the end of a phase."""
        self.world.set_time(self.round()[{"submit": 1, "reveal": 2, "test": 3}[name]])

    def round(self, round_id: int = 0) -> Any:
        return self.see("roundOf", round_id or self.round_id)

    def stage(self, round_id: int = 0) -> int:
        return int(self.round(round_id)[4])

    # ── A round ─────────────────────────────────────────────────────────────────────────────────
    def terms(self, **changes: Any) -> tuple[Any, ...]:
        terms = {
            "features": 3,
            "neighbours": 5,
            "rowTolerance": 30,
            "testTolerance": 12,
            "testRows": TEST_ROWS,
            "maxContributions": 8,
            "maxRows": 1_000,
            "submitPeriod": SUBMIT,
            "revealPeriod": REVEAL,
            "testPeriod": TEST,
            "reward": REWARD,
            "testCommitment": commitment_to_test_set(rows=changes.get("testRows", TEST_ROWS)),
            "schema": CID,
        }
        assert changes.keys() <= terms.keys()
        return tuple((terms | changes).values())

    def open(self, **changes: Any) -> int:
        self.round_id = self.do(OWNER, "openRound", 1, self.terms(**changes))
        return self.round_id

    def commitment(self, owner: str, root: bytes, rows: int = 10, salt: bytes = SALT) -> bytes:
        return keccak(words(self.round_id, owner, salt, root, rows))

    def submit(self, owner: str, root: bytes, rows: int = 10, bps: int = 0) -> int:
        commitment = self.commitment(owner, root, rows)
        return int(self.do(owner, "submit", self.round_id, commitment, bps))

    def reveal(self, index: int, root: bytes, rows: int = 10, salt: bytes = SALT) -> None:
        arguments = (self.round_id, index, root, rows, salt, CID, ZERO32)
        self.do(BOB, "reveal", *arguments)

    def reveal_test(self, root: bytes = TEST_ROOT, salt: bytes = SALT) -> None:
        self.do(BOB, "revealTest", self.round_id, root, salt, CID)

    def settle(self, values: list[int], valuator: str = VALUATOR) -> None:
        """Settle as the game: only where an account stands in for it."""
        root = values_root(values)
        self.do(self.game, "settle", self.round_id, valuator, root, values)

    def give(self, values: list[int], number: int) -> None:
        arguments = (self.round_id, number, values[number], value_path(values, number))
        self.do(BOB, "credit", *arguments)

    def play(self, owners: list[str], values: list[int], **changes: Any) -> None:
        """Play a whole round in which these bring a data set each, and give them their credits."""
        self.prepare(owners, **changes)
        self.settle(values)
        for number in range(len(values)):
            self.give(values, number)

    def prepare(self, owners: list[str], bps: int = 0, **changes: Any) -> None:
        """Play a round up to its valuation."""
        self.open(**changes)
        roots = [keccak(b"data %d %d" % (self.round_id, k)) for k in range(len(owners))]
        for owner, root in zip(owners, roots, strict=True):
            self.submit(owner, root, bps=bps)
        self.pass_to("submit")
        for index, root in enumerate(roots):
            self.reveal(index, root)
        self.seal()

    def seal(self) -> None:
        self.pass_to("reveal")
        self.reveal_test()
        self.pass_to("test")
        self.do(BOB, "number", self.round_id, 1_000)

    # ── Revenue ─────────────────────────────────────────────────────────────────────────────────
    def sell(self, amount: int, bps: int = DATA_BPS) -> None:
        """Sell an answer; `amount` of its fee is the data share, which the market holds now.

        With another share the fee is the same.
        """
        call, lane = self.world.call, self.requests
        fee = amount * 10_000 // DATA_BPS
        call(OWNER, "ModelRegistry", "setTerms", 1, 1, fee, 0, bps, 1, 1)
        call(USER, "TestDollar", "faucet", USER, fee)
        call(USER, "InferenceMarket", "deposit", USER, fee)
        order = (1, 1, 0, CID, ZERO32, ZERO32, fee, 50, 100, OPERATOR, ZERO, 0, ZERO32)
        call(USER, "InferenceMarket", "request", order)
        now = self.world.time
        request = (
            int(USER, 16) | lane << 192,
            int(OPERATOR, 16) | now + 50 << 160 | now + 100 << 200,
            1 << 160 | 1 << 208,
            *(CID, ZERO32, ZERO32, ZERO32),
            call(OWNER, "ModelRegistry", "termsOf", 1, 1),
        )
        self.requests += 1
        call(OPERATOR, "InferenceMarket", "deliver", request, (ZERO, 0), (CID, ZERO32, 0))
        self.world.set_time(now + 1)
        delivery = (OPERATOR, now, CID)
        call(USER, "InferenceMarket", "finalize", [request], [delivery])

    def collect(self) -> None:
        self.world.call(BOB, "InferenceMarket", "collectModelEarnings", 1)

    def earn(self, amount: int) -> None:
        """Sell an answer and hand its data share to who holds credits."""
        self.sell(amount)
        self.collect()


def sign(account: str, digest: bytes) -> bytes:
    """Sign as one of the four people with keys."""
    name = next(name for name, key in KEYS.items() if Account.from_key(key).address == account)
    return bytes(Account.unsafe_sign_hash(digest, KEYS[name]).signature)


@contextmanager
def refuses(error: str) -> Iterator[None]:
    """Expect a revert with this typed error."""
    with pytest.raises(Reverted, match=f"^{error}: "):
        yield
