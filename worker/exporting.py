"""`python -m worker.exporting FOLDER --to=FORMAT --out=FILE`: a model as a file of other tools.

What `tallystick model export` runs. FOLDER holds `manifest.json` and `files/`. Prints what was
written as one JSON object, or `{"error", "message", "hint"}` with exit code 1.

```
 torch.export, architecture ──trace──▶ ONNX ──answers as the version does?──▶ FILE
 ONNX                       ──as it is─▶ │
                                         └─TensorFlow─▶ SavedModel ──answers as …?──▶ FOLDER
 any of the three           ──weights──▶ safetensors
```
"""

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from oracle.errors import InputInvalid
from oracle.protocol import npz, text
from oracle.protocol.manifest import Manifest, TensorSpec
from worker import device, runtimes, spread
from worker.describe import failure
from worker.errors import ModelUnsupported
from worker.importing import frame, onnx_opsets
from worker.runtimes import onnx as onnx_runtime
from worker.runtimes import pt2, safetensors_arch
from worker.runtimes.base import Array, Files
from worker.runtimes.graph import ExportedGraph

FORMATS = ("onnx", "saved-model", "safetensors")
OPSET = 18
CLOSE = 1e-5  # what a file may differ from the version, beside its own size
_WEIGHTS = "`--to safetensors` writes the weights alone"
_ROWS = (1, 3)
_TREE_ROWS = 256
_OPSET_OF_TENSORFLOW = 13  # older operators are upgraded first


def export(
    manifest: Manifest, files: Files, to: str, out: Path, samples: Path | None = None
) -> dict[str, Any]:
    """Write a model in another format; return its bytes and how far its answers are from ours.

    Args:
        to: one of `FORMATS`.
        samples: an NPZ with inputs by name, to compare beside what is drawn.

    Raises:
        InputInvalid: an exact version, a text model, a format that is not known, bad samples.
        ModelUnsupported: it has no such form, or its answers there are others.
        ConfigInvalid: TensorFlow is not installed.
        ModelRefused, ModelFailed: see `runtimes.load` and `Runtime.run`.
    """
    if manifest.exact is not None:
        raise InputInvalid(
            "an exact version is integers, which no other format holds",
            hint="export the float version that it was compiled from",
        )
    if manifest.runtime.format == text.FORMAT:
        raise InputInvalid(
            "a text model is a GGUF file, and has no other form here",
            hint="fetch the file itself: `tallystick model show` names it",
        )
    if to not in FORMATS:
        raise InputInvalid(f"format {to:.40} is not known", hint=f"one of {', '.join(FORMATS)}")
    draft = out.with_name(out.name + ".part")
    try:
        if to == "safetensors":
            farthest = _safetensors(manifest, files, draft)
        else:
            write = _onnx if to == "onnx" else _saved_model
            farthest = write(manifest, files, draft, samples)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True) if draft.is_file() else shutil.rmtree(draft, True)
    written = [out] if out.is_file() else [one for one in out.rglob("*") if one.is_file()]
    size = sum(one.stat().st_size for one in written)
    return {"path": str(out), "bytes": size, "farthest": farthest}


# ── ONNX ─────────────────────────────────────────────────────────────────────────────────────────
def _onnx(manifest: Manifest, files: Files, out: Path, samples: Path | None) -> float:
    if manifest.runtime.format == "onnx":
        shutil.copyfile(files[manifest.runtime.entry], out)
        return 0.0
    model = _Named(manifest, files).eval()
    example = tuple(torch.from_numpy(array) for array in _asked(manifest, _ROWS[-1]).values())
    specs: tuple[TensorSpec, ...] = (*manifest.inputs, *manifest.outputs)
    sizes = {
        spec.name: {axis: f"{spec.name}_{axis}" for axis, n in enumerate(spec.shape) if n is None}
        for spec in specs
    }
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the tracer: what it wrote is held to ours below
            torch.onnx.export(
                model, example, out, dynamo=False, opset_version=OPSET,
                input_names=model.takes, output_names=[spec.name for spec in manifest.outputs],
                dynamic_axes=sizes,
            )  # fmt: skip
    except Exception as error:  # the exporter raises what it likes
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnsupported(f"the graph has no form in ONNX: {first:.300}") from error
    session = onnx_runtime.open_session(out, "cpu")[0]
    farthest = 0.0
    for asked, ours in _answered(manifest, files, [_asked(manifest, n) for n in _ROWS], samples):
        rows = _rows(asked)
        try:
            theirs = session.run([*ours], asked)
        except Exception as error:  # onnxruntime's errors share no base class
            raise ModelUnsupported(
                f"on {rows} rows the ONNX graph fails: a trace of this graph keeps sizes",
                hint=_WEIGHTS,
            ) from error
        farthest = max(
            farthest, _apart("ONNX graph", rows, ours, dict(zip(ours, theirs, strict=True)))
        )
    return farthest


class _Named(nn.Module):
    """A model whose inputs come in the manifest's order: parameters are 0-d float32 after them."""

    def __init__(self, manifest: Manifest, files: Files) -> None:
        super().__init__()
        self.takes = [spec.name for spec in manifest.inputs]
        self.takes += [spec.name for spec in manifest.parameters]
        self._gives = [spec.name for spec in manifest.outputs]
        self._graph: ExportedGraph | None = None
        if manifest.runtime.format == "torch.export":
            self._graph = ExportedGraph(pt2.read(files[manifest.runtime.entry]), "cpu")
            return
        if manifest.parameters:
            raise ModelUnsupported("run-time parameters of an architecture have no form in ONNX")
        self._architecture = safetensors_arch.read(manifest, files, "cpu")

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the manifest's order."""
        named = dict(zip(self.takes, given, strict=True))
        if self._graph is not None:
            return tuple(self._graph.run(named, None))
        answered = self._architecture.answer(named, {})
        return tuple(answered[name] for name in self._gives)


# ── SavedModel ───────────────────────────────────────────────────────────────────────────────────
def _saved_model(manifest: Manifest, files: Files, out: Path, samples: Path | None) -> float:
    with tempfile.TemporaryDirectory() as place:
        path, questions = Path(place) / "model.onnx", Path(place) / "samples.npz"
        _onnx(manifest, files, path, samples)
        model = onnx_runtime.read(path)
        if any(
            one.domain in ("", "ai.onnx") and one.version < _OPSET_OF_TENSORFLOW
            for one in model.opset_import
        ):
            onnx.save(onnx_opsets.upgraded(model), path)
        drawn = [_asked(manifest, n) for n in _ROWS]
        drawn += _on_thresholds(manifest, model)
        asked = list(_answered(manifest, files, drawn, samples))
        given = {f"{n}/{name}": array for n, (one, _) in enumerate(asked)
                 for name, array in one.items()}  # fmt: skip
        np.savez(questions, **given)  # type: ignore[arg-type]  # numpy's stub gives **kwds the type of allow_pickle
        found = frame.save(path, questions, out)
    return max(
        _apart("SavedModel", _rows(one), ours, {name: found.get(f"{n}/{name}") for name in ours})
        for n, (one, ours) in enumerate(asked)
    )


def _on_thresholds(manifest: Manifest, model: onnx.ModelProto) -> list[dict[str, Array]]:
    """Return rows that lie on the thresholds of trees and beside them, where a graph has trees."""
    spec = manifest.inputs[0]
    trees = [
        {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        for node in model.graph.node
        if node.op_type.startswith("TreeEnsemble")
    ]
    if not trees or len(manifest.inputs) > 1 or len(spec.shape) != 2:
        return []
    rows = np.asarray(spread.sample(spec, _TREE_ROWS))
    dice = np.random.default_rng(0)
    for tree in trees:
        at = np.asarray(tree.get("nodes_featureids", ()), np.int64)
        bounds = tree.get("nodes_values") or ()
        for name in {"nodes_values_as_tensor", "nodes_splits"} & tree.keys():
            bounds = onnx.numpy_helper.to_array(tree[name])
        for column in range(rows.shape[1]):
            found = np.asarray(bounds)[at == column] if len(bounds) == len(at) else np.zeros(0)
            if len(found):
                chosen = dice.choice(found, len(rows)).astype(rows.dtype)
                beside = [
                    np.nextafter(chosen, side, dtype=rows.dtype) for side in (-np.inf, np.inf)
                ]
                rows[:, column] = np.choose(dice.integers(0, 3, len(rows)), [chosen, *beside])
    if rows.dtype.kind == "f":  # TensorFlow takes subnormal numbers for zero
        rows[np.abs(rows) < np.finfo(rows.dtype).tiny] = 0
    return [{spec.name: rows}]


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────
def _asked(manifest: Manifest, rows: int) -> dict[str, Array]:
    asked = spread.samples(manifest, rows)
    return asked | {spec.name: np.ones((), np.float32) for spec in manifest.parameters}


def _answered(
    manifest: Manifest, files: Files, drawn: Sequence[dict[str, Array]], samples: Path | None
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield questions with the version's own answers: what is drawn, then the samples.

    Raises:
        InputInvalid: the samples are not of this model.
    """
    served = runtimes.load(manifest, files, manifest.model_root(), "cpu")
    parameters = {spec.name: 1.0 for spec in manifest.parameters}
    names = [spec.name for spec in manifest.inputs]
    questions = list(drawn)
    if samples is not None:
        with samples.open("rb") as file:
            given = npz.read(file, names=tuple(names))
        kinds = {name: array.dtype for name, array in drawn[0].items()}
        questions.append(
            {**drawn[0], **{name: array.astype(kinds[name]) for name, array in given.items()}}
        )
    for asked in questions:
        yield asked, served.run({name: asked[name] for name in names}, parameters)


def _rows(asked: Mapping[str, Array]) -> int:
    return max(len(array) if array.ndim else 1 for array in asked.values())


def _apart(
    what: str, rows: int, ours: Mapping[str, Array], theirs: Mapping[str, Array | None]
) -> float:
    """Return how far a file's answers are from the version's, at most.

    Raises:
        ModelUnsupported: farther than `CLOSE`, or of another shape; so another class is, too.
    """
    farthest = 0.0
    for name, wanted in ours.items():
        found = theirs[name]
        if found is None or found.shape != wanted.shape:
            shape = "no answer" if found is None else list(found.shape)
            raise ModelUnsupported(
                f"on {rows} rows output {name} of the {what} is {shape}, not {list(wanted.shape)}",
                hint=_WEIGHTS,
            )
        apart = np.abs(np.asarray(found, np.float64) - wanted) / (1 + np.abs(wanted))
        if not (apart <= CLOSE).all():
            raise ModelUnsupported(
                f"on {rows} rows output {name} of the {what} is another", hint=_WEIGHTS
            )
        farthest = max(farthest, float(apart.max(initial=0)))
    return farthest


# ── Weights ──────────────────────────────────────────────────────────────────────────────────────
def _safetensors(manifest: Manifest, files: Files, out: Path) -> float:
    path = files[manifest.runtime.entry]
    tensors: Mapping[str, Tensor]
    if manifest.runtime.format == "safetensors":
        tensors = safetensors_arch.read(manifest, files, "cpu").state_dict()
    elif manifest.runtime.format == "torch.export":
        tensors = pt2.read(path).state
    else:
        graph = onnx_runtime.read(path).graph
        arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        tensors = {
            name: torch.from_numpy(np.array(array))
            for name, array in arrays.items()
            if array.dtype.kind in "biuf"
        }
    if not tensors:
        raise ModelUnsupported("the model has no weights by name", hint="`--to onnx` has them all")
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, out)
    return 0.0


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.exporting")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=Path)
    given = parser.parse_args(arguments)
    try:
        device.configure("cpu")
        manifest = Manifest.parse((given.folder / "manifest.json").read_bytes())
        files = {entry.path: given.folder / "files" / entry.path for entry in manifest.files}
        print(json.dumps(export(manifest, files, given.to, given.out, given.samples)))
    except Exception as error:  # whoever asked is told why, in one place
        print(json.dumps(failure(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
