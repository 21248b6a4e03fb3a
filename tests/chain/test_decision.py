"""What is decided about a signed intent, without a chain: each rule, one by one."""

import pytest

from oracle.chain.decision import AT_ONCE, Action, Seen, decide, independent
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.chain.refusals import Fate, fate_of
from oracle.chain.rpc import RpcError
from oracle.chain.transactions import Receipt
from oracle.types import ZERO32, Address, Bytes32, RequestId, Wei

TO = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
SENT = OutboxEntry(
    1, "call", (), TO, b"", Wei(0), state=EntryState.SENT, nonce=3, raws=(b"a", b"b")
)
AGAIN = OutboxEntry(1, "call", (), TO, b"", Wei(0), raws=(b"a",))  # its nonce was lost
RECEIPT = Receipt(SENT.hashes[0], 5, ZERO32, True, 1, Wei(1), None, (), ())


@pytest.mark.parametrize(
    ("entry", "seen", "action"),
    [
        (SENT, Seen(receipt=RECEIPT), Action.SETTLE),
        (AGAIN, Seen(receipt=RECEIPT), Action.SETTLE),
        (AGAIN, Seen(age=1e9), Action.WAIT),
        (SENT, Seen(used=True, age=1e9), Action.WAIT),
        (SENT, Seen(used=True, user=SENT.hashes[0], age=1e9), Action.WAIT),
        (SENT, Seen(used=True, user=Bytes32(b"s" * 32)), Action.RELEASE),
        (SENT, Seen(mined=True, age=1e9), Action.WAIT),
        (SENT, Seen(known=True, age=30), Action.OUTBID),
        (SENT, Seen(known=True, age=29), Action.WAIT),
        (SENT, Seen(age=29), Action.BROADCAST),
    ],
)
def test_decide__what_is_seen__one_action(entry: OutboxEntry, seen: Seen, action: Action) -> None:
    assert decide(entry, seen, 30) is action


def _intent(number: int, data: bytes, *requests: int) -> OutboxEntry:
    ids = tuple(RequestId(bytes([one]) * 32) for one in requests)
    return OutboxEntry(number, "call", ids, TO, data, Wei(0))


@pytest.mark.parametrize(
    ("intents", "sizes"),
    [
        ([], []),
        ([_intent(1, b"give1", 1), _intent(2, b"give2", 2)], [2]),
        ([_intent(1, b"claim", 1), _intent(2, b"deliver", 1)], [1, 1]),
        ([_intent(1, b"give1", 1), _intent(2, b"give2", 1)], [1, 1]),
        ([_intent(1, b"give1"), _intent(2, b"give2")], [1, 1]),
        ([_intent(1, b"give1", 1), _intent(2, b"give2"), _intent(3, b"give3", 3)], [1, 1, 1]),
        ([_intent(n, b"give", n) for n in range(AT_ONCE + 1)], [AT_ONCE, 1]),
    ],
)
def test_independent__intents__together_where_none_needs_another(
    intents: list[OutboxEntry], sizes: list[int]
) -> None:
    groups = list(independent(intents))
    assert [len(group) for group in groups] == sizes
    assert [entry for group in groups for entry in group] == intents


@pytest.mark.parametrize(
    ("message", "fate"),
    [
        ("already known", Fate.KNOWN),  # geth, reth
        ("ALREADY_EXISTS: already known", Fate.KNOWN),  # erigon
        ("Known transaction", Fate.KNOWN),  # Besu
        ("AlreadyKnown", Fate.KNOWN),  # Nethermind
        ("Tx: [0x01] already Imported", Fate.KNOWN),  # Anvil
        ("replacement transaction underpriced", Fate.OCCUPIED),  # geth, reth, Besu
        ("INTERNAL_ERROR: could not replace existing tx", Fate.OCCUPIED),  # erigon
        ("Tx: [0x01] insufficient gas price to replace existing transaction", Fate.OCCUPIED),
        ("transaction underpriced: tip needed 1, tip permitted 0", Fate.UNDERPRICED),  # geth
        ("FeeTooLow, MaxFeePerGas too low", Fate.UNDERPRICED),  # Nethermind
        ("Gas price below configured minimum gas price", Fate.UNDERPRICED),  # Besu
        ("max fee per gas less than block base fee", Fate.UNDERPRICED),  # Anvil, reth
        ("insufficient funds for gas * price + value: balance 0", Fate.POOR),  # geth
        ("InsufficientFunds, Account balance: 0, cumulative cost: 9", Fate.POOR),  # Nethermind
        ("Upfront cost exceeds account balance", Fate.POOR),  # Besu
        ("exceeds block gas limit", Fate.REFUSED),  # geth, reth, erigon
        ("GasLimitExceeded, Gas limit: 1, gas limit of rejected tx: 2", Fate.REFUSED),  # Nethermind
        ("Intrinsic gas exceeds gas limit", Fate.REFUSED),  # Besu
        ("intrinsic gas too low", Fate.REFUSED),  # geth, Anvil
        ("tx fee (1.20 ether) exceeds the configured cap (1.00 ether)", Fate.REFUSED),  # geth
        ("nonce too low: next nonce 99, tx nonce 9", Fate.OPEN),
        ("OldNonce, Current nonce: 9, nonce of rejected tx: 8", Fate.OPEN),
        ("txpool is full", Fate.OPEN),
        ("request timed out", Fate.OPEN),
        ("internal error", Fate.OPEN),
        ("", Fate.OPEN),
    ],
)
def test_fate_of__wordings_of_nodes__open_unless_listed(message: str, fate: Fate) -> None:
    assert fate_of(RpcError(-32000, message)) is fate
