"""Compiles a float model's folder to an exact version's, in another process, and says how well.

`worker.exact` needs torch, which `oracle` never imports: it is run, not called.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.errors import PermanentError
from oracle.services.builders import Build, Update

SUFFIX = "-exact"  # of the folder that is made beside the model's


@dataclass(frozen=True, slots=True)
class CompiledFolder:
    """A folder that can be published, and `worker.exact.report` as JSON values."""

    folder: Path
    report: dict[str, Any]


def compile_exact(folder: Path, samples: Path | None, update: Update) -> CompiledFolder:
    """Compile `folder` into `<folder>-exact`.

    Args:
        folder: with model.json of a `torch.export` or ONNX model.
        samples: NPZ with inputs by name and optionally `labels`; `folder/samples.npz` by default.
        update: told of each step that is done.

    Raises:
        PermanentError: the compiler refuses; its words say what and where.
    """
    folder = folder.resolve()
    target = folder.with_name(folder.name + SUFFIX)
    options = () if samples is None else ("--samples", str(samples.resolve()))
    with Build("worker.exact", target, *options, source=folder) as build:
        build.wait(update)
    try:
        return CompiledFolder(target, json.loads(build.last_line))
    except ValueError as error:
        raise PermanentError(f"the compiler ended with {build.last_line!r:.200}") from error


def describe(report: dict[str, Any]) -> str:
    """Return in a sentence or two what the integers kept of the float model."""
    accuracy = report["accuracy"]
    kept = f"mean cosine {accuracy['mean_cosine']:.4f}, same class {accuracy['same_class']:.1%}"
    if accuracy["correct_exact"] is not None:
        kept = (
            f"{accuracy['correct_exact']:.1%} right, float {accuracy['correct_float']:.1%}; {kept}"
        )
    return (
        f"exact: {kept} on {accuracy['samples']} held-out samples; "
        f"{report['exact_bytes']:,} bytes, {report['size_ratio']:.2f} of float; "
        f"{sum(report['operators'].values())} operators, a proof at most {report['proof_bytes']:,} "
        f"bytes (about {report['proof_gas']:,} gas)"
    )
