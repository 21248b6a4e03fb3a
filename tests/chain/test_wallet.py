"""What a person's wallet says when a node fails: an error only when nothing is under way."""

import pytest
from eth_account import Account

from oracle.chain.contract import Call
from oracle.chain.memory import MemoryNode
from oracle.chain.rpc import RpcError, RpcUnavailable
from oracle.chain.transactions import FundsInsufficient, TransactionPending
from oracle.chain.wallet import Wallet
from oracle.types import Address, Wei
from tests.chain.faulty import OPEN, FaultyNodes

CALL = Call(Address("0x5FbDB2315678afecb367f032d93F642f64180aa3"), b"call", Wei(0))
POOR = RpcError(-32003, "insufficient funds for gas * price + value")


def wallet_on(nodes: FaultyNodes, timeout: float = 60) -> Wallet:
    return Wallet(nodes, Account.from_key(b"\x07" * 32), chain_id=31337, timeout=timeout)


def sent(nodes: FaultyNodes) -> list[bytes]:
    return [transaction.data for transaction, _ in nodes.chain.transactions]


@pytest.mark.parametrize("error", OPEN, ids=str)
@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
def test_send__unknown_error_of_the_broadcast__waits_for_the_chain(
    error: Exception, taken: bool
) -> None:
    nodes = FaultyNodes(MemoryNode(), broadcasts=[(error, taken)])
    assert wallet_on(nodes).send(CALL).succeeded
    assert sent(nodes) == [b"call"]


def test_send__unknown_error_and_no_block_in_time__pending_with_what_the_node_said() -> None:
    error = RpcError(-32603, "request timed out")
    nodes = FaultyNodes(MemoryNode(automine=False), broadcasts=[(error, True)])
    with pytest.raises(TransactionPending, match="request timed out"):
        wallet_on(nodes, timeout=0).send(CALL)


def test_send__cannot_pay_for_gas__nothing_is_left_to_be_sent_later() -> None:
    nodes = FaultyNodes(MemoryNode(), broadcasts=[(POOR, False)])
    wallet = wallet_on(nodes)
    with pytest.raises(FundsInsufficient):
        wallet.send(CALL)
    wallet.send(Call(CALL.to, b"another"))
    assert sent(nodes) == [b"another"]


def test_send__node_is_away__unavailable_and_nothing_is_left_to_be_sent_later() -> None:
    nodes = FaultyNodes(MemoryNode(), reads=[0])
    wallet = wallet_on(nodes)
    with pytest.raises(RpcUnavailable):
        wallet.send(CALL)
    wallet.send(Call(CALL.to, b"another"))
    assert sent(nodes) == [b"another"]
