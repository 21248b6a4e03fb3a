"""Computes a published aggregate again, and convicts who published another.

```
 published ─▶ computed again ─▶ right
                 ├─ wrong coordinate ─▶ prove_sum | prove_state | prove_shown ─▶ convicted
                 ├─ update out of bounds ─▶ prove_clip
                 └─ not served ─▶ demand from the root down ─▶ its wrong leaf, or silence
```
Every step is read from the chain again, so the same call goes on after a crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from oracle.chain.bindings.training_game import SumLeaf, TrainingMover, TrainingPart, VectorLeaf
from oracle.chain.bindings.training_rounds import UpdateStatus
from oracle.chain.contract import Call
from oracle.chain.wallet import Wallet
from oracle.services.builders import Update
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.services.training import aggregating, bases, rounds, served_vectors, vector_demands
from oracle.services.training.bases import TrainingBase
from oracle.services.training.rounds import TrainingPhase, TrainingRoundInfo
from oracle.services.training.served_vectors import AggregateUnserved
from oracle.types import Address, Bytes32

_PARTS = {"sums": TrainingPart.SUMS, "state": TrainingPart.STATE, "update": TrainingPart.UPDATE}


class AggregateStand(Enum):
    """How a published aggregate stands before a challenger."""

    NONE = "no aggregate can be challenged"
    OURS = "this wallet's own"
    RIGHT = "right: computed again, it is the same"
    WRONG = "WRONG: its conviction is sent"
    UNSERVED = "not served: its aggregator has to show it on chain"
    CONVICTED = "its aggregator is convicted"


@dataclass(frozen=True, slots=True)
class VectorFault:
    """The first coordinate of an aggregate that is wrong.

    Attributes:
        part: running sum `number`, or the next state where `number` is 0.
    """

    part: str
    number: int
    coordinate: int


@dataclass(frozen=True, slots=True)
class ChallengeReport:
    """What a challenger found, and what it sent for it.

    Attributes:
        unclipped: numbers of updates that are out of bounds; each takes its participant's bond.
    """

    round_id: int
    attempt: int
    stand: AggregateStand
    note: str
    fault: VectorFault | None
    unclipped: tuple[int, ...]
    transactions: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class ChallengeStep:
    """What is to be sent next, with what was found."""

    stand: AggregateStand
    note: str
    calls: tuple[Call, ...]
    fault: VectorFault | None = None
    unclipped: tuple[int, ...] = ()


def challenge(
    network: Network,
    wallet: Wallet,
    round_id: int,
    update: Update = lambda _done, _total: None,
) -> ChallengeReport:
    """Look at a round's aggregate once, and send what convicts it or has it shown.

    Raises:
        NotFound: no such round. BaseMismatch: it begins with another state than its version has.
        ContractError: the contract refused.
    """
    info = rounds.show(network, round_id)
    step = look(network, info, wallet.address, update)
    sent = [send(wallet, call)[0] for call in step.calls]
    stand = step.stand
    if sent and rounds.show(network, round_id).attempt == info.attempt:
        after = network.training.round_of(round_id)
        if after.aggregator != info.aggregator:
            stand = AggregateStand.CONVICTED
    return ChallengeReport(
        round_id, info.attempt, stand, step.note, step.fault, step.unclipped, tuple(sent)
    )


def look(
    network: Network, info: TrainingRoundInfo, account: Address, update: Update
) -> ChallengeStep:
    """Compute an aggregate again and return what is to be sent about it; sends nothing.

    Raises:
        BaseMismatch, CidUnresolved: the base cannot be had. Errors of the worker.
    """
    if info.phase is not TrainingPhase.CHALLENGE:
        return ChallengeStep(AggregateStand.NONE, info.phase.value, ())
    if info.aggregator == account:
        return ChallengeStep(AggregateStand.OURS, "", ())
    round_id = info.round_id
    game = network.training_game.demand_of(round_id, info.attempt, 0, account)
    if game.turn is TrainingMover.SERVER:
        if network.history.now() < game.deadline:
            return ChallengeStep(
                AggregateStand.UNSERVED, f"its aggregator's turn until {game.deadline}", ()
            )
        call = network.training_game.convict_silent(round_id, 0, account)
        return ChallengeStep(AggregateStand.WRONG, "silent", (call,))
    base = bases.of_round(network, info.terms, update)
    missing = aggregating.fetch_updates(network, info, base, account)
    if missing:
        number = missing[0]
        call = vector_demands.demand(network, round_id, TrainingPart.UPDATE, number)
        return ChallengeStep(AggregateStand.UNSERVED, f"nobody serves update {number}", (call,))
    told = _job(network, info, base, account)
    said = bases.run(bases.round_folder(network, round_id) / "check", "fault", told, update)
    return _convicting(network, info, base, said)


def _convicting(
    network: Network, info: TrainingRoundInfo, base: TrainingBase, said: Mapping[str, Any]
) -> ChallengeStep:
    """Return what follows from what the worker said."""
    calls = []
    clips = [
        one
        for one in said["unclipped"]
        if info.updates[one["number"] - 1].status is UpdateStatus.REVEALED
    ]
    for one in clips:
        told = (info.round_id, one["number"], one["coordinate"], _leaf(one["update"]))
        calls.append(network.training_game.prove_clip(*told))
    numbers = tuple(one["number"] for one in clips)
    if said["fault"]:
        call, fault = _proof(network, info.round_id, said["fault"])
        return ChallengeStep(AggregateStand.WRONG, call.label, (*calls, call), fault, numbers)
    if said["missing"]:
        asked = _next_node(network, info, base, said["missing"])
        if asked is None:
            return ChallengeStep(
                AggregateStand.UNSERVED,
                "all that was demanded is right",
                tuple(calls),
                None,
                numbers,
            )
        return ChallengeStep(AggregateStand.UNSERVED, asked.label, (*calls, asked), None, numbers)
    return ChallengeStep(AggregateStand.RIGHT, "", tuple(calls), None, numbers)


def _proof(network: Network, round_id: int, found: Mapping[str, Any]) -> tuple[Call, VectorFault]:
    """Return the call that proves a fault, as the worker describes it."""
    game, at = network.training_game, int(found["coordinate"])
    if found["kind"] == "SumFault":
        number, sums = int(found["number"]), found["sum"]
        leaf = SumLeaf(
            bytes.fromhex(sums["data"]), _hashes(sums["path"]),
            bytes.fromhex(sums["left"]), _hashes(sums["left_path"]),
        )  # fmt: skip
        call = game.prove_sum(round_id, number, at, _leaf(found["update"]), leaf)
        return call, VectorFault("sums", number, at)
    base, following = _leaf(found["base"]), _leaf(found["next"])
    if found["kind"] == "StateFault":
        call = game.prove_state(round_id, at, base, _leaf(found["sum"]), following)
    else:
        leaves = [_leaf(one) for one in found["updates"]]
        call = game.prove_shown(round_id, at, base, following, leaves)
    return call, VectorFault("state", 0, at)


def _next_node(
    network: Network, info: TrainingRoundInfo, base: TrainingBase, part: str
) -> Call | None:
    """Return what demands the first node that differs from ours, as deep as it is shown."""
    level = index = 0
    known = {
        (one.level, one.index): one
        for one in vector_demands.shown(network, info.round_id, info.attempt)
        if one.part is _PARTS[part]
    }
    while (one := known.get((level, index))) is not None:
        if one.data is not None:
            return None  # the leaf is known, and the worker found nothing wrong in it
        ours = node(network, info, base, part, 0, level, index)["nodes"]
        theirs = [hash_.hex() for hash_ in one.nodes]
        wrong = next(
            (k for k, pair in enumerate(zip(ours, theirs, strict=True)) if len(set(pair)) > 1), None
        )
        if wrong is None:
            return None
        levels = (len(theirs) - 1).bit_length()
        level, index = level + levels, (index << levels) + wrong
    return vector_demands.demand(network, info.round_id, _PARTS[part], 0, level, index)


def node(  # noqa: PLR0917 -- a node: of which vector, and where in it
    network: Network,
    info: TrainingRoundInfo,
    base: TrainingBase,
    part: str,
    number: int,
    level: int,
    index: int,
) -> dict[str, Any]:
    """Return a node of a true vector of the round with its path, as the worker computes it."""
    told = {
        **aggregating.job(network, info, base),
        "part": part, "number": number, "level": level, "index": index,
    }  # fmt: skip
    folder = bases.round_folder(network, info.round_id) / "nodes"
    return bases.run(folder, "nodes", told, lambda _done, _total: None)


def _job(
    network: Network, info: TrainingRoundInfo, base: TrainingBase, account: Address
) -> dict[str, Any]:
    """Return what the worker compares: the round, and what its aggregator serves or has shown."""
    del account
    folder = bases.round_folder(network, info.round_id)
    state = folder / f"state-{info.next_root.hex()}.safetensors"
    sums = folder / f"sums-{info.sums_root.hex()}.bin"
    return {
        **aggregating.job(network, info, base),
        "sums_root": info.sums_root.hex(),
        "state_root": info.next_root.hex(),
        "state": _served(state, lambda: served_vectors.fetch_state(
            network.ipfs, info, base.state_bytes, state
        )),
        "sums": _served(sums, lambda: served_vectors.fetch_sums(network.ipfs, info, sums)),
        "shown": [
            {
                "part": one.part.name.lower(), "index": one.index, "data": one.data.hex(),
                "path": [hash_.hex() for hash_ in one.path],
            }
            for one in vector_demands.shown(network, info.round_id, info.attempt)
            if one.data is not None and one.path and one.part is not TrainingPart.UPDATE
        ],
    }  # fmt: skip


def _served(path: Path, fetch: Any) -> str | None:
    try:
        fetch()
    except AggregateUnserved:
        return None
    return str(path)


def _leaf(opening: Mapping[str, Any]) -> VectorLeaf:
    return VectorLeaf(bytes.fromhex(opening["data"]), _hashes(opening["path"]))


def _hashes(given: list[str]) -> tuple[Bytes32, ...]:
    return tuple(Bytes32(bytes.fromhex(one)) for one in given)
