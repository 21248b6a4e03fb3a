"""Accuracy, size and time of compiled models against their originals: what people bring.

Models of `examples.exact.reach` are trained on real data, and ResNet-18 at 64 px has drawn weights:
it shows time and cosine, no accuracy. Half of the training rows calibrate; the test rows are held
out. Times are of one row on one thread, eager to eager; both take turns, and a figure is the lowest
decile of processor time.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MOST = 256  # samples that calibrate
DRAWN = 8  # images of ResNet-18
CALLS = 30


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Train, compile and compare each model; report one line for each."""
    del build
    from examples.exact import reach  # noqa: PLC0415 - it needs torch

    report(
        f"{'model':20} {'size':>6} {'float':>7} {'exact':>7} {'same':>7} {'cosine':>7} "
        f"{'float32':>8} {'exact':>8} {'ratio':>6}  operators"
    )
    found = {}
    for name, recipe in reach.RECIPES.items():
        data = recipe.data()
        held, test = data.rows(test=False), data.rows(test=True)
        model = reach.train(recipe, held)
        found[name] = measure(model, held.samples(MOST), test.samples(), test.labels)
        report(_line(name, found[name]))
    name = "ResNet-18, 64 px"
    images = np.random.default_rng(0).normal(size=(DRAWN, 3, 64, 64)).astype(np.float32)
    samples = [{"input": image[None]} for image in images]
    found[name] = measure(reach.resnet_18(), samples[: DRAWN // 2], samples[DRAWN // 2 :])
    report(_line(name, found[name]))
    return found


def measure(
    model: Any, samples: Sequence[Any], test: Sequence[Any], labels: Any = None
) -> dict[str, Any]:
    """Compile a model and compare it with torch.

    Returns:
        Shares of right answers (None without labels), the share of equal classes, the mean cosine,
        milliseconds, their ratio, bytes of the float weights, and how many operators there are.
    """
    import torch  # noqa: PLC0415

    from examples.exact import reach  # noqa: PLC0415
    from oracle.exact.quantisation import quantise  # noqa: PLC0415
    from worker.exact import floats  # noqa: PLC0415
    from worker.exact.compiler import compile_graph  # noqa: PLC0415
    from worker.exact.frontends.torch import from_module  # noqa: PLC0415
    from worker.exact.kernels.executor import Executor  # noqa: PLC0415
    from worker.exact.report import measure_graph  # noqa: PLC0415

    with warnings.catch_warnings(), floats.one_thread(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        graph = from_module(model, samples[0])
        compiled = compile_graph(graph, samples)
        kept = measure_graph(compiled, graph, test)
        given = [torch.from_numpy(part) for part in test[0].values()]
        integers = [part[None] for part in quantise(compiled.inputs, test[0])]
        executor = Executor(compiled.program, compiled.constants)
        float_ms, exact_ms = _turns([lambda: model(*given), lambda: executor.run(integers)])
        right: list[float | None] = [None, None]
        if labels is not None:
            wanted = np.stack([graph.original.run(one).reshape(-1) for one in test])  # type: ignore[union-attr]
            exact = np.stack([compiled.run(one).reshape(-1) for one in test])
            right = [reach.right(answers, labels) for answers in (wanted, exact)]
    return {
        "float_right": right[0], "exact_right": right[1], "same_class": kept.accuracy.agreement,
        "cosine": kept.accuracy.mean_cosine, "float_ms": float_ms, "exact_ms": exact_ms,
        "ratio": exact_ms / float_ms, "float_bytes": kept.float_bytes,
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
    right = (one["float_right"], one["exact_right"])
    shares = ["      –" if share is None else f"{share:7.2%}" for share in right]
    return (
        f"{name:20} {one['float_bytes'] / 1e3:5.0f}k {' '.join(shares)} {one['same_class']:7.2%} "
        f"{one['cosine']:7.4f} {one['float_ms']:5.2f} ms {one['exact_ms']:5.2f} ms "
        f"{one['ratio']:5.1f}×  {one['operators']}"
    )
