"""`python -m worker.exporting FOLDER --to=FORMAT --out=FILE`: a model as a file of other tools.

What `tallystick model export` runs. FOLDER holds `manifest.json` and `files/`. Prints what was
written as one JSON object, or `{"error", "message", "hint"}` with exit code 1.

```
 torch.export, architecture ──trace──▶ ONNX ──answers as the version does?──▶ FILE
 ONNX                       ──as it is─▶
 any of the three           ──weights──▶ safetensors
```
"""

import argparse
import json
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from oracle.errors import InputInvalid
from oracle.protocol.manifest import Manifest, TensorSpec
from worker import device, runtimes, spread
from worker.describe import failure
from worker.errors import ModelUnsupported
from worker.runtimes import onnx as onnx_runtime
from worker.runtimes import pt2, safetensors_arch
from worker.runtimes.base import Files, Runtime
from worker.runtimes.graph import ExportedGraph

FORMATS = ("onnx", "safetensors")
OPSET = 18
CLOSE = 1e-5  # what ONNX may differ from the version, beside its own size
_ROWS = (1, 3)


def export(manifest: Manifest, files: Files, to: str, out: Path) -> dict[str, Any]:
    """Write a model in another format; return its bytes and how far its answers are from ours.

    Args:
        to: one of `FORMATS`.

    Raises:
        InputInvalid: an exact version, or a format that is not known.
        ModelUnsupported: it has no such form, or its answers there are others.
        ModelRefused, ModelFailed: see `runtimes.load` and `Runtime.run`.
    """
    if manifest.exact is not None:
        raise InputInvalid(
            "an exact version is integers, which no other format holds",
            hint="export the float version that it was compiled from",
        )
    if to not in FORMATS:
        raise InputInvalid(f"format {to:.40} is not known", hint=f"one of {', '.join(FORMATS)}")
    draft = out.with_name(out.name + ".part")
    try:
        farthest = (_onnx if to == "onnx" else _safetensors)(manifest, files, draft)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return {"path": str(out), "bytes": out.stat().st_size, "farthest": farthest}


# ── ONNX ─────────────────────────────────────────────────────────────────────────────────────────
def _onnx(manifest: Manifest, files: Files, out: Path) -> float:
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
    served = runtimes.load(manifest, files, manifest.model_root(), "cpu")
    return _farthest(manifest, served, onnx_runtime.open_session(out, "cpu")[0])


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


def _asked(manifest: Manifest, rows: int) -> dict[str, "np.ndarray[Any, Any]"]:
    asked = spread.samples(manifest, rows)
    return asked | {spec.name: np.ones((), np.float32) for spec in manifest.parameters}


def _farthest(manifest: Manifest, served: Runtime, session: Any) -> float:
    """Return how far the graph's answers are from the version's, at most.

    Raises:
        ModelUnsupported: farther than `CLOSE`.
    """
    farthest = 0.0
    parameters = {spec.name: 1.0 for spec in manifest.parameters}
    for rows in _ROWS:
        asked = _asked(manifest, rows)
        ours = served.run({spec.name: asked[spec.name] for spec in manifest.inputs}, parameters)
        try:
            theirs = session.run([*ours], asked)
        except Exception as error:  # onnxruntime's errors share no base class
            raise ModelUnsupported(
                f"on {rows} rows the ONNX graph fails: a trace of this graph keeps sizes",
                hint="`--to safetensors` writes the weights alone",
            ) from error
        for (name, wanted), found in zip(ours.items(), theirs, strict=True):
            apart = np.abs(np.asarray(found, np.float64) - wanted) / (1 + np.abs(wanted))
            if found.shape != wanted.shape or not (apart <= CLOSE).all():
                raise ModelUnsupported(
                    f"on {rows} rows output {name} of the ONNX graph is another",
                    hint="`--to safetensors` writes the weights alone",
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
    given = parser.parse_args(arguments)
    try:
        device.configure("cpu")
        manifest = Manifest.parse((given.folder / "manifest.json").read_bytes())
        files = {entry.path: given.folder / "files" / entry.path for entry in manifest.files}
        print(json.dumps(export(manifest, files, given.to, given.out)))
    except Exception as error:  # whoever asked is told why, in one place
        print(json.dumps(failure(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
