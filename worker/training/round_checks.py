"""What a challenger computes: whether an aggregate is right, its first fault, nodes of trees."""

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from oracle.training.aggregation import Aggregation, AggregationRule, RunningSums
from oracle.training.faults import (
    AggregateFault,
    ClipFault,
    Evidence,
    find_fault,
    find_unclipped,
)
from oracle.training.vectors import STATE, SUMS, Integers, Opening, Vector, VectorTree
from oracle.types import Bytes32
from worker.training import hashing
from worker.training.round_files import Job, vectors
from worker.training.rules import next_state
from worker.training.vector_files import VectorFile

OPENED_LEVELS = 6  # that an answer to a demand shows; TrainingGame.sol


class ShownTree:
    """The true tree of a vector, but for one leaf that the aggregator showed on chain.

    Enough to prove that leaf: all leaves before it are the true ones.
    """

    def __init__(self, truth: VectorTree, shown: Mapping[str, Any]) -> None:
        self._truth, self._index = truth, int(shown["index"])
        path = tuple(Bytes32(bytes.fromhex(one)) for one in shown["path"])
        self._leaf = Opening(bytes.fromhex(shown["data"]), path)
        self.form, self.depth = truth.form, truth.depth
        self.vector = Patched(
            truth.vector, self._index * truth.form.per_leaf, truth.form.decode(self._leaf.data)
        )

    def fits(self, root: bytes) -> bool:
        """Return whether the leaf hangs from a root, and is not the true one."""
        true = self._truth.leaf(self._index)
        return self._leaf.root(self._index) == root and self._leaf.data != true

    def open(self, coordinate: int) -> Opening:
        """Return the leaf that holds a coordinate."""
        if coordinate // self.form.per_leaf == self._index:
            return self._leaf
        return self._truth.open(coordinate)

    def leaf(self, index: int) -> bytes:
        """Return the logical bytes of a leaf before the shown one."""
        return self._truth.leaf(index)

    def path(self, level: int, index: int) -> tuple[Bytes32, ...]:
        """Return siblings; those that lie before the shown leaf are the published ones."""
        return self._truth.path(level, index)


class Patched:
    """A vector with some coordinates in place of others."""

    def __init__(self, vector: Vector, start: int, values: Integers) -> None:
        self._vector, self._start, self._values = vector, start, values

    def __len__(self) -> int:
        """Return how many coordinates there are."""
        return len(self._vector)

    def __getitem__(self, part: slice, /) -> Integers:
        """Return some of them."""
        start, stop, _ = part.indices(len(self._vector))
        found = np.array(self._vector[start:stop], self._values.dtype)
        first, last = max(start, self._start), min(stop, self._start + len(self._values))
        if first < last:
            found[first - start : last - start] = self._values[
                first - self._start : last - self._start
            ]
        return found


def fault(job: Job, folder: Path) -> dict[str, Any]:
    """Compute an aggregate again and compare.

    Args:
        job: what `round_files.aggregate` takes, and `sums_root`, `state_root` as published; `sums`
            and `state`: files that the aggregator serves, or null; `shown`: leaves of either that
            were shown on chain.

    Returns:
        `fault`: the first one of the aggregate, or null; `unclipped`: of updates, with the first
        coordinate that is out of bounds; `missing`: `sums` or `state`, when its root is not the
        true one and no file with that root is at hand: then there is no `fault`.
    """
    del folder  # nothing is written
    with ExitStack() as opened:
        told, start, updates = vectors(job, opened)
        trees = [_tree(update, STATE) for update in updates]
        unclipped = [
            found
            for number, (path, tree) in enumerate(zip(job["updates"], trees, strict=True), 1)
            if path and (found := find_unclipped(told, tree, number)) is not None
        ]
        said = {"unclipped": [_plain(one) for one in unclipped], "fault": None, "missing": None}
        sums = None
        if told.rule == AggregationRule.MEAN:
            sums = _published(job, "sums", RunningSums(told, updates), opened)
            if sums is None:
                return {**said, "missing": "sums"}
        state = _published(job, "state", next_state(told, start, updates), opened)
        if state is None:
            # A state that follows from wrong sums is proven by the sums, which are at hand
            truth = _tree(next_state(told, start, updates), STATE)
            evidence = Evidence(_tree(start, STATE), trees, sums, truth)
            wrong = find_fault(told, evidence)
            return said | ({"fault": _plain(wrong)} if wrong else {"missing": "state"})
        wrong = find_fault(told, Evidence(_tree(start, STATE), trees, sums, state))
        return said | {"fault": _plain(wrong) if wrong else None}


def nodes(job: Job, folder: Path) -> dict[str, Any]:
    """Open a node of a vector, as a demand asks for it.

    Args:
        job: `part`: update, sums or state; `number` of the update, from 1; `level`, `index`; and
            the files that `round_files.aggregate` takes.

    Returns:
        `root` and `path`, with `nodes` below the node, or with the `data` of a leaf.
    """
    del folder
    with ExitStack() as opened:
        told, start, updates = vectors(job, opened)
        tree = _asked(job, told, start, updates)
        level, index = int(job["level"]), int(job["index"])
        said: dict[str, Any] = {
            "root": tree.root.hex(), "path": [one.hex() for one in tree.path(level, index)],
        }  # fmt: skip
        if level == tree.depth:
            return said | {"data": tree.leaf(index).hex()}
        levels = min(OPENED_LEVELS, tree.depth - level)
        below = (tree.node(level + levels, (index << levels) + at) for at in range(1 << levels))
        return said | {"nodes": [one.hex() for one in below]}


def _asked(job: Job, told: Aggregation, start: VectorFile, updates: list[Vector]) -> VectorTree:
    if job["part"] == "update":
        return _tree(updates[int(job["number"]) - 1], STATE)
    if job["part"] == "sums":
        return _tree(RunningSums(told, updates), SUMS)
    return _tree(next_state(told, start, updates), STATE)


def _published(job: Job, part: str, truth: Vector, opened: ExitStack) -> Any:
    """Return the tree of what was published: the true one, or that of the file; else None."""
    form = SUMS if part == "sums" else STATE
    wanted = bytes.fromhex(job[f"{part}_root"])
    tree = _tree(truth, form)
    if tree.root == wanted:
        return tree
    for one in job.get("shown", ()):
        found = ShownTree(tree, one) if one["part"] == part else None
        if found is not None and found.fits(wanted):
            return found
    if not job.get(part):
        return None
    path = Path(job[part])
    served: Vector
    if part == "sums":
        if path.stat().st_size != 8 * len(truth):
            return None
        served = np.memmap(path, "<i8", "r")
    else:
        served = opened.enter_context(VectorFile(path))
    if len(served) != len(truth):
        return None
    tree = _tree(served, form)
    return tree if tree.root == wanted else None


def _tree(vector: Vector, form: Any) -> VectorTree:
    return VectorTree(vector, form, hashing=hashing.fastest())


def _plain(found: AggregateFault | ClipFault) -> dict[str, Any]:
    """Return a fault in JSON: bytes as hex, and its class as `kind`."""
    return {"kind": type(found).__name__, **_hexed(dataclasses.asdict(found))}


def _hexed(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _hexed(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_hexed(one) for one in value]
    return int(value) if isinstance(value, int | np.integer) else value
