"""`python -m worker.exact MODEL OUT`: compile a float model to an exact version's folder.

What `tallystick model publish --exact` runs: a process of its own, as oracle never imports torch.
Prints `<what> <done>/<total>` lines, then the report.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from oracle.errors import InputInvalid, TallystickError
from oracle.exact.ranks import LIBRARIES
from oracle.protocol import npz
from worker.describe import describe
from worker.exact import package
from worker.exact.compiler import compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.frontends.torch import from_archive
from worker.exact.graph import Graph, Sample
from worker.exact.report import CompilationReport, measure_graph
from worker.exact.trees import importer
from worker.exact.trees.compile import Answer
from worker.importing.confinement import confine

SAMPLES = "samples.npz"
CALIBRATED = 0.5  # share of the samples that ranges are taken from; the others are held out
AGREEMENT = 0.98  # with the float model, at the least
_MOST = 512  # samples of either kind
_STEPS = 4
_READERS: Mapping[str, Callable[[Path, Sample], Graph]] = {
    "torch.export": from_archive,
    "onnx": from_onnx,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Compile; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.exact", description=__doc__)
    parser.add_argument(
        "model",
        type=Path,
        help=f"folder with model.json, or a file of trees: {', '.join(LIBRARIES)}",
    )
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--samples", type=Path, help=f"NPZ: inputs by name, optionally labels; MODEL/{SAMPLES}"
    )
    parser.add_argument("--name", help="of the exact version; MODEL's when left out")
    parser.add_argument(
        "--min-agreement", type=float, default=AGREEMENT, help="with the float model; 0 to 1"
    )
    parser.add_argument("--missing", type=float, help="trees: XGBoost's missing=, besides NaN")
    parser.add_argument("--answer", default="prediction", choices=get_args(Answer), help="trees")
    given = parser.parse_args(argv)
    try:
        report = build(
            given.model, given.out, given.samples, _print,
            name=given.name or "", min_agreement=given.min_agreement, missing=given.missing,
            answer=given.answer, shut=confine,
        )  # fmt: skip
    except TallystickError as error:
        print(f"{error}" + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    print(json.dumps(report.to_json()))
    return 0


def build(
    source: Path,
    target: Path,
    samples: Path | None,
    say: Callable[[str, int, int], None],
    *,
    name: str = "",
    min_agreement: float = AGREEMENT,
    missing: float | None = None,
    answer: Answer = "prediction",
    shut: Callable[[Path, Sequence[Path]], object] = lambda *_: None,
) -> CompilationReport:
    """Compile a model, measure it on samples, write the folder of the exact version.

    It has the float model's name unless `name` gives another. Trees need no samples.

    Args:
        samples: NPZ; `samples.npz` of the model's folder by default.
        missing, answer: of trees (`worker.exact.trees.importer`).
        shut: is given the only folder to write and what to read, before another library's loader
            opens a file of trees; confines the process, for ever.

    Raises:
        AccuracyLow: it agrees less with the float model.
        ReadingWrong: an operator is not read as the model's library runs it.
        InputInvalid: no model.json or samples, or they do not fit each other.
        OperatorUnsupported: an operator without integer form; it is named with its place.
    """
    about, folder = described(source)
    about["name"] = name or about["name"]
    runtime = about.get("runtime", {})
    path = folder / str(runtime.get("entry", ""))
    found = samples or (folder / SAMPLES if (folder / SAMPLES).is_file() else None)
    trees = None
    if runtime.get("format") in LIBRARIES.values():
        shut(target, [path, *([found] if found else [])])
        trees = importer.read(path, missing)
    elif runtime.get("format") == "onnx":
        trees = importer.read_onnx(path)
    if trees is not None:
        return _trees(
            trees, path, target, about, samples=found, say=say,
            min_agreement=min_agreement, answer=answer,
        )  # fmt: skip
    if missing is not None or answer != "prediction":
        raise InputInvalid("--missing and --answer are for files of trees")
    inputs, labels = _samples(samples or folder / SAMPLES, [s["name"] for s in about["inputs"]])
    reader = _READERS.get(runtime.get("format"))
    if reader is None:
        raise InputInvalid(
            f"a model of format {runtime.get('format')!r} cannot be compiled",
            hint="export it with torch.export or to ONNX",
        )
    say("read", 1, _STEPS)
    graph = reader(path, inputs[0])
    split = max(1, int(len(inputs) * CALIBRATED))
    say("compile", 2, _STEPS)
    classes = tuple(about.get("labels") or ())
    compiled = compile_graph(
        graph,
        inputs[:split][:_MOST],
        names=[spec["name"] for spec in about["outputs"]],
        meaning="logits" if classes else "value",
        labels=classes,
    )
    say("measure", 3, _STEPS)
    held_out = split < len(inputs)
    held = slice(split, split + _MOST) if held_out else slice(0, _MOST)
    report = measure_graph(
        compiled, graph, inputs[held], None if labels is None else labels[held], held_out=held_out
    )
    report.accuracy.require(min_agreement)
    package.write(compiled, target, about, report)
    say("write", _STEPS, _STEPS)
    return report


def _trees(
    model: importer.TreeModel, path: Path, target: Path, about: dict[str, Any], *,
    samples: Path | None, say: Callable[[str, int, int], None], min_agreement: float,
    answer: Answer,
) -> CompilationReport:  # fmt: skip
    say("read", 1, _STEPS)
    rows, labels = None, None
    if samples is not None:
        name = next((given["name"] for given in about["inputs"]), importer.FEATURES)
        given, labels = _samples(samples, [name])
        rows = np.concatenate([one[name] for one in given])[:_MOST]
        labels = None if labels is None else labels[:_MOST]
    say("compile", 2, _STEPS)
    compiled, report = importer.compile_model(
        model, path.stat().st_size, answer=answer, rows=rows, labels=labels
    )
    say("measure", 3, _STEPS)
    report.accuracy.require(min_agreement)
    package.write(compiled, target, {**about, **importer.described(model, about)}, report)
    say("write", _STEPS, _STEPS)
    return report


def described(source: Path) -> tuple[dict[str, Any], Path]:
    """Return the description of a model, and the folder of its files.

    A file of trees is described by the `model.json` beside it that names it, else by itself.
    """
    if source.is_dir():
        return _description(source), source
    if source.suffix not in LIBRARIES:
        raise InputInvalid(
            f"{source.name} is no file of trees ({', '.join(LIBRARIES)})",
            hint=f"`tallystick model init {source}` describes it; then publish its folder",
        )
    beside = source.parent / "model.json"
    if beside.is_file() and beside != source:
        about = _description(source.parent)
        if about.get("runtime", {}).get("entry") == source.name:
            return about, source.parent
    return {"name": source.stem, **describe(source)}, source.parent


def _description(source: Path) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads((source / "model.json").read_text())
        body["inputs"], body["outputs"] = body["inputs"][:], body["outputs"][:]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputInvalid(f"{source / 'model.json'} cannot be read: {error!r}") from error
    return body


def _samples(path: Path, names: Sequence[str]) -> tuple[list[Sample], list[int] | None]:
    """Return samples with a batch axis of one, and the true classes if there are any."""
    try:
        with path.open("rb") as file:
            arrays = npz.read(file)
    except (OSError, InputInvalid) as error:
        raise InputInvalid(
            f"the samples {path} cannot be read: {error}",
            hint="an NPZ with one array per input (samples first), and `labels` where known; "
            "calibration and the accuracy report need a few hundred",
        ) from error
    missing = [name for name in names if name not in arrays]
    counts = {len(arrays[n]) if arrays[n].ndim else 0 for n in names if n in arrays}
    if missing or len(counts) != 1 or counts == {0}:
        raise InputInvalid(f"{path} has no samples for {missing or names}, or not as many of each")
    found: list[Sample] = [
        {name: arrays[name][index : index + 1] for name in names} for index in range(counts.pop())
    ]
    labels = arrays.get("labels")
    if labels is not None and (labels.shape != (len(found),) or labels.dtype.kind not in "biuf"):
        raise InputInvalid(
            f"{path}: labels are {labels.dtype} {list(labels.shape)}, of {len(found)} samples",
            hint="one number for each sample: the place of its class",
        )
    return found, None if labels is None else [int(label) for label in labels]


def _print(what: str, done: int, total: int) -> None:
    print(f"{what} {done}/{total}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
