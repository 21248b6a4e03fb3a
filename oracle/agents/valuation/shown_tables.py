"""What the chain was shown of a published valuation: answers to demands, whoever demanded.

An event holds nodes or a leaf; a leaf's siblings are in the transaction that revealed it, where
they are read when it called the game itself.
"""

from dataclasses import dataclass

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from oracle.chain.arguments import TableNode
from oracle.chain.bindings.valuation_game import (
    TableDemanded,
    TableLeafRevealed,
    TableOpened,
    ValuationPublished,
)
from oracle.chain.codec import interface
from oracle.chain.rpc import hexbytes
from oracle.services.event_history import Happened, topic
from oracle.services.network import Network
from oracle.types import Address, Bytes32, ValuationPart
from oracle.valuation.shown_table import OpenedTable

_KINDS = (TableDemanded, TableOpened, TableLeafRevealed)


@dataclass(frozen=True, slots=True)
class Shown:
    """One answered demand: nodes, or a leaf's bytes with its siblings (none: unknown)."""

    node: TableNode
    nodes: tuple[Bytes32, ...] = ()
    data: bytes | None = None
    path: tuple[Bytes32, ...] = ()

    def tell(self, table: OpenedTable) -> None:
        """Add it to what is known of its table."""
        if self.data is None:
            table.show_nodes(self.node.level, self.node.index, self.nodes)
        else:
            table.show_leaf(self.node.index, self.data, self.path)


def read(network: Network, said: ValuationPublished) -> list[Shown]:
    """Return all that was shown of this valuation."""
    place = network.valuations.address
    open_: dict[Address, TableDemanded] = {}
    found = []
    for happened in network.history.read(place, _KINDS, topic(said.round_id)):
        event = happened.event
        if isinstance(event, TableDemanded):
            open_[event.challenger] = event
            continue
        assert isinstance(event, TableOpened | TableLeafRevealed)
        demanded = open_.pop(event.challenger, None)
        if demanded is None or demanded.attempt != said.attempt:
            continue
        node = TableNode(
            ValuationPart(demanded.part), demanded.number, demanded.level, demanded.index
        )
        if isinstance(event, TableOpened):
            found.append(Shown(node, nodes=event.nodes))
        else:
            path = _path(network, happened, node.level)
            found.append(Shown(node, data=event.data, path=path))
    return found


def _path(network: Network, happened: Happened, level: int) -> tuple[Bytes32, ...]:
    """Return the siblings that a revelation brought, () when it was no call of the game's own."""
    sent = network.rpc.call("eth_getTransactionByHash", "0x" + happened.tx_hash.hex())
    function = interface("ValuationGame")["revealLeaf"]
    given = hexbytes(sent["input"]) if sent else b""
    if given[:4] != function.selector or sent["to"].lower() != network.valuations.address.lower():
        return ()
    try:
        *_, path = decode(function.inputs, given[4:])
    except DecodingError:
        return ()
    return tuple(Bytes32(one) for one in path) if len(path) == level else ()
