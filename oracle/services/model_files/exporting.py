"""A published model as a file of other tools: its files are fetched, verified and converted.

```
 manifest ─▶ files (cache, each under its SHA-256) ─▶ worker.exporting (its own process) ─▶ FILE
```
A SavedModel is a folder.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from oracle.errors import InputInvalid, NotFound
from oracle.services import models, quoting
from oracle.services.folders import BytesProgress
from oracle.services.model_files import model_check
from oracle.services.model_files.model_check import RunModule
from oracle.services.network import Network


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A file or folder that was written."""

    path: Path
    bytes: int  # of all its files
    farthest: float  # of its answers from the version's, relative to 1 + their size


def export(
    network: Network,
    run: RunModule,
    model: str,
    *,
    to: str,
    out: Path,
    samples: Path | None = None,
    progress: BytesProgress,
) -> ExportedModel:
    """Write a version as ONNX or a SavedModel, or its weights as safetensors.

    Args:
        run: `oracle.agents.worker_process.run_module` with its settings.
        model: MODEL or MODEL@VERSION.
        to: "onnx", "saved-model" or "safetensors".
        samples: an NPZ with inputs by name, to compare beside what is drawn.

    Raises:
        NotFound: no such model or version, no samples there, or no folder for `out`.
        InputInvalid: `out` exists, or the version has no such form.
        DigestMismatch, Unavailable: its files are not there as they were published.
    """
    if out.exists():
        raise InputInvalid(f"there is {out} already", hint="name another file, or move it away")
    if not out.absolute().parent.is_dir():
        folder = out.absolute().parent
        raise NotFound(f"there is no folder {folder}", hint=f"make it: mkdir -p {folder}")
    if samples is not None and not samples.is_file():
        raise NotFound(f"there is no file {samples}")
    selected = models.select(network, model)
    version = models.current_version(network, selected)
    manifest = models.manifest(network, selected.model_id, version)
    with tempfile.TemporaryDirectory() as place:
        files = Path(place) / "files"
        (Path(place) / "manifest.json").write_bytes(manifest.to_bytes())
        for entry in manifest.files:
            link = files / entry.path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(quoting.fetch_file(network, entry, progress).resolve())
        words = [f"--to={to}", f"--out={out.resolve()}"]
        words += [] if samples is None else [f"--samples={samples.resolve()}"]
        answer = model_check.asked(
            run, "worker.exporting", Path(place), *words, refusal="the version cannot be exported"
        )
    return TypeAdapter(ExportedModel).validate_python(answer)
