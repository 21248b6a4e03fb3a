"""Speed of served models against their original library alone, at batch 1 and 32, and of loading.

Each model is saved as its library does, loaded as a worker does, and asked for the same rows on one
thread. "Inference" is `Runtime.run`: arrays in, arrays out. Contestants take turns, so that load on
the machine falls on both; a figure is the lowest decile of processor time. 1.00 is the original's
speed; above it, ours is faster. Trees are served as exact integers, which any operator can prove.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact import form
from oracle.protocol import tensor
from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec
from oracle.services import folders

BATCHES = (1, 32)
TURNS, LOADS = 60, 5
TOKENS = 64
GOALS = {"speed": 0.95, "load": 1.2}  # of the original's speed; of its time

Rows = dict[str, "np.ndarray[Any, Any]"]
Answer = Callable[[Rows], Any]


@dataclass(frozen=True, slots=True)
class Contest:
    """One model, saved: how its library loads it, and what a worker loads."""

    name: str
    original: Callable[[], Answer]
    manifest: Manifest
    files: dict[str, Path]
    rows: Rows  # of the largest batch


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report a line for each model."""
    import torch  # noqa: PLC0415 - other benchmarks need none of it

    torch.set_num_threads(1)
    build.mkdir(parents=True, exist_ok=True)
    found = {}
    report(f"{'':22}{'batch 1':>10}{'batch 32':>10}{'load':>8}")
    with tempfile.TemporaryDirectory(dir=build) as folder:
        for contest in _contests(Path(folder)):
            found[contest.name] = figures = _measure(contest)
            report(
                f"{contest.name:22}"
                + "".join(f"{figures[f'batch {batch}']:9.2f}×" for batch in BATCHES)
                + f"{figures['load']:7.2f}×"
            )
    report(f"goals: speed ≥ {GOALS['speed']}×, load ≤ {GOALS['load']}×")
    return found


def _measure(contest: Contest) -> dict[str, float]:
    from worker import runtimes  # noqa: PLC0415 - it brings torch

    def load() -> Answer:
        manifest = contest.manifest
        root = manifest.model_root()
        if manifest.exact is not None:
            from oracle.exact import version  # noqa: PLC0415 - as a worker does

            root = version.read(manifest, contest.files).program.model_root
        runtime = runtimes.load(manifest, contest.files, root, "cpu")
        return lambda rows: runtime.run(rows, {})

    theirs, ours = _fastest((contest.original, load), LOADS)
    figures = {"load": ours / theirs}
    original, served = contest.original(), load()
    for batch in BATCHES:
        rows = {name: array[:batch] for name, array in contest.rows.items()}
        theirs, ours = _fastest((partial(original, rows), partial(served, rows)), TURNS)
        figures[f"batch {batch}"] = theirs / ours
    return figures


def _fastest(contestants: tuple[Callable[[], Any], ...], turns: int) -> list[float]:
    """Return each one's lowest decile of processor seconds; they take turns."""
    times: list[list[float]] = [[] for _ in contestants]
    for contestant in contestants:
        contestant()
    for _ in range(turns):
        for place, contestant in enumerate(contestants):
            began = time.process_time()
            contestant()
            times[place].append(time.process_time() - began)
    return [float(np.quantile(taken, 0.1)) for taken in times]


# ── The models ────────────────────────────────────────────────────────────────────────────────────
def _contests(folder: Path) -> Iterator[Contest]:
    yield from _networks(folder)
    yield from _trees(folder)


def _networks(folder: Path) -> Iterator[Contest]:
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; heavy
    import torch  # noqa: PLC0415 - heavy

    from worker.runtimes.architectures import DigitsCnn, MiniLm  # noqa: PLC0415 - they bring torch

    draw = np.random.default_rng(0)
    torch.manual_seed(0)
    image = {"image": draw.random((32, 1, 8, 8), np.float32)}
    text = {
        "input_ids": draw.integers(0, 1000, (32, TOKENS)),
        "attention_mask": np.ones((32, TOKENS), np.int64),
    }
    for name, module, rows, output in (
        ("digits CNN", DigitsCnn({}).eval(), image, TensorSpec("logits", "F32", (None, 10))),
        (
            "MiniLM", MiniLm({"vocabulary": 1000}).eval(), text,
            TensorSpec("embedding", "F32", (None, 384)),
        ),
    ):  # fmt: skip
        example = tuple(torch.from_numpy(array[:2]) for array in rows.values())
        specs = tuple(
            TensorSpec(n, "F32" if a.dtype == np.float32 else "I64", (None, *a.shape[1:]))
            for n, a in rows.items()
        )

        def manifest(
            runtime: RuntimeSpec, specs: Any = specs, output: TensorSpec = output
        ) -> Manifest:
            return Manifest(name="m", files=(), inputs=specs, outputs=(output,), runtime=runtime)

        exported = folder / f"{name}.pt2"
        shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
        torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), exported)

        def of_torch(path: Path = exported) -> Answer:
            loaded = torch.export.load(path).module()

            def answer(given: Rows) -> Any:
                with torch.inference_mode():
                    return loaded(*map(torch.from_numpy, given.values())).numpy()

            return answer

        yield Contest(
            f"{name}, torch.export", of_torch, manifest(RuntimeSpec("torch.export", "m")),
            {"m": exported}, rows,
        )  # fmt: skip

        graph = folder / f"{name}.onnx"
        torch.onnx.export(
            module, example, graph, dynamo=False, input_names=list(rows),
            output_names=[output.name], dynamic_axes={n: {0: "rows"} for n in rows},
        )  # fmt: skip

        def of_onnx(path: Path = graph) -> Answer:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            return lambda given: session.run(None, given)

        yield Contest(
            f"{name}, ONNX", of_onnx, manifest(RuntimeSpec("onnx", "m")), {"m": graph}, rows
        )  # fmt: skip


def _trees(folder: Path) -> Iterator[Contest]:
    import lightgbm  # noqa: PLC0415 - optional
    import skops.io  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; optional
    import xgboost  # noqa: PLC0415 - optional
    from sklearn.datasets import (  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; heavy
        load_digits,
    )
    from sklearn.ensemble import (  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; heavy
        RandomForestClassifier,
    )

    from worker.exact import __main__ as compiler  # noqa: PLC0415 - optional

    rows, labels = load_digits(return_X_y=True)
    rows = rows.astype(np.float32)

    def saved(name: str, model: Any, write: Callable[[Path], Any], read: Any) -> Contest:
        path = folder / name
        write(path)
        compiler.build(path, folder / f"{name}.folder", None, lambda *_: None)
        manifest = folders.read(folder / f"{name}.folder", lambda *_: None)
        files = {entry.path: folder / f"{name}.folder" / entry.path for entry in manifest.files}
        made = form.of(manifest, lambda entry: files[entry.path])
        ((name, dtype),) = ((spec.name, tensor.DTYPES[spec.dtype]) for spec in manifest.inputs)
        asked = [
            made.decode_inputs(made.encode_inputs({name: row[None].astype(dtype)}))
            for row in rows[:32]
        ]
        numbers = {name: np.stack([sample[name][0] for sample in asked])}
        return Contest(f"{model}, exact", lambda: read(path), manifest, files, numbers)

    def first(numbers: Rows) -> Any:
        """Return as many rows of the table as are asked; those are numbered by thresholds."""
        return rows[: len(next(iter(numbers.values())))]

    boosted = xgboost.XGBClassifier(n_estimators=30, max_depth=5, n_jobs=1).fit(rows, labels)

    def of_xgboost(path: Path) -> Answer:
        model = xgboost.XGBClassifier(n_jobs=1)
        model.load_model(path)
        return lambda rows: model.predict_proba(first(rows))

    yield saved("m.ubj", "XGBoost", boosted.save_model, of_xgboost)
    light = lightgbm.LGBMClassifier(n_estimators=30, n_jobs=1, verbose=-1).fit(rows, labels)

    def of_lightgbm(path: Path) -> Answer:
        model = lightgbm.Booster(model_file=path)
        return lambda rows: model.predict(first(rows), num_threads=1)

    yield saved("m.txt", "LightGBM", light.booster_.save_model, of_lightgbm)
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(rows, labels)

    def of_sklearn(path: Path) -> Answer:
        model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        return lambda rows: model.predict_proba(first(rows))

    yield saved("m.skops", "forest of 100", lambda path: skops.io.dump(forest, path), of_sklearn)


if __name__ == "__main__":
    run(print, Path("build/bench"))
