"""The sender: crashes at every line, stuck and foreign transactions, reorgs.

No sockets: the chain is a `MemoryNode`.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from oracle.chain.contract import Call
from oracle.chain.memory import MemoryNode, MemoryRevert
from oracle.chain.outbox import AlreadyPending, EntryState, MemoryOutbox, OutboxEntry
from oracle.chain.rpc import RpcError, RpcUnavailable
from oracle.chain.sender import Sender
from oracle.chain.transactions import Fees, FundsInsufficient, sign
from oracle.errors import TransientError
from oracle.store import Store
from oracle.store.outbox import SqlOutbox, add_in
from oracle.types import Address, Log, RequestId, Wei
from tests.chain.faulty import OPEN, Crash, Crashing, FaultyNodes

MARKET = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
KEY: LocalAccount = Account.from_key(b"\x07" * 32)
REFUSAL = keccak(text="RequestStateMismatch(bytes32)")[:4] + bytes(32)
TOO_EARLY = keccak(text="DisputesOpen(bytes32,uint256)")[:4] + bytes(64)
A, B, C = (RequestId(bytes([i]) * 32) for i in (1, 2, 3))


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Chain(MemoryNode):
    """A chain on which each calldata succeeds once, as a delivery does."""

    def __init__(self, **options: Any) -> None:
        self.refusing: dict[bytes, bytes] = {}
        super().__init__(self.run, **options)

    def run(self, sender: Address, to: Address, data: bytes) -> Sequence[Log]:
        if data in self.refusing:
            raise MemoryRevert(self.refusing[data])
        if data and any(t.data == data and ok for t, ok in self.transactions):
            raise MemoryRevert(REFUSAL)
        return ()

    @property
    def succeeded(self) -> list[bytes]:
        return [t.data for t, ok in self.transactions if ok and t.data]


def call(data: bytes) -> Call:
    return Call(MARKET, data, Wei(0), "test")


def sender_on(node: Any, outbox: Any, clock: Clock | None = None, **options: Any) -> Sender:
    clock = clock or Clock()
    return Sender(node, KEY, outbox, 31337, clock=clock, sleep=clock.sleep, **options)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


def states(outbox: MemoryOutbox) -> list[EntryState]:
    return [entry.state for entry in outbox.entries.values()]


# ── Refused ─────────────────────────────────────────────────────────────────────────────────────
def test_submit__same_request_and_kind_under_way__already_pending(outbox: MemoryOutbox) -> None:
    sender = sender_on(Chain(automine=False), outbox)
    first = sender.submit("deliver", [A, B], call(b"1"))
    with pytest.raises(AlreadyPending) as caught:
        sender.submit("deliver", [B], call(b"2"))
    assert caught.value.entry == first
    sender.submit("claim", [B], call(b"3"))


def test_step__refused_in_simulation__failed_permanently_without_a_nonce(
    chain: Chain, outbox: MemoryOutbox
) -> None:
    chain.refusing[b"1"] = REFUSAL
    sender = sender_on(chain, outbox)
    sender.submit("deliver", [A], call(b"1"))
    (ended,) = sender.step()
    assert (ended.state, ended.permanent, ended.nonce) == (EntryState.FAILED, True, None)
    assert "not in the state this call needs" in ended.error
    assert chain.transactions == []


def test_step__refused_for_now__failed_but_not_permanently(
    chain: Chain, outbox: MemoryOutbox
) -> None:
    chain.refusing[b"1"] = TOO_EARLY
    sender = sender_on(chain, outbox)
    sender.submit("finalize", [A], call(b"1"))
    (ended,) = sender.step()
    assert (ended.state, ended.permanent) == (EntryState.FAILED, False)


def test_step__reverts_when_mined__failed_with_the_reason(outbox: MemoryOutbox) -> None:
    chain = Chain(automine=False)
    sender = sender_on(chain, outbox)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    chain.refusing[b"1"] = REFUSAL  # somebody was faster
    chain.mine()
    (ended,) = sender.step()
    assert (ended.state, ended.permanent, ended.block_number) == (EntryState.FAILED, True, 1)
    assert "not in the state" in ended.error
    assert sender.step() == []


def test_step__no_money_for_gas__funds_insufficient_and_goes_on_later(
    chain: Chain, outbox: MemoryOutbox
) -> None:
    class Poor(Chain):
        poor = True

        def call(self, method: str, *params: Any) -> Any:
            if self.poor and method == "eth_sendRawTransaction":
                raise RpcError(-32003, "Insufficient funds for gas * price + value")
            return super().call(method, *params)

    node = Poor()
    sender = sender_on(node, outbox)
    sender.submit("deliver", [A], call(b"1"))
    with pytest.raises(FundsInsufficient, match=KEY.address):
        sender.step()
    node.poor = False
    sender.settle(10)
    assert node.succeeded == [b"1"]


class Strict(Chain):
    """A node that refuses some calldata, after it may have taken the transaction."""

    def __init__(self, refused: bytes, **options: Any) -> None:
        super().__init__(**options)
        self.refused, self.taken = refused, False

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_sendRawTransaction" and self.refused.hex() in params[0]:
            if self.taken:
                self.taken = False
                super().call(method, *params)
                raise RpcError(-32603, "request timed out")
            raise RpcError(-32000, "exceeds block gas limit")
        return super().call(method, *params)


def test_step__refused_for_good__failed_at_once_and_the_nonce_is_free(
    outbox: MemoryOutbox,
) -> None:
    node = Strict(b"first call")
    sender = sender_on(node, outbox)
    sender.submit("deliver", [A], call(b"first call"))
    (ended,) = sender.step()
    assert (ended.state, "exceeds block gas limit" in ended.error) == (EntryState.FAILED, True)
    sender.submit("deliver", [B], call(b"second call"))
    sender.settle(10)
    assert [t.data for t, _ in node.transactions] == [b"second call"]


def test_step__many_intents__reach_the_node_one_by_one_in_the_order_of_nonces(
    outbox: MemoryOutbox,
) -> None:
    """Anvil serves a batch's calls at once, and left transactions of one account unmined."""

    class Node(Chain):
        def batch(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
            assert all(call[0] != "eth_sendRawTransaction" for call in calls)
            return super().batch(calls)

    node = Node()
    sender = sender_on(node, outbox)
    for n in range(5):
        sender.submit("request", [RequestId(bytes([n]) * 32)], call(b"ask " + bytes([n])))
    assert sender.step() == []
    assert node.succeeded == [b"ask " + bytes([n]) for n in range(5)]
    assert len(sender.step()) == 5


def test_step__refused_for_good_below_others__an_empty_form_takes_its_nonce(
    outbox: MemoryOutbox,
) -> None:
    node = Strict(b"call one")
    sender = sender_on(node, outbox)
    sender.submit("deliver", [A], call(b"call one"))
    sender.submit("deliver", [B], call(b"call two"))
    sender.settle(10)
    assert states(outbox) == [EntryState.FAILED, EntryState.MINED]
    assert [t.data for t, _ in node.transactions] == [b"", b"call two"]


def test_step__taken_in_spite_of_an_error_and_then_refused__the_chain_decides(
    outbox: MemoryOutbox,
) -> None:
    node, clock = Strict(b"call", automine=False), Clock()
    node.taken = True
    sender = sender_on(node, outbox, clock)
    sender.submit("deliver", [A], call(b"call"))
    sender.step()
    waiting = dict(node.mempool)
    node.forget()
    sender.step()  # sent again: refused for good, so it is to be cancelled
    assert states(outbox) == [EntryState.CANCELLING]
    node.mempool = waiting  # another node mines what it took
    node.mine()
    (ended,) = sender.step()
    assert (ended.state, node.succeeded) == (EntryState.MINED, [b"call"])


# ── Order and price ─────────────────────────────────────────────────────────────────────────────
def test_step__several_intents__sent_in_order_of_their_ids(outbox: MemoryOutbox) -> None:
    chain = Chain(automine=False)
    sender = sender_on(chain, outbox)
    for data in (b"1", b"2", b"3"):
        sender.submit(data.decode(), [A], call(data))
    sender.step()
    assert [e.nonce for e in outbox.live()] == [0, 1, 2]
    chain.mine()
    assert len(sender.step()) == 3
    assert chain.succeeded == [b"1", b"2", b"3"]


def test_step__stuck__both_fees_up_by_an_eighth_under_the_same_nonce(outbox: MemoryOutbox) -> None:
    chain, clock = Chain(automine=False), Clock()
    sender = sender_on(chain, outbox, clock, stuck_after=30)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    (before,) = outbox.live()
    clock.now += 29
    sender.step()
    assert outbox.live() == [before]
    clock.now += 1
    sender.step()
    (after,) = outbox.live()
    assert after.nonce == before.nonce
    assert after.max_fee * 1000 >= before.max_fee * 1125
    assert after.priority_fee * 1000 >= before.priority_fee * 1125
    assert after.raws[:-1] == before.raws
    chain.mine()
    sender.step()
    assert chain.succeeded == [b"1"]


def test_step__base_fee_rose__replacement_pays_it(outbox: MemoryOutbox) -> None:
    chain, clock = Chain(automine=False), Clock()
    sender = sender_on(chain, outbox, clock)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    chain.base_fee *= 100
    chain.mine()
    assert chain.succeeded == []
    clock.now += 31
    sender.step()
    chain.mine()
    assert chain.succeeded == [b"1"]


def test_step__fee_ceiling_reached__never_above_it(outbox: MemoryOutbox) -> None:
    chain, clock = Chain(automine=False), Clock()
    sender = sender_on(chain, outbox, clock, fee_ceiling=3 * 10**9)
    sender.submit("deliver", [A], call(b"1"))
    for _ in range(30):
        sender.step()
        clock.now += 31
    (entry,) = outbox.live()
    assert 2 * 10**9 < entry.max_fee <= 3 * 10**9


def test_step__an_older_form_is_mined__found(outbox: MemoryOutbox) -> None:
    chain, clock = Chain(automine=False), Clock()
    sender = sender_on(chain, outbox, clock)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    original = dict(chain.mempool)
    clock.now += 31
    sender.step()
    chain.mempool = original  # another node mined what it had
    chain.mine()
    (ended,) = sender.step()
    assert ended.state is EntryState.MINED
    assert chain.succeeded == [b"1"]


# ── What others do ──────────────────────────────────────────────────────────────────────────────
def foreign(nonce: int, max_fee: int = 10**11) -> str:
    fees = Fees(max_fee, max_fee // 2)
    return "0x" + sign(KEY, 31337, nonce, MARKET, b"foreign", 0, 50_000, fees).hex()


def test_step__nonce_used_by_another_transaction__sent_again_under_the_next(
    outbox: MemoryOutbox,
) -> None:
    chain = Chain(automine=False)
    sender = sender_on(chain, outbox)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    chain.call("eth_sendRawTransaction", foreign(0))
    chain.mine()
    sender.step()
    sender.step()
    chain.mine()
    (ended,) = sender.step()
    assert (ended.state, ended.nonce) == (EntryState.MINED, 1)
    assert chain.succeeded == [b"foreign", b"1"]


def test_step__foreign_transaction_waits__left_alone(outbox: MemoryOutbox) -> None:
    chain = Chain(automine=False)
    chain.call("eth_sendRawTransaction", foreign(0))
    sender = sender_on(chain, outbox)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    chain.mine()
    assert chain.succeeded == [b"foreign", b"1"]


def test_step__node_lost_its_mempool__the_same_bytes_are_sent_again(outbox: MemoryOutbox) -> None:
    chain = Chain(automine=False)
    sender = sender_on(chain, outbox)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    before = dict(chain.mempool)
    chain.forget()
    sender.step()
    assert chain.mempool == before


# ── What nodes do ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("confirmations", "late"), [(0, 1), (0, 8), (1, 1), (3, 2), (3, 5)])
def test_step__receipts_come_later_than_nonces__sent_once(
    outbox: MemoryOutbox, confirmations: int, late: int
) -> None:
    node = FaultyNodes(MemoryNode(), late=late)  # the contract would take it again and again
    sender = sender_on(node, outbox, confirmations=confirmations)
    sender.submit("request", [A], call(b"ask"))
    ended: list[OutboxEntry] = []
    for _ in range(confirmations + late + 2):
        ended += sender.step()
        node.chain.mine()
    assert [t.data for t, _ in node.chain.transactions] == [b"ask"]
    assert [e.state for e in ended] == [EntryState.MINED]


@pytest.mark.parametrize("error", OPEN, ids=str)
@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
def test_step__first_broadcast_answered_with_an_unknown_error__open_until_the_chain_says(
    outbox: MemoryOutbox, error: Exception, taken: bool
) -> None:
    node = FaultyNodes(MemoryNode(automine=False), broadcasts=[(error, taken)])
    sender = sender_on(node, outbox)
    sender.submit("request", [A], call(b"ask"))
    with contextlib.suppress(TransientError):
        assert sender.step() == []
    assert states(outbox) == [EntryState.SENT]
    assert not sender.withdraw(outbox.entries[1])
    sender.step()
    node.chain.mine()
    (ended,) = sender.step()
    assert ended.state is EntryState.MINED
    assert [t.data for t, _ in node.chain.transactions] == [b"ask"]


def test_step__nonce_lost_to_a_stranger__estimated_again_before_it_is_signed_again(
    outbox: MemoryOutbox,
) -> None:
    chain = Chain(automine=False)
    sender = sender_on(chain, outbox)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    chain.call("eth_sendRawTransaction", foreign(0))
    chain.mine()
    chain.refusing[b"1"] = REFUSAL
    ended = sender.step() + sender.step()
    assert [(e.state, e.permanent) for e in ended] == [(EntryState.FAILED, True)]
    assert chain.succeeded == [b"foreign"]


def test_step__old_estimate_of_an_intent__made_again(chain: Chain, tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    outbox, clock = SqlOutbox(store), Clock()
    with store.begin() as tx:
        add_in(tx, "request", [A], call(b"1"), gas=50_000, estimated_at=clock.now)
    chain.refusing[b"1"] = REFUSAL  # during an outage
    clock.now += 60
    (ended,) = sender_on(chain, outbox, clock).step()
    assert (ended.state, ended.raws) == (EntryState.FAILED, ())
    store.close()


# ── Reorgs ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("keep", [True, False])
def test_step__reorg_before_it_is_deep_enough__mined_once_in_the_end(
    outbox: MemoryOutbox, keep: bool
) -> None:
    chain = Chain()
    sender = sender_on(chain, outbox, confirmations=3)
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    chain.mine(2)
    assert sender.step() == []  # mined, but not deep enough
    chain.reorg(3, keep=keep)
    assert chain.succeeded == []
    sender.step()
    chain.mine(4)
    (ended,) = sender.settle(10)
    assert ended.state is EntryState.MINED
    assert chain.succeeded == [b"1"]


def test_step__reorg_drops_an_ended_transaction_below__the_same_bytes_are_sent_again(
    outbox: MemoryOutbox,
) -> None:
    chain, clock = Chain(automine=False), Clock()
    sender = sender_on(chain, outbox, clock)
    sender.submit("claim", [A], call(b"1"))
    sender.step()
    chain.mine()
    sender.step()
    sender.submit("deliver", [A], call(b"2"))
    sender.step()
    waiting = dict(chain.mempool)
    chain.reorg(1)
    chain.mempool = waiting
    for _ in range(3):
        clock.now += 31
        sender.step()
        chain.mine()
    assert chain.succeeded == [b"1", b"2"]


def test_step__a_strangers_transaction_below_was_dropped__an_empty_one_takes_its_nonce(
    outbox: MemoryOutbox,
) -> None:
    chain, clock = Chain(automine=False), Clock()
    sender = sender_on(chain, outbox, clock)
    chain.call("eth_sendRawTransaction", foreign(0))
    sender.submit("deliver", [A], call(b"1"))
    sender.step()
    waiting = dict(chain.mempool)
    chain.mempool = {place: t for place, t in waiting.items() if place[1] == 1}
    sender.step()
    assert len(outbox.live()) == 1  # it is given time to come back
    ended: list[OutboxEntry] = []
    for _ in range(3):
        clock.now += 31
        ended += sender.step()
        chain.mine()
    ended += sender.step()
    assert [(e.kind, e.state) for e in ended] == [("deliver", EntryState.MINED)]
    assert [t.data for t, _ in chain.transactions] == [b"", b"1"]


# ── Crashes ─────────────────────────────────────────────────────────────────────────────────────
LIFE = (("claim", (A,), b"1"), ("deliver", (A, B), b"2"), ("deliver", (C,), b"3"))


def life(node: Any, outbox: Any, chain: Chain, clock: Clock) -> None:
    """Claim, deliver in a batch, get stuck, settle: every kind of line in sender.py is run."""
    sender = sender_on(node, outbox, clock)
    for kind, ids, data in LIFE:
        with contextlib.suppress(AlreadyPending):
            sender.submit(kind, ids, call(data))
    sender.step()
    clock.now += 31
    sender.step()
    chain.forget()
    sender.step()
    chain.mine()
    sender.step()


def steps_of_a_life() -> int:
    steps = iter(range(10**6))
    chain, outbox = Chain(automine=False), MemoryOutbox()
    life(Crashing(chain, steps, -1, False), Crashing(outbox, steps, -1, False), chain, Clock())
    assert chain.succeeded == [b"1", b"2", b"3"]
    return next(steps)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(steps_of_a_life()))
def test_step__killed_at_any_line__restart_sends_each_exactly_once(
    crash_at: int, after: bool
) -> None:
    chain, outbox, clock = Chain(automine=False), MemoryOutbox(), Clock()
    steps = iter(range(10**6))
    with pytest.raises(Crash):
        life(
            Crashing(chain, steps, crash_at, after),
            Crashing(outbox, steps, crash_at, after),
            chain,
            clock,
        )
    served = {(e.kind, e.request_ids) for e in outbox.entries.values()}
    sender = sender_on(chain, outbox, clock)  # the next process: only the store is left
    for kind, ids, data in LIFE:
        if (kind, ids) not in served:
            sender.submit(kind, ids, call(data))
    for _ in range(5):
        sender.step()
        chain.mine()
    sender.step()
    assert sorted(chain.succeeded) == [b"1", b"2", b"3"]
    assert all(ok for _, ok in chain.transactions), "a transaction was sent twice"
    assert states(outbox) == [EntryState.MINED] * 3


def test_step__one_ends_and_then_the_node_fails__told_by_the_next_step(
    chain: Chain, outbox: MemoryOutbox
) -> None:
    class Flaky(Chain):
        down = True

        def call(self, method: str, *params: Any) -> Any:
            if self.down and method == "eth_sendRawTransaction":
                raise RpcUnavailable("gone")
            return super().call(method, *params)

    node = Flaky()
    node.refusing[b"1"] = REFUSAL
    sender = sender_on(node, outbox)
    sender.submit("deliver", [A], call(b"1"))
    sender.submit("deliver", [B], call(b"2"))
    with pytest.raises(RpcUnavailable):
        sender.step()
    node.down = False
    ended = sender.step() + sender.step()
    assert [(e.id, e.state) for e in ended] == [(1, EntryState.FAILED), (2, EntryState.MINED)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(4, steps_of_a_life(), 7))
def test_step__killed_with_the_real_store__goes_on_from_its_file(
    tmp_path: Path, crash_at: int, after: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    chain, clock, steps = Chain(automine=False), Clock(), iter(range(10**6))
    store = Store.open(url)
    with pytest.raises(Crash):
        life(
            Crashing(chain, steps, crash_at, after),
            Crashing(SqlOutbox(store), steps, crash_at, after),
            chain,
            clock,
        )
    store.close()
    outbox = SqlOutbox(Store.open(url))
    sender = sender_on(chain, outbox, clock)
    for kind, ids, data in LIFE:
        if not any(entry.kind == kind for entry in outbox.of(ids[0])):
            sender.submit(kind, ids, call(data))
    for _ in range(6):
        sender.step()
        chain.mine()
    assert sorted(chain.succeeded) == [b"1", b"2", b"3"]
    assert all(ok for _, ok in chain.transactions), "a transaction was sent twice"


@pytest.mark.parametrize("error", [RpcUnavailable("gone"), RpcError(-32603, "internal error")])
def test_step__node_fails_at_any_call__next_step_goes_on(error: Exception) -> None:
    class Flaky(Chain):
        down = 0

        def call(self, method: str, *params: Any) -> Any:
            if method == "eth_getTransactionCount" and self.down:
                self.down -= 1
                raise error
            return super().call(method, *params)

    node, outbox = Flaky(), MemoryOutbox()
    sender = sender_on(node, outbox)
    sender.submit("deliver", [A], call(b"1"))
    node.down = 2
    for _ in range(2):
        with pytest.raises((TransientError, RpcError)):
            sender.step()
    sender.settle(10)
    assert node.succeeded == [b"1"]


def test_put__two_live_entries_with_one_nonce__refused(outbox: MemoryOutbox) -> None:
    entries: list[OutboxEntry] = [outbox.add(kind, [A], call(b"1")) for kind in ("a", "b")]
    from dataclasses import replace

    outbox.put(replace(entries[0], nonce=4, state=EntryState.SENT))
    with pytest.raises(ValueError, match="nonce 4"):
        outbox.put(replace(entries[1], nonce=4, state=EntryState.SENT))
