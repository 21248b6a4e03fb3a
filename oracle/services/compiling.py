"""Compiles a float model to an exact version's folder, in another process, and says how well.

`worker.exact` needs torch, which `oracle` never imports: it is run, not called.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.errors import NotFound, PermanentError
from oracle.services.builders import Build, Update

SUFFIX = "-exact"  # of the folder that is made beside the model's


@dataclass(frozen=True, slots=True)
class CompiledFolder:
    """A folder that can be published, and `worker.exact.report` as JSON values."""

    folder: Path
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What the compiler is told; None leaves the choice to it.

    Attributes:
        samples: NPZ with inputs by name and optionally `labels`; `samples.npz` of the folder.
        min_agreement: with the float model on held-out samples, 0 to 1.
        missing: of trees: XGBoost's `missing=`, which no file keeps.
        answer: of trees: `prediction`, `margin` or `class`.
    """

    samples: Path | None = None
    min_agreement: float | None = None
    missing: float | None = None
    answer: str | None = None

    def words(self) -> list[str]:
        """Return them as a command line."""
        given = {
            "--samples": None if self.samples is None else self.samples.resolve(),
            "--min-agreement": self.min_agreement,
            "--missing": self.missing,
            "--answer": self.answer,
        }
        return [f"{name}={value}" for name, value in given.items() if value is not None]


def compile_exact(source: Path, update: Update, options: CompileOptions) -> CompiledFolder:
    """Compile a folder into `<folder>-exact`, a file of trees into `<file without suffix>-exact`.

    Args:
        source: a folder with model.json (torch.export, ONNX, trees), or a file of trees.
        update: told of each step that is done.

    Raises:
        NotFound: there is no such file or folder.
        PermanentError: the compiler refuses; its words say what and where.
    """
    if not source.exists():
        raise NotFound(f"there is no {source}", hint="give a folder, or a file of trees")
    source = source.resolve()
    target = source.with_name((source.stem if source.is_file() else source.name) + SUFFIX)
    with Build("worker.exact", target, *options.words(), source=source) as build:
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
    of = "rows that were drawn" if accuracy["drawn"] else "held-out samples"
    return (
        f"exact: {kept} on {accuracy['samples']} {of}; "
        f"{report['exact_bytes']:,} bytes, {report['size_ratio']:.2f} of float; "
        f"{sum(report['operators'].values())} operations, "
        f"a proof at most {report['proof_bytes']:,} bytes (about {report['proof_gas']:,} gas)"
    )
