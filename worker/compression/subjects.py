"""What is compressed: a network or an ensemble of trees, and the candidates of each method.

A candidate is a folder that could be published. A method offers one or two, of which the table
keeps the one that answers better on samples that neither tuning nor the report sees.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from oracle.protocol.manifest import DerivedFrom, Manifest, RuntimeSpec
from oracle.types import Bytes32
from worker import batching
from worker.compression import distil, folder, forests, methods, networks, tuning
from worker.compression.distil import Student
from worker.compression.measure import Kind
from worker.compression.methods import Method
from worker.compression.networks import FloatNetwork
from worker.compression.samples import Samples
from worker.errors import ModelUnsupported
from worker.exact import package
from worker.exact.trees.compile import compile_trees
from worker.exact.trees.ensemble import Ensemble
from worker.exact.trees.importer import FEATURES
from worker.runtimes.base import Array, Files


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a method may learn from: samples, what the original answers, how long."""

    samples: Samples
    wanted: Array
    kind: Kind
    steps: int


_APART = 1e-3  # of the largest answer: two ways to run the same float32 graph
Parent = Callable[[Bytes32], DerivedFrom]  # of a model root; refuses another than was named
Write = Callable[[Path], Manifest]
Candidates = Iterator[tuple[str, Write]]  # a word that tells them apart, and how to write one


class Subject(Protocol):
    """A model that methods make smaller."""

    manifest: Manifest
    files: Files
    folder: Path  # where the original lies
    known: Sequence[str]  # methods that are tried when none is named
    untuned_why: str  # why nothing was tuned that might have been; "" where it was

    def candidates(self, method: Method, lesson: Lesson) -> Candidates:
        """Yield what the method makes of the model.

        Raises:
            NotCompressible: nothing.
        """


class NetworkSubject:
    """A float network."""

    def __init__(
        self, manifest: Manifest, files: Files, folder: Path, student: Student | None,
        parent: Parent,
    ) -> None:  # fmt: skip
        self.manifest, self.files, self.folder = manifest, files, folder
        self._parent, self._student = parent(manifest.model_root()), student
        self._network = networks.read(manifest, files)
        self.untuned_why = ""
        taught = student is not None or manifest.runtime.architecture in distil.HALVED
        self.known: Sequence[str] = [n for n in methods.NETWORK if taught or n != "distil"]

    def candidates(self, method: Method, lesson: Lesson) -> Candidates:
        """Yield the model without tuning, then tuned."""
        if method.kind == "distil":
            yield from self._distilled(method, lesson)
            return
        network = self._network
        shrunk = networks.shrink(network, method)
        parts = {name: one.parts() for name, one in shrunk.items()}
        yield "untuned", lambda path: self._write(path, network, parts, method)
        leaves = [leaf for one in shrunk.values() for leaf in one.parameters]
        if not leaves or not lesson.steps or not self._answers_in_torch(lesson):
            return
        vectors = {name: tensor.clone() for name, tensor in network.vectors.items()}

        def weights() -> dict[str, torch.Tensor]:
            return {**vectors, **{name: one.weight() for name, one in shrunk.items()}}

        tuning.tune(
            [*leaves, *vectors.values()],
            lambda inputs: network.answer(weights(), inputs),
            lesson.samples, lesson.wanted, kind=lesson.kind, steps=lesson.steps,
            several=batching.can_batch(self.manifest),
        )  # fmt: skip
        tuned = {name: one.parts() for name, one in shrunk.items()}
        plain = {name: {"": tensor.numpy()} for name, tensor in vectors.items()}
        yield "tuned", lambda path: self._write(path, network, {**plain, **tuned}, method)

    def _answers_in_torch(self, lesson: Lesson) -> bool:
        """Whether torch answers as the model is served; `untuned_why` says why not."""
        some = slice(0, tuning.BATCH if batching.can_batch(self.manifest) else 1)
        wanted = lesson.wanted[some]
        try:
            with torch.no_grad():
                found = self._network.answer({}, lesson.samples.part(some).inputs)
        except ModelUnsupported as error:
            self.untuned_why = f"{error}; {error.hint}"
            return False
        apart = np.abs(found.reshape(len(wanted), -1).numpy() - wanted).max()
        if not apart <= _APART * max(1.0, np.abs(wanted).max()):
            self.untuned_why = f"torch's reading of the graph is {apart:.2g} from its answers"
            return False
        return True

    def _distilled(self, method: Method, lesson: Lesson) -> Candidates:
        student = self._student or Student.half_of(self.manifest)
        pupil = distil.begin(student, self.manifest, self._network)
        taught = {name: t.clone() for name, t in pupil.state.items() if t.is_floating_point()}
        tuning.tune(
            taught.values(), lambda inputs: pupil.answer(taught, inputs),
            lesson.samples, lesson.wanted, kind=lesson.kind, steps=4 * lesson.steps,
            several=batching.can_batch(self.manifest),
        )  # fmt: skip
        spec = RuntimeSpec(
            "safetensors", "student.safetensors", student.architecture, student.options
        )
        parts = {name: {"": tensor.numpy()} for name, tensor in taught.items()}
        yield "tuned", lambda path: self._write(path, pupil, parts, method, spec)

    def _write(
        self, path: Path, network: FloatNetwork, parts: networks.AllParts, method: Method,
        runtime: RuntimeSpec | None = None,
    ) -> Manifest:  # fmt: skip
        runtime = runtime or self.manifest.runtime
        network.write(path / runtime.entry, parts)
        derived = replace(self._parent, method=method.name)
        return folder.write_float(
            path, replace(self.manifest, runtime=runtime), self.files, derived
        )


class TreesSubject:
    """An ensemble of trees, which is served as integers alone."""

    def __init__(
        self, ensemble: Ensemble, about: dict[str, object], target: Path, parent: Parent
    ) -> None:
        """Compile the whole ensemble into `target`: what smaller ones are compared with."""
        self._ensemble, self._about, self.folder = ensemble, about, target
        target.mkdir(parents=True, exist_ok=True)
        self._parent = parent(self._compile(target, ensemble))
        self.manifest = folder.describe_exact(target, None)
        self.files: Files = {one.path: target / one.path for one in self.manifest.files}
        self.untuned_why = ""
        forest = forests.is_forest(ensemble)
        self.known: Sequence[str] = methods.FOREST if forest else methods.BOOSTED

    def candidates(self, method: Method, lesson: Lesson) -> Candidates:
        """Yield smaller ensembles."""
        rows = lesson.samples.inputs[FEATURES]
        derived = replace(self._parent, method=method.name)
        for word, smaller in forests.variants(self._ensemble, method, rows):

            def write(path: Path, smaller: Ensemble = smaller) -> Manifest:
                self._compile(path, smaller)
                return folder.describe_exact(path, derived)

            yield word, write

    def _compile(self, target: Path, ensemble: Ensemble) -> Bytes32:
        compiled = compile_trees(ensemble, name=FEATURES)
        package.write(compiled, target, self._about)
        return compiled.program.model_root
