"""What a compilation cost and kept: accuracy on samples, size, operators, proof size."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from oracle.exact import constants
from oracle.exact.dtypes import Spec
from oracle.exact.ops import OPERATOR_WORDS, Kind, Op, Opcode
from oracle.exact.program import Program
from oracle.exact.quantisation import quantise
from oracle.exact.tensors import LEAF, depth_of
from oracle.merkle import log
from worker.errors import ModelUnsupported
from worker.exact import floats
from worker.exact.compiler import Compiled
from worker.exact.graph import Array, Graph, Sample
from worker.exact.kernels.saturation import ClampedLayer, clamped_layers

WORD = 32
COSINE = 0.99
GAS_PER_BYTE = 40  # the calldata floor of EIP-7623, of a non-zero byte

# What an operator shows of each operand: a row, or one leaf (docs/exact.md, column "reads").
_READS: Mapping[Opcode, str] = {
    Opcode.DOT: "rre", Opcode.ADD: "eee", Opcode.LUT: "ee", Opcode.LAYERNORM: "re",
    Opcode.SOFTMAX: "rrr", Opcode.MEAN: "rre", Opcode.MAX: "r", Opcode.SUM: "r",
    Opcode.ARGMAX: "r", Opcode.GATHER: "ee", Opcode.VIEW: "e", Opcode.PAD: "e",
    Opcode.CONCAT: "e", Opcode.TREE: "re", Opcode.RESCALE: "ee",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Exact against float, on samples.

    `same_class`: share of samples with the same greatest output; `explained`: share of the float
    outputs' variance that the exact ones have too; `correct_*`: share that equals the label;
    `mean_error` and `largest_error` are of |exact − float|; `deviation` is of the float outputs, to
    compare errors with. `one_number`: an answer is one number that is no class; `drawn`: there were
    no samples, and inputs were drawn; `held_out`: calibration saw none of the samples. Whether the
    model was trained on them, nobody here knows.
    """

    samples: int
    same_class: float
    mean_cosine: float
    mean_error: float
    largest_error: float
    deviation: float
    explained: float
    one_number: bool
    correct_float: float | None = None
    correct_exact: float | None = None
    drawn: bool = False
    held_out: bool = True

    @property
    def agreement(self) -> float:
        """Share of the float model's answers that the exact one keeps."""
        return self.explained if self.one_number else self.same_class

    def require(self, least: float) -> None:
        """Return if enough is kept: so much agreement, or vectors of a mean cosine of 0.99.

        Raises:
            AccuracyLow: it is not.
        """
        close = not self.one_number and self.mean_cosine >= COSINE
        if self.agreement >= least or close:
            return
        kept = "of the variance" if self.one_number else "of the classes"
        held = "held-out " if self.held_out else ""
        raise AccuracyLow(
            f"on {self.samples} {held}samples the integers keep {self.agreement:.1%} {kept} and "
            f"a mean cosine of {self.mean_cosine:.3f}; {least:.1%} or {COSINE} are asked for",
            hint="give more samples of the kind that the model gets, and scale the columns of an "
            f"input alike; --min-agreement {max(0.0, self.agreement):.2f} publishes it as it is",
        )


class AccuracyLow(ModelUnsupported):
    """The integers answer too often otherwise than the float model."""


@dataclass(frozen=True, slots=True)
class CompilationReport:
    """All that is shown of a compilation before a version is published."""

    accuracy: Accuracy
    float_bytes: int
    exact_bytes: int
    operators: Mapping[str, int]
    proof_bytes: int
    proof_operator: int
    clamped: tuple[ClampedLayer, ...] = ()  # of a graph, on the same samples

    @property
    def size_ratio(self) -> float:
        """Exact size over float size."""
        return self.exact_bytes / max(1, self.float_bytes)

    @property
    def proof_gas(self) -> int:
        """What the largest proof pays for its calldata, at the most."""
        return 21_000 + GAS_PER_BYTE * self.proof_bytes

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, for the manifest."""
        return {
            **asdict(self), "operators": dict(self.operators), "size_ratio": self.size_ratio,
            "proof_gas": self.proof_gas,
        }  # fmt: skip


def measure_graph(
    compiled: Compiled,
    graph: Graph,
    samples: Sequence[Sample],
    labels: Sequence[int] | None = None,
    *,
    held_out: bool = True,
) -> CompilationReport:
    """Report on a compiled graph, against the model that it was read from where there is one.

    Args:
        compiled, graph: the program, and what it was compiled from.
        samples: inputs.
        labels: their true classes, where there are any.
        held_out: whether calibration saw none of the samples.
    """
    size = sum(array.size * 4 for array in graph.constants.values())
    original = graph.original.run if graph.original else partial(floats.run, graph)
    with floats.one_thread():
        report = measure(compiled, original, size, samples, labels, held_out=held_out)
        given = zip(*(quantise(compiled.inputs, sample) for sample in samples), strict=True)
        inputs = [np.stack(arrays) for arrays in given]
        return replace(report, clamped=clamped_layers(compiled.program, compiled.constants, inputs))


def measure(
    compiled: Compiled,
    reference: Callable[[Sample], Array],
    float_bytes: int,
    samples: Sequence[Sample],
    labels: Sequence[int] | None = None,
    *,
    held_out: bool = True,
) -> CompilationReport:
    """Report on a compiled model, against any float version of it.

    Args:
        compiled: the program.
        reference: the float answer to a sample.
        float_bytes: size of the float model.
        samples: inputs.
        labels: their true classes, where there are any.
        held_out: whether calibration saw none of the samples.
    """
    given = np.stack([np.ravel(reference(sample)) for sample in samples])
    exact = np.stack([np.ravel(compiled.run(sample)) for sample in samples])
    return compare(compiled, given, exact, float_bytes, labels, held_out=held_out)


def compare(
    compiled: Compiled,
    given: Array,
    exact: Array,
    float_bytes: int,
    labels: Sequence[int] | None = None,
    *,
    drawn: bool = False,
    held_out: bool = True,
) -> CompilationReport:
    """Report on a compiled model by its answers and the float ones, [samples, numbers] of each."""
    given, exact = given.astype(np.float64), exact.astype(np.float64)
    length = np.linalg.norm(given, axis=1) * np.linalg.norm(exact, axis=1)
    whole = bool(np.all(given == np.rint(given)) and given.min() >= 0)
    spread, apart = given.var(), ((given - exact) ** 2).mean()
    chosen = [_classes(values) for values in (given, exact)]
    truth = None if labels is None else np.asarray(labels)
    correct = [None if truth is None else float((c == truth).mean()) for c in chosen]
    accuracy = Accuracy(
        samples=len(given),
        same_class=float((chosen[0] == chosen[1]).mean()),
        mean_cosine=float(((given * exact).sum(1) / np.where(length > 0, length, 1)).mean()),
        mean_error=float(np.abs(given - exact).mean()),
        largest_error=float(np.abs(given - exact).max()),
        deviation=float(given.std()),
        explained=float(1 - apart / spread) if spread else float(not apart),
        one_number=given.shape[1] == 1 and not whole,
        correct_float=correct[0],
        correct_exact=correct[1],
        drawn=drawn,
        held_out=held_out,
    )
    sizes = [proof_bytes(compiled.program, op) for op in range(len(compiled.program.ops))]
    exact_bytes = len(compiled.program.encode()) + len(
        constants.save(compiled.program, compiled.constants)
    )
    names = Counter(op.opcode.name for op in compiled.program.ops)
    return CompilationReport(
        accuracy, float_bytes, exact_bytes, names, max(sizes), int(np.argmax(sizes))
    )


def _classes(values: Array) -> Array:
    """Return the class of each row; one column is a class, or a score with its sign."""
    if values.shape[1] > 1:
        return np.asarray(values.argmax(1))
    whole = np.all(values == np.rint(values)) and values.min() >= 0
    return values[:, 0] if whole else values[:, 0] > 0


def proof_bytes(program: Program, op: int) -> int:
    """Return the most bytes that a step of operator `op` has, ABI-encoded (docs/exact.md, 6)."""
    operator = program.ops[op]
    path = WORD * (1 + log(max(2, len(program.ops)) - 1))  # in the trace, with its length
    size = WORD * (len(program.preamble) + OPERATOR_WORDS + log(len(program.ops)) + 16)
    size += WORD * len(program.inputs)
    size += (len(operator.operands) + 1) * (path + 3 * WORD)
    for operand, read in zip(operator.operands, _READS[operator.opcode], strict=False):
        if operand.kind != Kind.NONE:
            size += _slices(operator, operand.spec, read)
    return size + _leaf(operator.result)


def _slices(operator: Op, spec: Spec, read: str) -> int:
    if read == "r":
        return _framed(spec.row_bytes, log(spec.rows))
    visited = operator.lane(0) + 1 if operator.opcode == Opcode.TREE else 1
    return visited * _leaf(spec)


def _leaf(spec: Spec) -> int:
    return _framed(min(LEAF, spec.row_bytes), depth_of(spec))


def _framed(data: int, siblings: int) -> int:
    """Return a slice's size: offsets and lengths of its bytes and its path, then both, padded."""
    return 5 * WORD + -(-data // WORD) * WORD + siblings * WORD
