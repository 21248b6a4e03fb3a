"""What a version answers, how well, how fast, and in how many bytes: asked as a worker asks it.

Every figure is of the folder that would be published, through the runtime of its format.

| answers are | accuracy | agreement with the original |
|---|---|---|
| classes (labels, or several numbers) | share that is the label | share of the same class |
| one number | 1 − squared error / variance of labels | the same, of the original's answers |
| vectors of length one | share whose nearest other sample has the same label | mean cosine |

Errors of shares are Wilson intervals of 95 %. Others are bootstrap intervals, 400 draws.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact import form, version
from oracle.protocol.files import WEIGHT_SUFFIXES
from oracle.protocol.manifest import Manifest
from oracle.types import ZERO32
from worker import batching, runtimes
from worker.compression.samples import Samples
from worker.runtimes.base import Array, Files, Runtime

Kind = Literal["classes", "numbers", "vectors"]
CHUNK = 32  # rows that are answered together
_DRAWS = 400
_TIMED = 1_000  # runs of one row
_TIME = 0.5  # seconds, at the most, and one run more
_Z = 1.959964  # of a normal distribution, 95 %


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its error."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Served:
    """A version that is loaded as workers load it."""

    manifest: Manifest
    files: Files
    runtime: Runtime

    @classmethod
    def load(cls, manifest: Manifest, files: Files) -> "Served":
        """Load a version; errors as in `runtimes.load`."""
        root = manifest.model_root()
        if manifest.exact is not None:
            root = version.read(manifest, dict(files)).program.model_root
        return cls(manifest, files, runtimes.load(manifest, files, root, "cpu"))

    @property
    def nbytes(self) -> int:
        """Bytes of the files that hold weights, a program or thresholds."""
        kinds = (*WEIGHT_SUFFIXES, ".program")
        return sum(f.size for f in self.manifest.files if PurePosixPath(f.path).suffix in kinds)

    def answers(self, samples: Samples) -> Array:
        """Return the first output: [samples, numbers].

        Raises:
            ModelFailed: the model raises an error on a sample.
        """
        manifest = self.manifest
        exact = manifest.exact is not None
        step = CHUNK if batching.can_batch(manifest) and not exact else 1
        made = form.of(manifest, lambda entry: self.files[entry.path])
        params, name = manifest.unpack_params(ZERO32), manifest.outputs[0].name
        found = []
        for start in range(0, len(samples), step):
            inputs = samples.part(slice(start, start + step)).inputs
            if exact:
                given = made.decode_inputs(made.encode_inputs(inputs))
                data = made.encode_outputs(self.runtime.run(given, params))
                answer = made.decode_outputs(data)[name].reshape(1, -1)
            else:
                answer = self.runtime.run(inputs, params)[name]
                answer = answer.reshape(len(answer) if step > 1 else 1, -1)
            found.append(answer)
        return np.concatenate(found)

    def seconds(self, samples: Samples) -> float:
        """Return the median time of one row, of this processor: other work does not add to it."""
        manifest = self.manifest
        made = form.of(manifest, lambda entry: self.files[entry.path])
        given = made.decode_inputs(made.encode_inputs(samples.part(slice(0, 1)).inputs))
        params = manifest.unpack_params(ZERO32)
        self.runtime.run(given, params)  # the first run pays for what later ones do not
        times: list[float] = []
        while len(times) < _TIMED and sum(times) < _TIME:
            began = time.process_time()
            self.runtime.run(given, params)
            times.append(time.process_time() - began)
        return float(np.median(times))


def kind_of(manifest: Manifest, answers: Array) -> Kind:
    """Return what a model's answers are, from its manifest and what it answered."""
    if manifest.labels or manifest.outputs[0].dtype.startswith(("I", "U", "B")):
        return "classes"
    if answers.shape[1] == 1:
        return "numbers"
    lengths = np.linalg.norm(answers, axis=1)
    return "vectors" if np.allclose(lengths, 1, atol=1e-3) and answers.min() < 0 else "classes"


def require_labels(manifest: Manifest, kind: Kind, answers: Array, labels: Array | None) -> None:
    """Return if labels are places of classes that the model has, where it has classes.

    Raises:
        InputInvalid: one is not.
    """
    count = answers.shape[1] if answers.shape[1] > 1 else len(manifest.labels or ())
    if labels is None or kind != "classes" or not count:
        return
    wrong = labels[~np.isin(labels, np.arange(count))]
    if wrong.size:
        raise InputInvalid(
            f"a sample has the label {wrong[0]}, and the model has classes 0 to {count - 1}",
            hint="a label is the place of the class, from 0 on",
        )


def accuracy(kind: Kind, answers: Array, labels: Array | None) -> Interval | None:
    """Return how often, or how well, answers are right; None where nobody knows."""
    if labels is None:
        return None
    if kind == "numbers":
        return _bootstrap(answers[:, 0], labels.astype(np.float64), _explained)
    if kind == "vectors":
        likeness = answers @ answers.T
        np.fill_diagonal(likeness, -np.inf)
        return wilson(labels[likeness.argmax(1)] == labels)
    return wilson(classes(answers) == labels)


def agreement(kind: Kind, answers: Array, original: Array) -> Interval:
    """Return how much answers are those of the original."""
    if kind == "numbers":
        return _bootstrap(answers[:, 0], original[:, 0].astype(np.float64), _explained)
    if kind == "vectors":
        if answers.shape != original.shape:
            return Interval(0.0, 0.0, 0.0)
        lengths = np.linalg.norm(answers, axis=1) * np.linalg.norm(original, axis=1)
        cosines = (answers * original).sum(1) / np.maximum(lengths, 1e-12)
        return _bootstrap(cosines, cosines, lambda drawn, _: float(drawn.mean()))
    return wilson(classes(answers) == classes(original))


def classes(answers: Array) -> Array:
    """Return the class of each row: the greatest number, or the class that stands there."""
    return np.asarray(answers[:, 0] if answers.shape[1] == 1 else answers.argmax(1))


def wilson(right: Array) -> Interval:
    """Return a share with Wilson's interval of 95 % (doi:10.1080/01621459.1927.10502953)."""
    n, share = len(right), float(np.mean(right))
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def _bootstrap(a: Array, b: Array, figure: Callable[[Array, Array], float]) -> Interval:
    dice = np.random.default_rng(0)
    draws = [figure(a[i], b[i]) for i in (dice.integers(0, len(a), len(a)) for _ in range(_DRAWS))]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(figure(a, b), float(low), float(high))


def _explained(answers: Array, wanted: Array) -> float:
    spread = float(wanted.var())
    apart = float(((answers - wanted) ** 2).mean())
    return 1 - apart / spread if spread else float(apart == 0)


def files_of(manifest: Manifest, folder: Path) -> Files:
    """Return where the files of a manifest lie in a folder."""
    return {entry.path: folder / entry.path for entry in manifest.files}
