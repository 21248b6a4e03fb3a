"""Speed of served models against their original library alone, at batch 1 and 32, and of loading.

Each model is saved as its library does, loaded as a worker does, and asked for the same rows on one
thread. "Inference" is `Runtime.run`: arrays in, arrays out. Contestants take turns, so that load on
the machine falls on both; a figure is the lowest decile of processor time. 1.00 is the original's
speed; above it, ours is faster. What another library wrote is served as ONNX; trees of `--exact`
are served as integers, which any operator can prove.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.format_contests import Answer, Contest, contests

BATCHES = (1, 32)
TURNS, LOADS = 60, 15
FEWEST, SECONDS = 10, 3.0  # turns that there are anyhow; of both together, after which it is enough
GOALS = {"speed": 0.95, "load": 1.2}  # of the original's speed; of its time
Timed = tuple[Callable[[], Any], Callable[[], float]]  # a call, and the clock of its process


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report a line for each model."""
    import torch  # noqa: PLC0415 - other benchmarks need none of it

    torch.set_num_threads(1)
    build.mkdir(parents=True, exist_ok=True)
    found = {}
    report(f"{'':30}{'batch 1':>10}{'batch 32':>10}{'load':>8}")
    with tempfile.TemporaryDirectory(dir=build) as folder:
        for contest in contests(Path(folder), report):
            found[contest.name] = figures = _measure(contest)
            report(
                f"{contest.name:30}"
                + "".join(f"{figures[f'batch {batch}']:9.2f}×" for batch in BATCHES)
                + f"{figures['load']:7.2f}×"
            )
    report(f"goals: speed ≥ {GOALS['speed']}×, load ≤ {GOALS['load']}×")
    return found


def _measure(contest: Contest) -> dict[str, float]:
    from oracle.exact import version  # noqa: PLC0415 - as a worker does
    from worker import runtimes  # noqa: PLC0415 - it brings torch

    manifest = contest.manifest
    root = manifest.model_root()
    if manifest.exact is not None:  # a worker is told it by the chain
        root = version.read_program(manifest, contest.files).model_root

    def load() -> Answer:
        runtime = runtimes.load(manifest, contest.files, root, "cpu")
        return lambda rows: runtime.run(rows, {})

    def both(theirs: Callable[[], Any], ours: Callable[[], Any]) -> tuple[Timed, Timed]:
        return (theirs, contest.clock), (ours, time.process_time)

    theirs, ours = _fastest(both(contest.original, load), LOADS)
    figures = {"load": ours / theirs}
    original, served = contest.original(), load()
    for batch in BATCHES:
        rows = {name: array[:batch] for name, array in contest.rows.items()}
        theirs, ours = _fastest(both(partial(original, rows), partial(served, rows)), TURNS)
        figures[f"batch {batch}"] = theirs / ours
    return figures


def _fastest(contestants: tuple[Timed, ...], turns: int) -> list[float]:
    """Return each one's lowest decile of processor seconds; they take turns."""
    times: list[list[float]] = [[] for _ in contestants]
    for call, _ in contestants:
        call()
    for _ in range(turns):
        if sum(map(sum, times)) > SECONDS and len(times[0]) >= FEWEST:
            break
        for place, (call, clock) in enumerate(contestants):
            began = clock()
            call()
            times[place].append(clock() - began)
    return [float(np.quantile(taken, 0.1)) for taken in times]


if __name__ == "__main__":
    run(print, Path("build/bench"))
