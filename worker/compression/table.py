"""The table: every method's smaller version, written, served and measured; one row each.

```
 OUT/compression.json   what is compressed with which samples      OUT/rows/METHOD.json   one row
 OUT/METHOD/            a folder to publish                        OUT/original/          of trees
```
A row is written when its folder is complete. A run that was stopped goes on after the last one. A
folder that is gone is made again, and one that was changed is not overwritten.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from oracle import whole_file
from oracle.errors import InputInvalid, TallystickError
from oracle.protocol.manifest import Manifest
from worker import device
from worker.compression import folder, measure, samples
from worker.compression.measure import Interval, Kind, Served
from worker.compression.methods import Method, NotCompressible
from worker.compression.samples import Samples, Split
from worker.compression.subjects import Lesson, Subject
from worker.exact.__main__ import build
from worker.runtimes.base import Array, Files

ORIGINAL = "original"
MARK, ROWS = "compression.json", "rows"
FORM = 2  # of the files of rows
_COMPILED = 32  # samples of either kind that `--exact` is tried with
Say = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class MeasuredVersion:
    """One version of the table.

    Attributes:
        bytes: of its weights, program and thresholds on disk.
        accuracy: on samples that no method saw; None where there are no labels.
        agreement: with the original, on the same samples.
        seconds: median time of one row, on this machine.
        exact: whether `--exact` compiles it; `exact_why` says why not.
        kept: which candidate was kept (`tuned`, `untuned`, `first`, `chosen`; "" = the only one).
        others: what every candidate scored on the samples to choose with.
        refused: why the method makes nothing of this model; all figures are 0 then.
    """

    method: str
    folder: str
    bytes: int
    accuracy: Interval | None
    agreement: Interval
    seconds: float
    exact: bool
    exact_why: str
    kept: str
    others: dict[str, float]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class _KeptRow:
    """A row on disk, and the manifest digest of the folder that was measured."""

    row: MeasuredVersion
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class CompressionTable:
    """What `model compress` found.

    `untuned_why`: why nothing was tuned that might have been; "" where it was, or was not asked.
    """

    name: str
    format: str
    kind: Kind
    tuned_with: int  # samples
    chosen_with: int
    reported_on: int
    rows: tuple[MeasuredVersion, ...]
    untuned_why: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def prepare(out: Path, key: str) -> None:
    """Make the folder of results, or go on with one of the same model, samples and options.

    Raises:
        InputInvalid: it holds something else.
    """
    mark = out / MARK
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not mark.is_file())):
        raise InputInvalid(
            f"{out} is not empty, and was not written by this command",
            hint="name an empty folder: --out FOLDER",
        )
    if mark.is_file() and json.loads(mark.read_text()).get("key") != key:
        raise InputInvalid(
            f"{out} holds results of another model, other samples or other options",
            hint="name another folder with --out, or remove this one",
        )
    (out / ROWS).mkdir(parents=True, exist_ok=True)
    whole_file.write(mark, json.dumps({"key": key}) + "\n")


def make(
    subject: Subject, given: Samples, chosen: Sequence[Method], out: Path, *, steps: int, say: Say
) -> CompressionTable:
    """Measure the original and every method.

    Raises:
        NotCompressible: the only method makes nothing of this model.
        InputInvalid: a label is no class of the model.
        ModelRefused, ModelFailed: the original is not served, or fails on a sample.
    """
    device.configure("cpu")
    split = given.split()
    served = Served.load(subject.manifest, subject.files)
    wanted = {name: served.answers(getattr(split, name)) for name in Split.__slots__}
    kind = measure.kind_of(subject.manifest, wanted["report"])
    measure.require_labels(subject.manifest, kind, wanted["report"], given.labels)
    lesson = Lesson(split.tune, wanted["tune"], kind, steps)
    total = len(chosen) + 1
    bench = _Bench(split, wanted, kind, out)
    rows = [bench.row(ORIGINAL, subject.folder, lambda: bench.measured(ORIGINAL, served))]
    say("measured", 1, total)
    for number, method in enumerate(chosen):
        try:
            make_row = partial(bench.best, method, subject, lesson)
            rows.append(bench.row(method.name, out / method.name, make_row))
        except NotCompressible as error:
            if len(chosen) == 1:
                raise
            rows.append(_refused(method.name, f"{error}"))
        say("measured", number + 2, total)
    return CompressionTable(
        subject.manifest.name, subject.manifest.runtime.format, kind, len(split.tune),
        len(split.choose), len(split.report), tuple(rows), subject.untuned_why,
    )  # fmt: skip


class _Bench:
    """Where candidates are written and measured."""

    def __init__(self, split: Split, wanted: dict[str, Array], kind: Kind, out: Path) -> None:
        self._split, self._wanted, self._kind, self._out = split, wanted, kind, out

    def row(
        self, name: str, place: Path, make_row: Callable[[], MeasuredVersion]
    ) -> MeasuredVersion:
        """Return a row that an earlier run wrote for the folder at `place`, or make and write it.

        Raises:
            InputInvalid: somebody changed the folder since.
        """
        path = self._out / ROWS / f"{name}.json"
        if path.is_file() and place.exists():
            kept = TypeAdapter(_KeptRow).validate_json(path.read_bytes())
            if name == ORIGINAL or kept.manifest_digest == folder.digest(place):
                return replace(kept.row, folder=str(place))
            raise InputInvalid(
                f"{place} was changed since it was measured",
                hint="move it away to have it made again, or name another folder with --out",
            )
        row = replace(make_row(), folder=str(place))
        body = asdict(_KeptRow(row, folder.digest(place) if name != ORIGINAL else ""))
        whole_file.write(path, json.dumps(body) + "\n")
        return row

    def best(self, method: Method, subject: Subject, lesson: Lesson) -> MeasuredVersion:
        """Write a method's candidates, keep the one that chooses best, and report on it."""
        target = self._out / method.name
        scores: dict[str, float] = {}
        best: tuple[float, float] | None = None
        kept = ""
        with tempfile.TemporaryDirectory(dir=self._out, prefix=".candidate-") as place:
            for word, write in subject.candidates(method, lesson):
                path = Path(place) / (word or "only")
                path.mkdir()
                manifest = write(path)
                answers = Served.load(manifest, measure.files_of(manifest, path)).answers(
                    self._split.choose
                )
                score = self._score(answers)
                scores[word] = score[0]
                if best is None or score > best:  # the simplest first: it wins where they are equal
                    best, kept = score, word
                    shutil.rmtree(target, ignore_errors=True)
                    path.rename(target)
        target.chmod(0o755)
        manifest = folder.read(target)
        served = Served.load(manifest, measure.files_of(manifest, target))
        return self.measured(method.name, served, kept, scores)

    def measured(
        self, name: str, served: Served, kept: str = "", others: dict[str, float] | None = None
    ) -> MeasuredVersion:
        """Return the row of a version that is loaded."""
        answers = served.answers(self._split.report)
        exact, why = self._compiles(served.manifest, served.files)
        return MeasuredVersion(
            method=name,
            folder="",
            bytes=served.nbytes,
            accuracy=measure.accuracy(self._kind, answers, self._split.report.labels),
            agreement=measure.agreement(self._kind, answers, self._wanted["report"]),
            seconds=served.seconds(self._split.report),
            exact=exact,
            exact_why=why,
            kept=kept,
            others=others or {},
        )

    def _score(self, answers: Array) -> tuple[float, float]:
        right = measure.accuracy(self._kind, answers, self._split.choose.labels)
        same = measure.agreement(self._kind, answers, self._wanted["choose"]).value
        if right is None or self._kind == "vectors":  # neighbours of a few samples tell too little
            return (same, same)
        return (right.value, same)

    def _compiles(self, manifest: Manifest, files: Files) -> tuple[bool, str]:
        """Whether `--exact` compiles a version, tried with a few samples, and why not."""
        if manifest.exact is not None:
            return True, ""
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / "model"
            source.mkdir()
            body = json.loads(manifest.to_bytes())
            (source / "model.json").write_text(json.dumps(body))
            for path, file in files.items():
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).symlink_to(file.resolve())
            some = samples.joined(
                self._split.tune.part(slice(0, _COMPILED)),
                self._split.choose.part(slice(0, _COMPILED)),
            )
            some.save(Path(place) / "samples.npz")
            try:
                build(source, Path(place) / "exact", Path(place) / "samples.npz", _quiet)
            except TallystickError as error:
                return False, f"{error}"
        return True, ""


def _refused(name: str, why: str) -> MeasuredVersion:
    return MeasuredVersion(name, "", 0, None, Interval(0, 0, 0), 0.0, False, "", "", {}, why)


def _quiet(_what: str, _done: int, _total: int) -> None:
    """Say nothing."""
