"""web3.py over our node port: its codec and its client for calls, pinned to what a node answers.

The one place that imports web3, and others import this one at first use: the import costs 0.3 s
of CPU, which a command that asks no contract does not pay. web3's own contract objects look for
the right overload at every call, 1.2 ms each time; a generated function knows it
(docs/adr/013-bindings-of-contracts-are-generated.md).
"""

import functools
from typing import Any
from weakref import WeakKeyDictionary, proxy

from web3 import Web3
from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from oracle.chain.rpc import Node

_clients: "WeakKeyDictionary[Node, Web3]" = WeakKeyDictionary()


class NodeProvider(BaseProvider):
    """web3's port to a node, which is ours: pooled, retried, its errors those of rpc.py."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = proxy(node)  # the node is the key under which this is remembered

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Return the answer; raises what the node port raises."""
        return {"jsonrpc": "2.0", "id": 0, "result": self._node.call(method, *params)}


@functools.cache
def codec() -> Any:
    """Return web3's ABI codec: strict, so that 31 bytes are no bytes32."""
    return Web3(BaseProvider()).codec


def client(node: Node) -> Web3:
    """Return web3 on a node, the same each time, without middleware: callers bring whole calls."""
    found = _clients.get(node)
    if found is None:
        found = _clients[node] = Web3(NodeProvider(node), middleware=[])
    return found
