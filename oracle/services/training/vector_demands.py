"""Demands for nodes of a round's vectors: made, answered, ended when a turn is over.

```
 demand ─▶ open_node ─▶ demand … ─▶ reveal_leaf       silence ─▶ convict_silent | lapse_demand
```
A challenge is about an update (`target` its number) before anything is published, then about the
aggregate (`target` 0). Who demands a vector is told six levels of its tree at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from oracle.chain.bindings.training_game import (
    TrainingDemand,
    TrainingMover,
    TrainingPart,
    VectorDemanded,
    VectorLeafRevealed,
    VectorOpened,
)
from oracle.chain.codec import interface
from oracle.chain.contract import Call
from oracle.chain.revert import ContractError
from oracle.chain.rpc import hexbytes
from oracle.chain.wallet import Wallet
from oracle.services.event_history import Happened, topic
from oracle.services.network import Network
from oracle.types import Address, Bytes32, Wei

_BOND_MARGIN = 2  # the base fee may rise until a demand is mined


@dataclass(frozen=True, slots=True)
class ShownNode:
    """One answered demand: nodes, or a leaf's bytes with its siblings (none: unknown)."""

    part: TrainingPart
    number: int
    level: int
    index: int
    nodes: tuple[Bytes32, ...] = ()
    data: bytes | None = None
    path: tuple[Bytes32, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenDemand:
    """A challenge that waits for somebody."""

    challenger: Address
    attempt: int
    target: int
    game: TrainingDemand


def demand(  # noqa: PLR0917 -- a node: of which vector, and where in it
    network: Network, round_id: int, part: TrainingPart, number: int, level: int = 0, index: int = 0
) -> Call:
    """Return what demands a node of a vector, with the bond that an answer earns."""
    bond = Wei(_BOND_MARGIN * network.training_game.bond_needed())
    return network.training_game.demand(round_id, part, number, level, index, value=bond)


def open_demands(network: Network, round_id: int, attempt: int) -> tuple[OpenDemand, ...]:
    """Return the challenges of a round's attempt that have not ended, oldest first."""
    place = network.training_game.address
    events = [
        one.event
        for one in network.history.read(place, (VectorDemanded,), topic(round_id))
        if isinstance(one.event, VectorDemanded) and one.event.attempt == attempt
    ]
    keys = dict.fromkeys((e.challenger, target) for e in events for target in {0, e.number})
    found = (
        OpenDemand(who, attempt, target, _game(network, round_id, attempt, target, who))
        for who, target in keys
    )
    return tuple(one for one in found if one.game.turn is not TrainingMover.NONE)


def overdue(network: Network, round_id: int, attempt: int) -> Iterator[Call]:
    """Yield what ends challenges in which somebody let its turn pass; anyone may send it."""
    now = network.history.now()
    for one in open_demands(network, round_id, attempt):
        if now < one.game.deadline:
            continue
        told = (round_id, one.target, one.challenger)
        if one.game.turn is TrainingMover.SERVER:
            yield network.training_game.convict_silent(*told)
        else:
            yield network.training_game.lapse_demand(*told)


def release(network: Network, wallet: Wallet, round_id: int) -> Iterator[Call]:
    """Yield what gives an account's bonds back once another convicted whom it challenged."""
    place, me = network.training_game.address, topic(wallet.address)
    keys = dict.fromkeys(
        (one.event.attempt, target)
        for one in network.history.read(place, (VectorDemanded,), topic(round_id), me)
        if isinstance(one.event, VectorDemanded)
        for target in (0, one.event.number)
    )
    for attempt, target in keys:
        game = _game(network, round_id, attempt, target, wallet.address)
        call = network.training_game.release_bond(round_id, attempt, target, wallet.address)
        if game.turn is not TrainingMover.NONE and _accepted(wallet, call):
            yield call


def shown(network: Network, round_id: int, attempt: int) -> list[ShownNode]:
    """Return all that was shown of a published attempt, whoever demanded it; oldest first."""
    place = network.training_game.address
    kinds = (VectorDemanded, VectorOpened, VectorLeafRevealed)
    waiting: dict[Address, VectorDemanded] = {}
    found = []
    for happened in network.history.read(place, kinds, topic(round_id)):
        event = happened.event
        if isinstance(event, VectorDemanded):
            waiting[event.challenger] = event
            continue
        assert isinstance(event, VectorOpened | VectorLeafRevealed)
        asked = waiting.pop(event.challenger, None)
        if asked is None or asked.attempt != attempt:
            continue
        node = (TrainingPart(asked.part), asked.number, asked.level, asked.index)
        if isinstance(event, VectorOpened):
            found.append(ShownNode(*node, nodes=event.nodes))
        else:
            path = _path(network, happened, asked.level)
            found.append(ShownNode(*node, data=event.data, path=path))
    return found


def _game(
    network: Network, round_id: int, attempt: int, target: int, who: Address
) -> TrainingDemand:
    return network.training_game.demand_of(round_id, attempt, target, who)


def _accepted(wallet: Wallet, call: Call) -> bool:
    try:
        wallet.simulate(call)
    except ContractError:
        return False
    return True


def _path(network: Network, happened: Happened, level: int) -> tuple[Bytes32, ...]:
    """Return the siblings that a revelation brought, () when it was no call of the game's own."""
    sent = network.rpc.call("eth_getTransactionByHash", "0x" + happened.tx_hash.hex())
    function = interface("TrainingGame")["revealLeaf"]
    given = hexbytes(sent["input"]) if sent else b""
    to = (sent or {}).get("to") or ""
    if given[:4] != function.selector or to.lower() != network.training_game.address.lower():
        return ()
    try:
        *_, path = decode(function.inputs, given[4:])
    except DecodingError:
        return ()
    return tuple(Bytes32(one) for one in path) if len(path) == level else ()
