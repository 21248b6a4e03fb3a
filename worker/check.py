"""Runs a model as an operator will, before it is published: does it do what its manifest says?

`python -m worker.check FOLDER` reads `manifest.json` and `files/`. It loads the model, runs samples
at batch 1 and 8, compares names, dtypes, shapes and bytes with the manifest, and prints what it
measured as one JSON object (`oracle.services.model_files.model_check`), or `{"error", "message",
"hint"}` with exit code 1. What the file itself says stands in the hint, so that it can be copied.
Before, lines that begin with `PROGRESS_LINE` say how far it has come.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from oracle.config import PROGRESS_LINE
from oracle.errors import InputInvalid
from oracle.exact import form
from oracle.exact.form import Form
from oracle.protocol.manifest import Manifest
from oracle.protocol.shapes import TensorSpec
from oracle.protocol.tensor import DTYPES
from oracle.types import ZERO32
from worker import batching, describe, device, runtimes, spread
from worker.errors import OutputInvalid, OutputTooLarge
from worker.runtimes.base import Array, Files, Runtime

SHOWN = 6  # numbers of an output


def check(
    manifest: Manifest, files: Files, say: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Return what a model takes, gives and needs.

    Args:
        say: is told how far it has come, where that takes minutes.

    Raises:
        ModelRefused (or a subclass): no worker would load it.
        ModelFailed, OutputInvalid, OutputTooLarge: it does not do what the manifest says.
    """
    kind = device.choose()
    device.configure(kind)
    began = time.perf_counter()
    root = manifest.model_root()
    if manifest.exact is not None:
        from oracle.exact import version  # noqa: PLC0415 - float models need no program

        root = version.read(manifest, dict(files)).program.model_root
    runtime = runtimes.load(manifest, files, root, kind)
    loaded = time.perf_counter() - began
    most = spread.ROWS if batching.can_batch(manifest) and manifest.exact is None else 1
    while most > 1 and _too_long(manifest, most):
        most //= 2  # nobody can ask so many rows at once
    made = form.of(manifest, lambda entry: files[entry.path])
    runs = [_run(manifest, runtime, made, rows) for rows in dict.fromkeys((1, most))]
    return {
        "name": manifest.name,
        "format": manifest.runtime.format,
        "device": kind,
        "load_seconds": loaded,
        "runs": [run for run, _ in runs],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "spread": 0 if manifest.exact is not None else spread.measure(manifest, runtime, say=say),
        "inputs": [_shown(s, spread.samples(manifest, 1)[s.name]) for s in manifest.inputs],
        "outputs": [_shown(spec, runs[0][1][spec.name]) for spec in manifest.outputs],
    }


def _too_long(manifest: Manifest, rows: int) -> bool:
    return manifest.output_size(spread.samples(manifest, rows)) > manifest.max_output_bytes


def _run(
    manifest: Manifest, runtime: Runtime, version: Form, rows: int
) -> tuple[dict[str, float], dict[str, Array]]:
    """Answer so many rows as the pipeline does; return what it took and the answer."""
    samples = spread.samples(manifest, rows)
    inputs = version.decode_inputs(version.encode_inputs(samples))
    params = manifest.unpack_params(ZERO32)
    runtime.run(inputs, params)  # the first run pays for what later ones do not
    began = time.perf_counter()
    outputs = runtime.run(inputs, params)
    seconds = time.perf_counter() - began
    if manifest.exact is None:
        _compare(manifest, outputs, rows)
    try:
        data = version.encode_outputs(outputs)
    except InputInvalid as error:
        raise OutputInvalid(f"on {rows} rows the model's {error}", hint=error.hint) from error
    if rows == 1 and len(data) > manifest.max_output_bytes:
        raise OutputTooLarge(
            f"the answer to one row has {len(data)} bytes, max_output_bytes is "
            f"{manifest.max_output_bytes}",
            hint="give fewer numbers: an operator may have to post all of them on chain",
        )
    taken = {"rows": rows, "seconds": seconds, "output_bytes": len(data)}
    return taken, version.decode_outputs(data)


def _compare(manifest: Manifest, outputs: dict[str, Array], rows: int) -> None:
    """Refuse an answer that is not what the manifest names; say what to write instead."""
    for spec in manifest.outputs:
        if spec.name not in outputs:
            raise OutputInvalid(
                f"the model gives no output {spec.name}", hint=f"it gives {', '.join(outputs)}"
            )
        found = outputs[spec.name]
        dtype = next(n for n, d in DTYPES.items() if d == found.dtype)
        fits = len(found.shape) == len(spec.shape) and all(
            want in (None, have) for have, want in zip(found.shape, spec.shape, strict=True)
        )
        if fits and dtype == spec.dtype:
            continue
        shape = [None if n == 0 and size == rows else size for n, size in enumerate(found.shape)]
        right = json.dumps({"name": spec.name, "dtype": dtype, "shape": shape})
        raise OutputInvalid(
            f"on {rows} rows output {spec.name} is {dtype} {list(found.shape)}, model.json says "
            f"{spec}",
            hint=f"write {right} in outputs",
        )


def _shown(spec: TensorSpec, array: Array) -> dict[str, Any]:
    first = [value.item() for value in np.ravel(array)[:SHOWN]]
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(array.shape), "first": first}


def main(folder: Path) -> int:
    """Print what a model in a folder does, or what is wrong with it; return the exit code."""
    manifest = Manifest.parse((folder / "manifest.json").read_bytes())
    files = {entry.path: folder / "files" / entry.path for entry in manifest.files}
    try:
        print(json.dumps(check(manifest, files, _say)))
    except Exception as error:  # whoever asked is told why, in one place
        print(json.dumps({**describe.failure(error), **_proposed(manifest, files)}))
        return 1
    return 0


def _say(text: str) -> None:
    print(PROGRESS_LINE + text, flush=True)


def _proposed(manifest: Manifest, files: Files) -> dict[str, Any]:
    """Return what the file itself says, when it can be read."""
    try:
        said = describe.describe(files[manifest.runtime.entry])
    except Exception:  # the error that is reported already says why
        return {}
    return {"inputs": said["inputs"], "outputs": said["outputs"]}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
