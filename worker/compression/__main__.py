"""`python -m worker.compression SOURCE OUT --samples F`: the table of a model's smaller versions.

What `tallystick model compress` runs: a process of its own, as oracle never imports torch. SOURCE
is a folder with `manifest.json` and `files/`, or trees (a file, or a folder with model.json).
Prints `<what> <done>/<total>` lines, then the table as one JSON object, or `{"error", "message",
"hint"}` with exit code 1.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from oracle.errors import DigestMismatch, InputInvalid, TallystickError
from oracle.exact.ranks import LIBRARIES
from oracle.protocol.manifest import DerivedFrom, Manifest
from oracle.types import Bytes32
from worker.compression import samples, table
from worker.compression.distil import Student
from worker.compression.methods import Method
from worker.compression.subjects import NetworkSubject, Subject, TreesSubject
from worker.compression.table import CompressionTable, Say
from worker.describe import failure
from worker.exact.__main__ import described
from worker.exact.trees import importer

STEPS = 300  # of tuning; distillation takes four times as many
MANIFEST, FILES = "manifest.json", "files"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for.

    Attributes:
        methods: names; those for the kind of model when empty.
        student: of distillation, as `Student.parse` reads it; "" = half of the model.
        steps: of tuning; 0 tunes nothing.
        missing: of trees: XGBoost's `missing=`.
        origin: manifest digest of the version that the model was published as; "" = not named.
        root: its model root, which the model must have.
        version: where the registry has it, MODEL@VERSION.
    """

    methods: tuple[str, ...] = ()
    student: str = ""
    steps: int = STEPS
    missing: float | None = None
    origin: str = ""
    root: str = ""
    version: str = ""

    def parent(self, root: Bytes32) -> DerivedFrom:
        """Return what smaller versions of a model say of it, without a method.

        Raises:
            DigestMismatch: the named version has other weights than `root`.
        """
        if not self.origin:
            return DerivedFrom(model_root=root, method="")
        if self.root != f"0x{root.hex()}":
            raise DigestMismatch(
                f"the model has the weights 0x{root.hex()}, the version {self.root}",
                hint="name the version that was published from this folder, or leave --of out",
            )
        model_id, _, version = self.version.partition("@")
        digest = Bytes32(bytes.fromhex(self.origin.removeprefix("0x")))
        return DerivedFrom(
            model_root=root, method="", manifest_digest=digest,
            model_id=int(model_id), version=int(version),
        )  # fmt: skip


def compress(source: Path, out: Path, given: Path, options: Options, say: Say) -> CompressionTable:
    """Make the table of a model.

    Raises:
        InputInvalid (or a subclass), NotFound: samples, methods, options or `out` do not fit.
        NotCompressible: the only method makes nothing of the model.
        DigestMismatch: the named version has other weights.
        ModelRefused, ModelFailed: the model is not served.
    """
    student = Student.parse(options.student) if options.student else None
    if options.steps < 0:
        raise InputInvalid(f"{options.steps} steps of tuning", hint="0 tunes nothing")
    samples.require(given)
    described_by = source / MANIFEST
    trees = not described_by.is_file()
    if trees:
        if student is not None:
            raise InputInvalid("--student is for networks, and these are trees")
        about, folder = described(source)
        entry = folder / about["runtime"]["entry"]
        key = _key(given, options, entry)
        model = importer.read(entry, options.missing)
        about = {**about, **importer.described(model, about)}
        if not out.exists() or not any(out.iterdir()):
            importer.compile_model(model, entry.stat().st_size)  # refuses what it reads wrongly
        table.prepare(out, key)
        subject: Subject = TreesSubject(model.ensemble, about, out / table.ORIGINAL, options.parent)
    else:
        if options.missing is not None:
            raise InputInvalid("--missing is for files of trees")
        manifest = Manifest.parse(described_by.read_bytes())
        files = {one.path: source / FILES / one.path for one in manifest.files}
        subject = NetworkSubject(
            manifest, files, (source / FILES).resolve(), student, options.parent
        )
        key = _key(given, options, *files.values())
    found = samples.read(given, subject.manifest)
    chosen = [Method.parse(n, subject.known) for n in options.methods or subject.known]
    if not trees:
        table.prepare(out, key)
    return table.make(subject, found, chosen, out, steps=options.steps, say=say)


def _key(given: Path, options: Options, *files: Path) -> str:
    """Return what results of an earlier run must have been made from to be gone on with."""
    digest = hashlib.sha256()
    told = {**asdict(options), "methods": (), "form": table.FORM}  # others may be added
    digest.update(json.dumps(told, sort_keys=True).encode())
    for path in (given, *files):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.compression", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--samples", type=Path, required=True, help="NPZ: inputs, labels")
    parser.add_argument("--method", action="append", default=[], help="may be repeated")
    parser.add_argument("--student", default="", help="architecture:option=number")
    parser.add_argument("--steps", type=int, default=STEPS, help="of tuning")
    parser.add_argument("--missing", type=float, help=f"of {', '.join(LIBRARIES)}: XGBoost's")
    parser.add_argument("--origin", default="", help="manifest digest of the original version")
    parser.add_argument("--root", default="", help="model root of the original version")
    parser.add_argument("--version", default="", help="MODEL@VERSION of the original")
    told = parser.parse_args(argv)
    options = Options(
        tuple(told.method), told.student, told.steps, told.missing, told.origin, told.root,
        told.version,
    )  # fmt: skip
    try:
        found = compress(told.source, told.out, told.samples, options, _print)
    except TallystickError as error:
        print(json.dumps(failure(error)), flush=True)
        return 1
    print(json.dumps(found.to_json()))
    return 0


def _print(what: str, done: int, total: int) -> None:
    print(f"{what} {done}/{total}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
