"""Accuracy, size and time of compiled models against their originals: what people bring.

Models of `examples.exact` (`reach`, `vision`) are trained on real data. Rows of training calibrate;
the test rows are held out. Times are of one row on one thread, eager to eager; both take turns, and
a figure is the lowest decile of processor time.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MOST = 256  # samples that calibrate
CALLS = 30


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Train, compile and compare each model; report one line for each."""
    del build
    from examples.exact import reach, vision  # noqa: PLC0415 - they need torch

    report(
        f"{'model':24} {'size':>6} {'float':>7} {'exact':>7} {'same':>7} {'cosine':>7} "
        f"{'float32':>8} {'exact':>8} {'ratio':>6}  operators"
    )
    found = {}
    for name, recipe in {**reach.RECIPES, **vision.RECIPES}.items():
        data = recipe.data()
        held, test = data.rows(test=False), data.rows(test=True)
        model = reach.train(recipe, held)
        found[name] = measure(model, held.samples(MOST), test.samples(), test.labels)
        report(_line(name, found[name]))
    return found


def measure(model: Any, samples: Sequence[Any], test: Sequence[Any], labels: Any) -> dict[str, Any]:
    """Compile a model and compare it with torch.

    Returns:
        Shares of right answers, the share of equal classes (of pixels, where a model segments), the
        mean cosine, milliseconds, their ratio, bytes of the float weights, how many operators.
    """
    import torch  # noqa: PLC0415

    from examples.exact import reach  # noqa: PLC0415
    from oracle.exact.quantisation import quantise  # noqa: PLC0415
    from worker.exact import floats  # noqa: PLC0415
    from worker.exact.compiler import compile_graph  # noqa: PLC0415
    from worker.exact.frontends.torch import from_module  # noqa: PLC0415
    from worker.exact.kernels.executor import Executor  # noqa: PLC0415

    with warnings.catch_warnings(), floats.one_thread(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        graph = from_module(model, samples[0])
        compiled = compile_graph(graph, samples)
        executor = Executor(compiled.program, compiled.constants)
        inputs = zip(*(quantise(compiled.inputs, one) for one in test), strict=True)
        outputs = executor.run([np.stack(column) for column in inputs])
        (code,) = compiled.outputs
        exact = np.concatenate([code.dequantise(integers) for integers in outputs])
        given = [[torch.from_numpy(part) for part in one.values()] for one in test]
        wanted = torch.cat([model(*parts) for parts in given]).numpy()
        integers = [part[None] for part in quantise(compiled.inputs, test[0])]
        float_ms, exact_ms = _turns([lambda: model(*given[0]), lambda: executor.run(integers)])
    flat = [answers.reshape(len(answers), -1).astype(np.float64) for answers in (wanted, exact)]
    lengths = np.linalg.norm(flat[0], axis=1) * np.linalg.norm(flat[1], axis=1)
    chosen = [a.argmax(1) if a.shape[1] > 1 else a[:, 0] > 0 for a in (wanted, exact)]
    return {
        "float_right": reach.right(wanted, labels), "exact_right": reach.right(exact, labels),
        "same_class": float((chosen[0] == chosen[1]).mean()),
        "cosine": float(((flat[0] * flat[1]).sum(1) / lengths).mean()),
        "float_ms": float_ms, "exact_ms": exact_ms, "ratio": exact_ms / float_ms,
        "float_bytes": sum(array.size * 4 for array in graph.constants.values()),
        "operators": len(compiled.program.ops),
    }  # fmt: skip


def _turns(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return each call's time in milliseconds."""
    spent: list[list[float]] = [[] for _ in calls]
    for _ in range(CALLS):
        for times, call in zip(spent, calls, strict=True):
            call()  # the caches are the last one's
            began = time.process_time()
            call()
            times.append(time.process_time() - began)
    return [1e3 * float(np.quantile(times, 0.1)) for times in spent]


def _line(name: str, one: dict[str, Any]) -> str:
    return (
        f"{name:24} {one['float_bytes'] / 1e3:5.0f}k {one['float_right']:7.2%} "
        f"{one['exact_right']:7.2%} {one['same_class']:7.2%} "
        f"{one['cosine']:7.4f} {one['float_ms']:5.2f} ms {one['exact_ms']:5.2f} ms "
        f"{one['ratio']:5.1f}×  {one['operators']}"
    )
