"""A sender played against nodes that do everything to it, with crashes between any two lines.

Whatever happened: an intent is on the chain at most once at any moment, and once the nodes are well
its books say what the chain says.
"""

import contextlib
import itertools

from eth_account import Account
from eth_account.signers.local import LocalAccount
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oracle.chain.contract import Call
from oracle.chain.memory import MemoryNode, MemoryRevert
from oracle.chain.outbox import EntryState, MemoryOutbox
from oracle.chain.rpc import RpcError
from oracle.chain.sender import Sender
from oracle.chain.transactions import Fees, FundsInsufficient, sign
from oracle.errors import TransientError
from oracle.types import Address, Log, RequestId, Wei
from tests.chain.faulty import DEFINITE, OPEN, Crash, Crashing, FaultyNodes
from tests.support.effort import SENDER_RUNS, machine

KEY: LocalAccount = Account.from_key(b"\x07" * 32)
MARKET = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
STRANGE = b"strange"
STUCK = 30.0


class SenderLife(RuleBasedStateMachine):
    """One outbox, many processes that send it, two bad nodes, one chain."""

    @initialize(confirmations=st.integers(0, 4))
    def begin(self, confirmations: int) -> None:
        self.confirmations, self.now = confirmations, 1000.0
        self.refused: set[bytes] = set()  # calldata that reverts
        self.chain = MemoryNode(self._execute, automine=False)
        self.nodes = FaultyNodes(self.chain)
        self.outbox, self.numbers = MemoryOutbox(), itertools.count(1)
        self._restart()

    def _execute(self, sender: Address, to: Address, data: bytes) -> list[Log]:
        if data in self.refused:
            raise MemoryRevert
        return []

    def _restart(self, crash_at: int = -1, after: bool = False) -> None:
        steps = itertools.count()
        self.sender = Sender(
            Crashing(self.nodes, steps, crash_at, after),
            KEY,
            Crashing(self.outbox, steps, crash_at, after),
            31337,
            stuck_after=STUCK,
            confirmations=self.confirmations,
            clock=lambda: self.now,
        )

    # ── What its user does ──────────────────────────────────────────────────────────────────────

    @rule(function=st.sampled_from([b"give", b"take"]), many=st.integers(1, 3))
    def submit(self, function: bytes, many: int) -> None:
        for _ in range(many):
            number = next(self.numbers)
            call = Call(MARKET, function + number.to_bytes(4), Wei(0))
            self.outbox.add("call", [RequestId(number.to_bytes(32))], call)

    @rule(seconds=st.sampled_from([0.1, 31.0]), steps=st.integers(1, 3), blocks=st.integers(0, 2))
    def work(self, seconds: float, steps: int, blocks: int) -> None:
        for _ in range(steps):
            self.step(seconds)
            self.chain.mine(blocks)

    def step(self, seconds: float) -> None:
        self.now += seconds
        with contextlib.suppress(TransientError, RpcError, FundsInsufficient):
            self.sender.step()

    @rule(at=st.integers(0, 12), after=st.booleans(), seconds=st.sampled_from([0.1, 31.0]))
    def crash(self, at: int, after: bool, seconds: float) -> None:
        self._restart(at, after)
        with contextlib.suppress(Crash):
            self.step(seconds)
        self._restart()

    # ── What the nodes do ───────────────────────────────────────────────────────────────────────

    @rule(
        lags=st.lists(st.integers(0, 8), min_size=2, max_size=2),
        late=st.integers(0, 8),
        parts=st.sampled_from([2, 100]),
    )
    def fall_behind(self, lags: list[int], late: int, parts: int) -> None:
        self.nodes.lags, self.nodes.late, self.nodes.parts = lags, late, parts

    @rule(error=st.sampled_from(OPEN), taken=st.booleans(), many=st.integers(1, 3))
    def answer_nonsense(self, error: Exception, taken: bool, many: int) -> None:
        self.nodes.broadcasts += [(error, taken)] * many

    @rule(error=st.sampled_from(DEFINITE), reads=st.lists(st.integers(0, 6), max_size=1))
    def refuse(self, error: Exception, reads: list[int]) -> None:
        self.nodes.broadcasts.append((error, False))
        self.nodes.reads += reads

    # ── What the chain does ─────────────────────────────────────────────────────────────────────

    @rule(dear=st.booleans(), forget=st.booleans(), refused=st.booleans())
    def change(self, dear: bool, forget: bool, refused: bool) -> None:
        """Raise the price, drop what waits, let calls revert that succeeded in simulation."""
        self.chain.base_fee = 10**11 if dear else 10**9
        if forget:
            self.chain.forget()
        self.refused = {e.data for e in self.outbox.live()} if refused else set()

    @rule(above=st.integers(0, 2), fee=st.sampled_from([10**10, 10**12]), mined=st.booleans())
    def stranger(self, above: int, fee: int, mined: bool) -> None:
        """Use the key elsewhere."""
        count = int(self.chain.call("eth_getTransactionCount", KEY.address, "latest"), 16)
        fees = Fees(fee, fee)
        raw = sign(KEY, 31337, count + above, MARKET, STRANGE, 0, 50_000, fees)
        with contextlib.suppress(RpcError):
            self.chain.call("eth_sendRawTransaction", "0x" + raw.hex())
        if mined:
            self.chain.mine()

    @precondition(lambda self: self.confirmations)
    @rule(
        worked=st.booleans(), depth=st.integers(1, 4), keep=st.booleans(), blocks=st.integers(0, 4)
    )
    def reorg(self, worked: bool, depth: int, keep: bool, blocks: int) -> None:
        if worked:
            self.work(0.1, 2, 1)
        head = int(self.chain.call("eth_blockNumber"), 16)
        if depth := min(depth, self.confirmations, head):
            self.nodes.reorg(depth, keep=keep)
            self.chain.mine(blocks)

    # ── What must hold ──────────────────────────────────────────────────────────────────────────

    @invariant()
    def each_intent_is_on_the_chain_once_at_most(self) -> None:
        calldata = [t.data for t, _ in self.chain.transactions if t.data not in (b"", STRANGE)]
        assert len(calldata) == len(set(calldata)), "sent twice"

    def teardown(self) -> None:
        self.nodes.heal()
        self.chain.base_fee = 10**9
        for _ in range(200):
            if not self.outbox.live():
                break
            self.step(31.0)
            self.chain.mine()
        self.each_intent_is_on_the_chain_once_at_most()
        self.books_say_what_the_chain_says()

    def books_say_what_the_chain_says(self) -> None:
        assert not self.outbox.live(), "something is never settled"
        happened = {t.data: succeeded for t, succeeded in self.chain.transactions}
        for entry in self.outbox.entries.values():
            if entry.kind == "call":
                booked = {EntryState.MINED: True, EntryState.FAILED: False}[entry.state]
                assert happened.get(entry.data, False) is booked, entry


def test_sender__bad_nodes_and_crashes__each_intent_once_and_true_books() -> None:
    run_state_machine_as_test(SenderLife, settings=machine(*SENDER_RUNS))
