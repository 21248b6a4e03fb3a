"""Answers to demands: nodes and leaves of the vectors that this machine can compute."""

from collections.abc import Iterator

from oracle.chain.bindings.training_game import TrainingMover, TrainingPart
from oracle.chain.contract import Call
from oracle.services.network import Network
from oracle.services.training import challenging, vector_demands
from oracle.services.training.bases import TrainingBase
from oracle.services.training.rounds import TrainingRoundInfo
from oracle.types import Bytes32

_NAMES = {
    TrainingPart.UPDATE: "update", TrainingPart.SUMS: "sums", TrainingPart.STATE: "state",
}  # fmt: skip


def answers(
    network: Network, info: TrainingRoundInfo, base: TrainingBase, target: int
) -> Iterator[Call]:
    """Yield what answers the open demands about an update, or about the aggregate (target 0).

    The updates that count must lie in the round's folder (`aggregating.fetch_updates`). A vector
    whose root is not the true one is not answered: its nodes are known to nobody here.
    """
    now = network.history.now()
    for one in vector_demands.open_demands(network, info.round_id, info.attempt):
        game = one.game
        server = game.turn is TrainingMover.SERVER
        if one.target != target or not server or now >= game.deadline:
            continue
        place = (game.number, game.level, game.index)
        said = challenging.node(network, info, base, _NAMES[game.part], *place)
        if bytes.fromhex(said["root"]) != _root(info, game.part, game.number):
            continue
        path = [Bytes32(bytes.fromhex(node)) for node in said["path"]]
        told = (info.round_id, target, one.challenger)
        if "data" in said:
            yield network.training_game.reveal_leaf(*told, bytes.fromhex(said["data"]), path)
        else:
            nodes = [Bytes32(bytes.fromhex(node)) for node in said["nodes"]]
            yield network.training_game.open_node(*told, nodes, path)


def _root(info: TrainingRoundInfo, part: TrainingPart, number: int) -> Bytes32:
    if part is TrainingPart.UPDATE:
        return info.updates[number - 1].root
    return info.sums_root if part is TrainingPart.SUMS else info.next_root
