"""`python -m worker.exporting FOLDER --to=FORMAT --out=FILE`: a model as a file of other tools.

What `tallystick model export` runs. FOLDER holds `manifest.json` and `files/`. Prints what was
written as one JSON object, or `{"error", "message", "hint"}` with exit code 1.

```
 torch.export, architecture ──graph──▶ ONNX ──answers as the version does?──▶ FILE
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor

from oracle.errors import InputInvalid
from oracle.protocol import npz, text
from oracle.protocol.manifest import Manifest
from worker import device, exporting_onnx, runtimes, spread
from worker.describe import failure
from worker.errors import ModelFailed, ModelUnsupported
from worker.importing import frame, onnx_opsets
from worker.runtimes import onnx as onnx_runtime
from worker.runtimes import pt2, safetensors_arch
from worker.runtimes.base import Array, Files

FORMATS = ("onnx", "saved-model", "safetensors")
CLOSE = 1e-5  # what a file may differ from the version, beside its own size
_WEIGHTS = "`--to safetensors` writes the weights alone"
_ROWS = (1, 3)
_LENGTHS = (1, 5, 40)  # of open sizes, beside that of `spread`; with two rows
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
        ConfigInvalid: TensorFlow, or onnxscript, is not installed.
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
    exporting_onnx.write(manifest, files, _asked(manifest, _ROWS[-1]), out)
    session = onnx_runtime.open_session(out, "cpu")[0]
    farthest = 0.0
    for asked, ours in _answered(manifest, files, samples):
        try:
            theirs = session.run([*ours], asked)
        except Exception as error:  # onnxruntime's errors share no base class
            raise ModelUnsupported(
                f"{_sizes(asked)} the ONNX graph fails: it has a fixed size there",
                hint=_WEIGHTS,
            ) from error
        found = dict(zip(ours, theirs, strict=True))
        farthest = max(farthest, _apart("ONNX graph", asked, ours, found))
    return farthest


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
        asked = list(_answered(manifest, files, samples, _on_thresholds(manifest, model)))
        given = {f"{n}/{name}": array for n, (one, _) in enumerate(asked)
                 for name, array in one.items()}  # fmt: skip
        np.savez(questions, **given)  # type: ignore[arg-type]  # numpy's stub gives **kwds the type of allow_pickle
        found = frame.save(path, questions, out)
    return max(
        _apart("SavedModel", one, ours, {name: found.get(f"{n}/{name}") for name in ours})
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
def _asked(manifest: Manifest, rows: int, length: int = spread.LENGTH) -> dict[str, Array]:
    asked = spread.samples(manifest, rows, length)
    if mask := runtimes.mask_of(manifest):
        asked[mask][0, length // 2 + 1 :] = 0
    return asked | {spec.name: np.ones((), np.float32) for spec in manifest.parameters}


def _answered(
    manifest: Manifest, files: Files, samples: Path | None, more: Sequence[dict[str, Array]] = ()
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield questions with the version's own answers: drawn ones, `more`, the owner's samples.

    Raises:
        InputInvalid: the samples are not of this model.
    """
    served = runtimes.load(manifest, files, manifest.model_root(), "cpu")
    parameters = {spec.name: 1.0 for spec in manifest.parameters}
    names = [spec.name for spec in manifest.inputs]

    def answer(asked: Mapping[str, Array]) -> dict[str, Array]:
        return served.run({name: asked[name] for name in names}, parameters)

    questions = [*(_asked(manifest, rows) for rows in _ROWS), *more]
    if samples is not None:
        with samples.open("rb") as file:
            given = npz.read(file, names=tuple(names))
        kinds = {name: array.dtype for name, array in questions[0].items()}
        questions.append(
            {**questions[0], **{name: array.astype(kinds[name]) for name, array in given.items()}}
        )
    for asked in questions:
        yield asked, answer(asked)
    if not any(None in spec.shape[1:] for spec in manifest.inputs):
        return
    for length in _LENGTHS:
        asked = _asked(manifest, 2, length)
        try:
            ours = answer(asked)
        except ModelFailed:  # of a window that is longer, say: the version does not answer either
            continue
        yield asked, ours


def _sizes(asked: Mapping[str, Array]) -> str:
    """Return what was asked, to begin a refusal with."""
    return f"for {', '.join(f'{name} {list(array.shape)}' for name, array in asked.items())}"


def _apart(
    what: str,
    asked: Mapping[str, Array],
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array | None],
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
                f"{_sizes(asked)} output {name} of the {what} is {shape}, not {list(wanted.shape)}",
                hint=_WEIGHTS,
            )
        apart = np.abs(np.asarray(found, np.float64) - wanted) / (1 + np.abs(wanted))
        if not (apart <= CLOSE).all():
            raise ModelUnsupported(
                f"{_sizes(asked)} output {name} of the {what} is another", hint=_WEIGHTS
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
