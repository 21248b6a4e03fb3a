"""What an aggregator computes: updates held to their reveals, running sums, the next state.

Files are read and written a block at a time by as many threads as there are cores; memory holds
blocks, whatever the number of clients and of parameters.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracle.errors import DigestMismatch
from oracle.training.aggregation import Aggregated, Aggregation, RunningSums, aggregate, sums_root
from oracle.training.vectors import STATE, Vector, VectorTree
from oracle.types import Bytes32
from worker.training import hashing
from worker.training.vector_files import Shapes, written


class UpdateMismatch(DigestMismatch):
    """A client's file is not the update that it revealed.

    Attributes:
        client: its place in the order of reveals, from 0.
    """

    def __init__(self, client: int, found: Bytes32, revealed: Bytes32) -> None:
        super().__init__(
            f"the update of client {client + 1} has root 0x{found.hex()}, "
            f"revealed was 0x{revealed.hex()}",
            hint="fetch it again; if it stays, the client does not serve what it revealed",
        )
        self.client = client


@dataclass(frozen=True, slots=True)
class AggregatedRoots:
    """What an aggregator publishes.

    Attributes:
        sums: root of the running sums; zero where the rule has none.
        state: root of the next state.
        blocks: roots of blocks, from which trees open leaves.
    """

    sums: Bytes32
    state: Bytes32
    blocks: Aggregated


def update_roots(updates: Sequence[Vector], threads: int | None = None) -> list[Bytes32]:
    """Return the root of each update, as its participant commits to it."""
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        fast = hashing.fastest()
        return [VectorTree(u, STATE, map=pool.map, hashing=fast).root for u in updates]


def aggregate_files(
    aggregation: Aggregation,
    base: Vector,
    updates: Sequence[Vector],
    revealed: Sequence[Bytes32],
    *,
    path: Path,
    shapes: Shapes,
    threads: int | None = None,
) -> AggregatedRoots:
    """Write the next state to a file and return the roots to publish.

    Args:
        base: θ, i32.
        updates: in the order of reveals.
        revealed: the root of each.
        path: of the next state; it appears when it is whole.
        shapes: of the state's tensors, by name.
        threads: None = as many as there are cores.

    Raises:
        UpdateMismatch: an update is not what was revealed.
        VectorInvalid: a vector has another length than the round says.
    """
    for client, (found, told) in enumerate(
        zip(update_roots(updates, threads), revealed, strict=True)
    ):
        if found != told:
            raise UpdateMismatch(client, found, told)
    with (
        ThreadPoolExecutor(threads or os.cpu_count()) as pool,
        written(path, shapes, np.int32) as file,
    ):
        blocks = aggregate(
            aggregation, base, updates, file.write, map=pool.map, hashing=hashing.fastest()
        )
        sums = sums_root(blocks, RunningSums(aggregation, updates))
        return AggregatedRoots(sums, blocks.state_tree(base).root, blocks)
