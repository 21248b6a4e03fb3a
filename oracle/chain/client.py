"""web3.py over our node port, and our contracts as web3.py knows them.

For programs that know web3. The only module that imports it, 0.7 s of CPU, so others import this
one when it is asked for (docs/adr/013-bindings-of-contracts-are-generated.md).
"""

from typing import Any
from weakref import WeakKeyDictionary, proxy

from web3 import Web3
from web3.contract import Contract
from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from oracle.chain import artifacts
from oracle.chain.rpc import Node
from oracle.types import Address

_clients: "WeakKeyDictionary[Node, Web3]" = WeakKeyDictionary()


class NodeProvider(BaseProvider):
    """web3's port to a node, which is ours: pooled, retried, its errors those of rpc.py."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = proxy(node)  # the node is the key under which this is remembered

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Return the answer; raises what the node port raises."""
        return {"jsonrpc": "2.0", "id": 0, "result": self._node.call(method, *params)}


def client(node: Node) -> Web3:
    """Return web3 on a node, the same each time."""
    found = _clients.get(node)
    if found is None:
        found = _clients[node] = Web3(NodeProvider(node))
    return found


def contract(node: Node, name: str, address: Address) -> Contract:
    """Return one of our contracts ("InferenceMarket") at an address."""
    made: Any = client(node).eth.contract
    found: Contract = made(address=address, abi=artifacts.load(name).abi)
    return found
