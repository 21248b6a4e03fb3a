"""What an aggregator computes and keeps in files: the next state and the running sums.

A job names files and numbers in JSON; hashes are hex without 0x. Updates that do not count have no
file (null): they are zeros here, and of weight 0.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracle.private_files import make_file
from oracle.training.aggregation import Aggregation, AggregationRule, RunningSums
from oracle.training.vectors import Vector, in_batches
from oracle.types import Bytes32
from worker.training import aggregator
from worker.training.vector_files import VectorFile

Job = Mapping[str, Any]
STATE_FILE, SUMS_FILE = "state.safetensors", "sums.bin"
AT_ONCE = 1 << 20  # running sums that are written together: 8 MiB


class Zeros:
    """A vector that stands for an update which does not count."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        """Return P."""
        return self._length

    def __getitem__(self, part: slice, /) -> NDArray[np.int16]:
        """Return zeros."""
        start, stop, _ = part.indices(self._length)
        return np.zeros(max(stop - start, 0), np.int16)


def aggregate(job: Job, folder: Path) -> dict[str, Any]:
    """Hold updates to what was revealed; write the next state and the running sums.

    Args:
        job: `base`; `updates`, files; `roots`; `weights`, `clip`, `rule`, `trim`; `most_sums`:
            bytes of running sums, beyond which they are not written.

    Raises:
        UpdateMismatch: a file is not what was revealed.
    """
    with ExitStack() as opened:
        told, start, updates = vectors(job, opened)
        revealed = [
            Bytes32(bytes.fromhex(root)) if path else _zeros_root(len(start))
            for root, path in zip(job["roots"], job["updates"], strict=True)
        ]
        found = aggregator.aggregate_files(
            told, start, updates, revealed, path=folder / STATE_FILE, shapes=start.shapes
        )
        sums = RunningSums(told, updates)
        kept = told.rule == AggregationRule.MEAN and 8 * len(sums) <= int(job["most_sums"])
        if kept:
            _write_sums(folder / SUMS_FILE, sums)
    return {
        "sums_root": found.sums.hex(), "state_root": found.state.hex(),
        "state": str(folder / STATE_FILE), "sums": str(folder / SUMS_FILE) if kept else None,
    }  # fmt: skip


def vectors(job: Job, opened: ExitStack) -> tuple[Aggregation, VectorFile, list[Vector]]:
    """Return how a round aggregates, its base and its updates, which `opened` closes."""
    start = opened.enter_context(VectorFile(Path(job["base"])))
    updates: list[Vector] = [
        opened.enter_context(VectorFile(Path(path))) if path else Zeros(len(start))
        for path in job["updates"]
    ]
    told = Aggregation(
        len(start), int(job["clip"]), tuple(job["weights"]), AggregationRule(job["rule"]),
        int(job["trim"]),
    )  # fmt: skip
    return told, start, updates


def _zeros_root(length: int) -> Bytes32:
    return aggregator.update_roots([Zeros(length)])[0]


def _write_sums(path: Path, sums: RunningSums) -> None:
    """Write running sums: i64, little-endian."""
    partial = path.with_name(path.name + ".part")
    make_file(partial)
    with partial.open("r+b") as file:
        file.truncate()
        for starts in in_batches(range(0, len(sums), AT_ONCE)):
            for at in starts:
                file.write(sums[at : min(at + AT_ONCE, len(sums))].astype("<i8").tobytes())
    partial.replace(path)
