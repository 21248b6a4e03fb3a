"""Aggregation of a training round with its trees: seconds, and what hashing takes of them.

Updates lie in memory-mapped files, as they do at an aggregator. A pool of as many processes as
there are cores shares the blocks. Memory is a matter of blocks (`tests/training` bounds it).
"""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from oracle.merkle import hash_all
from oracle.training.aggregation import Aggregation, RunningSums, aggregate, sums_root

CLIENTS, PARAMETERS = 16, 10**7
GOAL = 10  # seconds


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Aggregate a round of random updates and report seconds, with and without trees."""
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:
        found = measure(Path(folder))
    hashing = found["hashes"] * found["hash_microseconds"] / 1e6
    report(
        f"{CLIENTS} clients × {PARAMETERS:,} parameters: {found['seconds']:.1f} s with trees "
        f"(goal {GOAL}), {found['arithmetic']:.1f} s without, {found['cores']} cores"
    )
    report(
        f"{found['hashes'] / 1e6:.0f} million hashes of {found['hash_microseconds']:.2f} µs: "
        f"{hashing:.0f} s of one core"
    )
    return found


def measure(folder: Path) -> dict[str, Any]:
    """Return seconds with and without trees, hashes made, and microseconds of one."""
    rng = np.random.default_rng(0)
    files = [_file(folder / str(client), np.int16) for client in range(CLIENTS)]
    base, state = _file(folder / "base", np.int32), _file(folder / "next", np.int32)
    for file in (base, *files):
        for at in range(0, PARAMETERS, 2**20):
            part = file[at : at + 2**20]
            part[:] = rng.integers(-30_000, 30_000, len(part))
    terms = Aggregation(PARAMETERS, 2**14, tuple(range(1, CLIENTS + 1)))

    def write(start: int, part: Any) -> None:
        state[start : start + len(part)] = part

    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores) as pool:
        begun = time.perf_counter()
        made = aggregate(terms, base, files, write, map=pool.map)
        root = sums_root(made, RunningSums(terms, files)), made.state_tree(state).root
        seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    for at in range(0, PARAMETERS, 2**16):
        shown = np.stack([file[at : at + 2**16] for file in files])
        terms.running_sums(shown)
        terms.next_state(base[at : at + 2**16], shown)
    arithmetic = time.perf_counter() - begun
    begun = time.perf_counter()
    hash_all(np.zeros((2**17, 64), np.uint8))
    one = (time.perf_counter() - begun) / 2**17
    return {
        "seconds": seconds,
        "arithmetic": arithmetic,
        "hashes": 2 * (PARAMETERS // 32 + PARAMETERS * CLIENTS // 16),
        "hash_microseconds": one * 1e6,
        "cores": cores,
        "roots": [part.hex() for part in root],
    }


def _file(path: Path, dtype: type) -> Any:
    return np.memmap(path, dtype, "w+", shape=(PARAMETERS,))
