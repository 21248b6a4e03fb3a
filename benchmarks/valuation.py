"""What valuing data costs, how it grows, and whether it is right: curves of removed rows.

N = 50,000 rows × T = 1,000 test points × D = 64 in a process of its own, so that its memory is its
own: flags, scores with tables (in files), then the hashes. Growth is measured on scores alone, at a
twentieth of the test points, against N log N.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contributors import KINDS, Name, mixed, round_of
from benchmarks.curves import Panel, svg
from oracle.valuation.dataset import DataSet
from oracle.valuation.reference import Flags
from oracle.valuation.rounds import ONE, Params, RoundData
from oracle.valuation.tables import build, read
from worker.valuation import knn_shapley, second_opinions

GOALS = {"valued_s": 60.0, "hashed_s": 180.0, "memory_gb": 4.0}
ROWS, POINTS, WIDTH = 50_000, 1_000, 64
FRACTIONS = [0.05 * step for step in range(11)]
DATA: tuple[Name, ...] = ("digits", "breast cancer")


def run(log: Callable[[str], None], folder: Path) -> dict[str, Any]:
    """Measure, print and return the figures; write the curves to `folder`."""
    command = [sys.executable, "-m", "benchmarks.valuation", str(ROWS), str(POINTS)]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    log(f"N {ROWS:,} × T {POINTS:,} × D {WIDTH}, {os.cpu_count()} cores")
    for name, seconds in figures.items():
        goal = f"   goal {GOALS[name]:g}" if name in GOALS else ""
        log(f"  {name:<14}{seconds:>8.2f}{goal}")
    sizes = [ROWS // 16, ROWS // 8, ROWS // 4, ROWS // 2, ROWS]
    growth = {size: _scores_seconds(size, POINTS // 20) for size in sizes}
    for size, seconds in growth.items():
        unit = seconds / (POINTS // 20) / (size * math.log2(size)) * 1e9
        log(f"  N {size:>7,}  {seconds:7.3f} s   {unit:6.2f} ns / (N log N) a point")
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {name: earnings(name) for name in DATA}
    for name, values in kinds.items():
        log(f"  {name:<14}" + "   ".join(f"{kind} {value:+.3f}" for kind, value in values.items()))
    panels = [*(removal_panel(name) for name in DATA), _growth_panel(growth)]
    (folder / "valuation.svg").write_text(svg(panels))  # docs/ has a copy
    return {**figures, "growth": growth, "kinds": kinds}


def earnings(name: Name) -> dict[str, float]:
    """Return what each kind of contributor is worth, before it is clamped, in accuracy."""
    data = round_of(name)
    flags = knn_shapley.flags(data)
    tables = build(data, flags, knn_shapley.scores(data, flags))
    totals = read(tables.rows.entries["prefix"])[0][np.array(data.starts[1:]) - 1]
    return dict(zip(KINDS, (totals / ONE / data.test.rows).tolist(), strict=True))


def removal_curves(name: Name) -> dict[str, list[float]]:
    """Return accuracy on rows that nobody has seen, as rows are removed in three orders."""
    held = mixed(name)
    flags = knn_shapley.flags(held.data)
    values = np.zeros(len(held.data.labels), np.int64)
    for block in knn_shapley.scores(held.data, flags):
        np.add.at(values, block.rows, block.s)
    utility = second_opinions.accuracy(
        held.data.features, held.data.labels, held.unseen.features, held.unseen.labels
    )
    upwards = np.argsort(values, kind="stable")
    random = [
        second_opinions.removal_curve(
            utility, np.random.default_rng(seed).permutation(len(values)), FRACTIONS
        )
        for seed in range(5)
    ]
    return {
        "highest first": second_opinions.removal_curve(utility, upwards[::-1], FRACTIONS),
        "random (mean of 5)": np.mean(random, axis=0).tolist(),
        "lowest first": second_opinions.removal_curve(utility, upwards, FRACTIONS),
    }


def removal_panel(name: Name) -> Panel:
    """Return the curves as a panel."""
    lines = {
        order: list(zip(FRACTIONS, curve, strict=True))
        for order, curve in removal_curves(name).items()
    }
    return Panel(f"{name}: a quarter of the labels are wrong", "rows removed", "accuracy", lines)


def _growth_panel(growth: dict[int, float]) -> Panel:
    last = max(growth)
    unit = growth[last] / (last * math.log2(last))
    lines = {
        "measured": list(growth.items()),
        "N log N": [(size, unit * size * math.log2(size)) for size in growth],
    }
    return Panel(f"scores of {POINTS // 20} test points, one thread", "rows N", "seconds", lines)


def _scores_seconds(rows: int, points: int) -> float:
    """Return processor seconds on one thread, least of three: others were disturbed."""
    data = _random_round(rows, points)
    flags = Flags(*np.zeros((2, len(data.labels)), np.int64))
    times = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(3):
        start = time.process_time()
        for _block in knn_shapley.scores(data, flags):
            pass
        times.append(time.process_time() - start)
    torch.set_num_threads(threads)
    return min(times)


def _random_round(rows: int, points: int) -> RoundData:
    """Return ten contributors to ten classes of 64 features."""
    rng = np.random.default_rng(0)
    centres = rng.integers(-60, 60, (10, WIDTH))

    def draw(count: int) -> DataSet:
        labels = rng.integers(0, 10, count)
        near = np.clip(np.rint(centres[labels] + rng.normal(0, 25, (count, WIDTH))), -128, 127)
        return DataSet.of(near.astype(np.int8), labels, drop_repeats=True)

    sets = tuple(draw(rows // 10) for _ in range(10))
    return RoundData(Params(5, 200, 200), sets, draw(points))


def _large(rows: int, points: int) -> dict[str, float]:
    data = _random_round(rows, points)
    figures, started, cpu = {}, time.perf_counter(), time.process_time()

    def lap(name: str) -> None:
        nonlocal started, cpu
        figures[f"{name}_s"] = time.perf_counter() - started
        figures[f"{name}_cpu_s"] = time.process_time() - cpu
        started, cpu = time.perf_counter(), time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        flags = knn_shapley.flags(data)
        lap("flags")
        tables = build(data, flags, knn_shapley.scores(data, flags), Path(folder))
        lap("tables")
        _ = data.round, tables.valuation.root
        lap("hashed")
    figures["valued_s"] = figures["flags_s"] + figures["tables_s"]
    figures["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return figures


if __name__ == "__main__":
    print(json.dumps(_large(int(sys.argv[1]), int(sys.argv[2]))))
