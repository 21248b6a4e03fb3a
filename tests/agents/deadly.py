"""Death at a transaction: a node whose caller is killed before or after it takes the n-th."""

from typing import Any

from oracle.chain.rpc import Node
from oracle.services.network import Network
from tests.support.killing import Killed


class DeadlyNode:
    """A node that takes the n-th transaction, and whose caller dies before or after that."""

    def __init__(self, rpc: Node, at: int, after: bool) -> None:
        self._rpc, self._left, self._after = rpc, at, after

    def call(self, method: str, *params: Any) -> Any:
        if method != "eth_sendRawTransaction":
            return self._rpc.call(method, *params)
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        answer = self._rpc.call(method, *params)
        if self._left == 0:
            raise Killed
        return answer

    def batch(self, calls: Any) -> Any:
        return self._rpc.batch(calls)


def deadly(network: Network, at: int, *, after: bool) -> Network:
    """Return the network of a process that dies at its n-th transaction."""
    return Network.over(network.settings, DeadlyNode(network.rpc, at, after), network.ipfs)
