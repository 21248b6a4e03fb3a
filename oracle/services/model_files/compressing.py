"""Smaller versions of a model, measured side by side: written and run in a process of their own.

`worker.compression` needs torch, which `oracle` never imports: it is run, not called.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from oracle.errors import (
    ConfigInvalid,
    DigestMismatch,
    InputInvalid,
    NotFound,
    PermanentError,
    TallystickError,
)
from oracle.protocol.manifest import Manifest
from oracle.services import folders, models
from oracle.services.builders import Build, Update
from oracle.services.folders import BytesProgress
from oracle.services.model_files import compiling
from oracle.services.model_files.model_check import break_even
from oracle.services.network import Network
from oracle.types import Amount, Bytes32

ORIGINAL = "original"
SUFFIX = "-compressed"  # of the folder of all versions, beside the model's
_PER = (
    1_000  # rows that a break-even fee is told of: that of one is often below the smallest amount
)
_ERRORS: Mapping[str, type[TallystickError]] = {
    one.__name__: one for one in (ConfigInvalid, DigestMismatch, NotFound)
}


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """What the compressor is told; see `worker.compression`.

    Attributes:
        methods: names; all for this kind of model when empty.
        student: of distillation: `architecture:option=number`; "" = half of the model.
        steps: of tuning; 0 tunes nothing.
        missing: of trees: XGBoost's `missing=`.
    """

    methods: tuple[str, ...] = ()
    student: str = ""
    steps: int | None = None
    missing: float | None = None

    def words(self) -> list[str]:
        """Return them as a command line."""
        given = {
            "--student": self.student or None,
            "--steps": self.steps,
            "--missing": self.missing,
        }
        return [
            *(f"--method={name}" for name in self.methods),
            *(f"{name}={value}" for name, value in given.items() if value is not None),
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its error, of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SmallerVersion:
    """One row of the table; the original is the first (`worker.compression.table`).

    `break_even`: what 1,000 rows cost an operator, his part of the fee being all of it.
    """

    method: str
    folder: Path
    bytes: int
    accuracy: Figure | None
    agreement: Figure
    seconds: float
    exact: bool
    exact_why: str
    kept: str
    others: dict[str, float]
    refused: str
    break_even: Amount | None = None


@dataclass(frozen=True, slots=True)
class Compression:
    """What was found.

    Attributes:
        untuned_why: why nothing was tuned that might have been, by this run; "" where it was.
        chosen: the folder that was asked for, to publish.
    """

    name: str
    format: str
    kind: str
    tuned_with: int
    chosen_with: int
    reported_on: int
    rows: tuple[SmallerVersion, ...]
    untuned_why: str = ""
    chosen: Path | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The published version that a folder holds."""

    model_id: int
    version: int
    manifest_digest: Bytes32
    model_root: Bytes32

    def words(self) -> list[str]:
        """Return it as a command line."""
        return [
            f"--origin=0x{self.manifest_digest.hex()}", f"--root=0x{self.model_root.hex()}",
            f"--version={self.model_id}@{self.version}",
        ]  # fmt: skip


def origin_of(network: Network, text: str) -> Origin:
    """Return what the chain says of MODEL or MODEL@VERSION.

    Raises:
        NotFound: no such model or version.
    """
    selected = models.select(network, text)
    version = models.current_version(network, selected)
    record = models.record_of(network, selected.model_id, version)
    return Origin(selected.model_id, version, record.manifest_digest, record.model_root)


def compress(
    source: Path,
    samples: Path,
    options: CompressOptions,
    update: Update,
    hashing: BytesProgress,
    *,
    out: Path | None = None,
    choose: str = "",
    origin: Origin | None = None,
    operator_bps: int,
    machine_hour: Amount,
) -> Compression:
    """Measure smaller versions of a model; each is a folder in `out` that can be published.

    A run that was stopped goes on after the last version that was complete.

    Args:
        source: a folder with model.json, or a file of trees.
        samples: NPZ, inputs by name and optionally `labels`.
        out: `<source>-compressed` by default.
        choose: copy the version of this method to `<source>-<method>`, and measure only it.
        origin: the published version that `source` holds.
        operator_bps, machine_hour: of the break-even fee.

    Raises:
        NotFound: no such model or samples.
        InputInvalid: options, samples or model do not fit; `out` holds something else.
        DigestMismatch: `origin` has other weights.
        PermanentError: the compressor ended without a word.
    """
    if not source.exists():
        raise NotFound(f"there is no {source}", hint="give a folder, or a file of trees")
    source = source.resolve()
    stem = source.stem if source.is_file() else source.name
    target = (out or source.with_name(stem + SUFFIX)).resolve()
    chosen = None
    if choose:
        options = replace(options, methods=(choose,))
        chosen = source.with_name(f"{stem}-{choose}")
        if chosen.exists():
            raise InputInvalid(f"there is {chosen} already", hint="move it away, or remove it")
    words = [f"--samples={samples.resolve()}", *options.words()]
    words += origin.words() if origin is not None else []
    with _prepared(source, hashing) as place:
        found = TypeAdapter(Compression).validate_python(_asked(place, target, words, update))
    rows = tuple(_priced(row, operator_bps, machine_hour) for row in found.rows)
    if chosen is not None:
        shutil.copytree(target / choose, chosen)
    return replace(found, rows=rows, chosen=chosen)


@contextmanager
def _prepared(source: Path, hashing: BytesProgress) -> Iterator[Path]:
    """Give the compressor what it takes: trees as they are, else a manifest beside the files."""
    if compiling.only_exact(source):
        yield source
        return
    draft: Manifest = folders.read(source, hashing)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "manifest.json").write_bytes(draft.to_bytes())
        (Path(place) / "files").symlink_to(source)
        yield Path(place)


def _asked(place: Path, target: Path, words: list[str], update: Update) -> Any:
    with Build("worker.compression", target, *words, source=place) as build:
        try:
            build.wait(update)
        except PermanentError as error:
            raise _named(build.last_line, error) from None
    return json.loads(build.last_line)


def _named(line: str, error: PermanentError) -> TallystickError:
    """Return the error that the compressor printed; how it ended where it printed none."""
    try:
        said = json.loads(line)
        return _ERRORS.get(said["error"], InputInvalid)(said["message"], hint=said["hint"])
    except (ValueError, KeyError, TypeError):
        return error


def _priced(row: SmallerVersion, operator_bps: int, machine_hour: Amount) -> SmallerVersion:
    if row.refused:
        return row
    return replace(row, break_even=break_even(_PER * row.seconds, operator_bps, machine_hour))
