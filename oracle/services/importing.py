"""Makes a folder that can be published of what another library wrote, and says how well.

`worker.importing` opens the file in a process of its own: it is run, not called.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle import origins
from oracle.services.model_check import RunModule, asked

SUFFIX = "-onnx"  # of the folder that is made beside the original


@dataclass(frozen=True, slots=True)
class ImportedFolder:
    """A folder that can be published, and the report of `worker.importing` as JSON values."""

    folder: Path
    report: dict[str, Any]


def needed(source: Path) -> bool:
    """Whether operators do not run this file or folder as it is."""
    return origins.recognise(source) is not None


def imported(
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
    target = source.with_name((source.stem if source.is_file() else source.name) + SUFFIX)
    options = [] if samples is None else [f"--samples={samples.resolve()}"]
    options += [] if missing is None else [f"--missing={missing}"]
    return ImportedFolder(target, asked(run, "worker.importing", source, str(target), *options))


def describe(report: dict[str, Any]) -> str:
    """Return in a sentence what the conversion was held to."""
    if not report["rows"]:
        return (
            f"from {report['version']}: no library is at hand that answers it, compare it yourself"
        )
    return (
        f"from {report['version']}: the same classes on {report['rows']} rows, numbers within "
        f"{report['difference']:.0e}"
    )
