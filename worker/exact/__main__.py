"""`python -m worker.exact MODEL OUT`: compile a float model's folder to an exact version's folder.

What `tallystick model publish --exact` runs: a process of its own, as oracle never imports torch.
Prints `<what> <done>/<total>` lines, then the report.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oracle.errors import InputInvalid, TallystickError
from worker.exact import package
from worker.exact.compiler import Sample, compile_graph
from worker.exact.frontends.onnx import from_onnx
from worker.exact.frontends.torch import from_archive
from worker.exact.graph import Graph
from worker.exact.report import CompilationReport, measure_graph

SAMPLES = "samples.npz"
CALIBRATED = 0.5  # share of the samples that ranges are taken from; the others are held out
_MOST = 512  # samples of either kind
_STEPS = 4
_READERS: Mapping[str, Callable[[Path, Sample], Graph]] = {
    "torch.export": from_archive,
    "onnx": from_onnx,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Compile; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.exact", description=__doc__)
    parser.add_argument("model", type=Path, help="folder with model.json (torch.export or onnx)")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument(
        "--samples", type=Path, help=f"NPZ: inputs by name, optionally labels; MODEL/{SAMPLES}"
    )
    parser.add_argument("--name", help="of the exact version; MODEL's when left out")
    given = parser.parse_args(argv)
    try:
        report = build(
            given.model,
            given.out,
            given.samples or given.model / SAMPLES,
            _print,
            given.name or "",
        )
    except TallystickError as error:
        print(f"{error}" + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    print(json.dumps(report.to_json()))
    return 0


def build(
    source: Path, target: Path, samples: Path, say: Callable[[str, int, int], None], name: str = ""
) -> CompilationReport:
    """Compile a folder, measure it on held-out samples, write the folder of the exact version.

    It has the float model's name unless `name` gives another.

    Raises:
        InputInvalid: no model.json or samples, or they do not fit each other.
        OperatorUnsupported: an operator without integer form; it is named with its place.
    """
    about = _description(source)
    about["name"] = name or about["name"]
    inputs, labels = _samples(samples, [spec["name"] for spec in about["inputs"]])
    runtime = about.get("runtime", {})
    reader = _READERS.get(runtime.get("format"))
    if reader is None:
        raise InputInvalid(
            f"a model of format {runtime.get('format')!r} cannot be compiled",
            hint="export it with torch.export or to ONNX",
        )
    say("read", 1, _STEPS)
    graph = reader(source / runtime["entry"], inputs[0])
    split = max(1, int(len(inputs) * CALIBRATED))
    say("compile", 2, _STEPS)
    output = about["outputs"][0]["name"]
    classes = tuple(about.get("labels") or ())
    compiled = compile_graph(
        graph,
        inputs[:split][:_MOST],
        name=output,
        meaning="logits" if classes else "value",
        labels=classes,
    )
    say("measure", 3, _STEPS)
    held = slice(split, split + _MOST) if split < len(inputs) else slice(0, _MOST)
    report = measure_graph(compiled, graph, inputs[held], None if labels is None else labels[held])
    package.write(compiled, target, about, report)
    say("write", _STEPS, _STEPS)
    return report


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
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise InputInvalid(
            f"the samples {path} cannot be read: {error}",
            hint="an NPZ with one array per input (samples first), and `labels` where known; "
            "calibration and the accuracy report need a few hundred",
        ) from error
    missing = [name for name in names if name not in arrays]
    counts = {len(arrays[name]) for name in names if name in arrays}
    if missing or len(counts) != 1 or counts == {0}:
        raise InputInvalid(f"{path} has no samples for {missing or names}, or not as many of each")
    found: list[Sample] = [
        {name: arrays[name][index : index + 1] for name in names} for index in range(counts.pop())
    ]
    labels = arrays.get("labels")
    return found, None if labels is None else [int(label) for label in labels]


def _print(what: str, done: int, total: int) -> None:
    print(f"{what} {done}/{total}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
