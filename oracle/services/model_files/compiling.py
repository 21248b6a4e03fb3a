"""Makes a folder to publish of a model that is not served as it is: compiled, or converted.

```
 float model, trees         ─ worker.exact ─────▶ NAME-exact   integers
 another library's file     ─ worker.importing ─▶ NAME-onnx    floats
```
Both need what `oracle` never imports: they are run, not called.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle import origins
from oracle.errors import NotFound, PermanentError
from oracle.exact.ranks import LIBRARIES
from oracle.services.builders import Build, Update
from oracle.services.folders import DESCRIPTION
from oracle.services.model_files.model_check import RunModule, asked

SUFFIX, ONNX_SUFFIX = "-exact", "-onnx"  # of the folder that is made beside the model's
_SHOWN = 10  # operators of a table


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


def only_exact(source: Path) -> bool:
    """Whether a file or folder holds trees, which the compiler and the compressor take alone."""
    if source.is_file():
        return source.suffix in LIBRARIES
    try:
        about = json.loads((source / DESCRIPTION).read_text())
        return about["runtime"]["format"] in LIBRARIES.values()
    except (OSError, ValueError, KeyError, TypeError):
        return False  # whoever reads the folder says what is wrong with it


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
    on = f"on {accuracy['samples']} held-out samples"
    if accuracy["drawn"]:
        on = f"on {accuracy['samples']} rows that were drawn"
    elif not accuracy["held_out"]:
        on = f"on your {accuracy['samples']} samples"
    return (
        f"exact: {kept} {on}; "
        f"{report['exact_bytes']:,} bytes, {report['size_ratio']:.2f} of float; "
        f"{sum(report['operators'].values())} operations, "
        f"a proof at most {report['proof_bytes']:,} bytes (about {report['proof_gas']:,} gas)"
    )


def most_clamped(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the operators whose values are clamped most, on the samples of the report.

    Each is its place and name, how many of how many values, and their share; at most ten.
    """
    worst = sorted(report["clamped"], key=lambda one: -one["clamped"] / one["values"])[:_SHOWN]
    return [
        (
            f"{one['op']} {one['opcode']}",
            f"{one['clamped']:,} of {one['values']:,}",
            f"{one['clamped'] / one['values']:.3%}",
        )
        for one in worst
    ]


# ── Conversion ──────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class ImportedFolder:
    """A folder that can be published, and the report of `worker.importing` as JSON values."""

    folder: Path
    report: dict[str, Any]


def needs_import(source: Path) -> bool:
    """Whether operators do not run this file or folder as it is."""
    return origins.recognise(source) is not None


def import_as_onnx(
    run: RunModule, source: Path, samples: Path | None = None, missing: float | None = None
) -> ImportedFolder:
    """Convert a file, or the original that a folder's model.json names.

    The folder is `<name without suffix>-onnx`, beside it.

    Args:
        run: `oracle.agents.worker_process.run_module` with its settings.
        samples: NPZ with inputs by name, that the converted model is held to.
        missing: XGBoost's `missing=`, which no file keeps.

    Raises:
        InputInvalid: it cannot be converted, or answers otherwise than its own library.
    """
    source = source.resolve()
    target = source.with_name((source.stem if source.is_file() else source.name) + ONNX_SUFFIX)
    options = [] if samples is None else [f"--samples={samples.resolve()}"]
    options += [] if missing is None else [f"--missing={missing}"]
    return ImportedFolder(target, asked(run, "worker.importing", source, str(target), *options))


def describe_import(report: dict[str, Any]) -> str:
    """Return in a sentence what the conversion was held to."""
    if not report["rows"]:
        return (
            f"from {report['version']}: no library is at hand that answers it, compare it yourself"
        )
    return (
        f"from {report['version']}: the same classes on {report['rows']} rows, numbers within "
        f"{report['difference']:.0e}"
    )
