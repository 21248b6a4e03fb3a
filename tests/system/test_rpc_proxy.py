"""The balancer of the chaos run shows what two nodes of different height would."""

import pytest

from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.rpc import Rpc, RpcError
from tests.system.rpc_proxy import RpcProxy

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def nodes():
    """A chain of 10 blocks with a transaction in the newest, seen by two nodes in turn."""
    with Anvil() as anvil:
        anvil.rpc.call("anvil_mine", "0x9")
        account = dev_account(0).address
        sent = anvil.rpc.call("eth_sendTransaction", {"from": account, "to": account})
        proxy = RpcProxy(anvil.url)
        proxy.lag = 3
        with Rpc(proxy.url) as rpc:
            yield rpc, account, sent, anvil.rpc.call("eth_getBlockByNumber", "0xa", False)["hash"]
        proxy.close()


@pytest.mark.parametrize(
    ("call", "up_to_date", "behind"),
    [
        (lambda *_: ("eth_blockNumber",), "0xa", "0x7"),
        (lambda account, *_: ("eth_getTransactionCount", account, "pending"), "0x1", "0x0"),
        (lambda account, *_: ("eth_getTransactionCount", account, "0xa"), "0x1", RpcError),
        (lambda _, sent, __: ("eth_getTransactionReceipt", sent), dict, None),
        (lambda _, sent, __: ("eth_getTransactionByHash", sent), dict, None),
        (lambda *_: ("eth_getBlockByNumber", "0xa", False), dict, None),
        (lambda *_: ("eth_getBlockByNumber", "0x7", False), dict, dict),
        (lambda _, __, newest: ("eth_getBlockByHash", newest, False), dict, None),
        (lambda _, __, newest: ("eth_getLogs", {"blockHash": newest}), [], RpcError),
        (lambda *_: ("eth_getLogs", {"fromBlock": "0x8", "toBlock": "0xa"}), [], []),
        (lambda *_: ("eth_chainId",), "0x7a69", "0x7a69"),
    ],
)
def test_rpc_proxy__second_node_lags__answers_in_turn_as_each_would(
    nodes, call, up_to_date, behind
):
    rpc, *known = nodes
    seen = [rpc.batch([call(*known), ("eth_chainId",)])[0] for _ in range(2)]
    kinds = [type(one) if isinstance(one, dict | RpcError) else one for one in seen]
    assert sorted(map(str, kinds)) == sorted(map(str, (up_to_date, behind)))
