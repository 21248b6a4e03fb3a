"""A job of exact training steps: what a trainer stands for, and how one step of it is judged.

```
 step k     state k, batch of step k ─▶ state k+1      one exact program for all steps
 record k   keccak256(root of state k ‖ trace root of step k); the last record has trace root zero
 history    root of the tree over records 0 … steps      what the trainer commits to
```
A batch is one node of the samples' tree and one row of the labels' tree, drawn from the seed. So
two records, their paths, and one element of one operator convict a step (`judge`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.exact import judge as elements
from oracle.exact.commitments import join_inputs
from oracle.exact.program import Program
from oracle.exact.steps import ExactClaim, ProofStep
from oracle.exact.tensors import TensorTree, tensor_leaf
from oracle.merkle import climb, keccak, log, tree_path, tree_root
from oracle.types import ZERO32, Bytes32

MOST_STEPS = 2**20
STATE_BITS = 24  # fraction bits of a state: |w| < 128, but a step's working copy has fewer
STATE, SAMPLES, LABELS = range(3)  # the inputs of a step


class StepProofInvalid(InputInvalid):
    """A part of a step's proof does not fit the job or the history; `part` names it."""

    def __init__(self, part: str) -> None:
        super().__init__(
            f"training step: {part} invalid", hint="docs/training.md says what is shown"
        )
        self.part = part


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is committed for one step.

    Attributes:
        state: root of the state before it.
        trace: root of its trace; zero for the last record, behind which nothing runs.
    """

    state: Bytes32
    trace: Bytes32 = ZERO32

    @property
    def leaf(self) -> Bytes32:
        """Its leaf in the history."""
        return keccak(self.state + self.trace)


NO_RECORD = StepRecord(ZERO32)


@dataclass(frozen=True, slots=True)
class OpenedNode:
    """A node with its siblings up to a root."""

    node: Bytes32
    path: tuple[Bytes32, ...]


@dataclass(frozen=True)
class ExactJob:
    """What is fixed before a job begins.

    Attributes:
        program: of one step; inputs state, samples, labels; the output is the next state.
        samples: root of the samples' tensor, batches · batch rows.
        labels: root of the labels' tensor, a row for each batch.
        state: root of the first state.
        seed: of the order of batches.
        batches: how many there are.
        steps: how many are done.

    Raises:
        InputInvalid: no program of a step, or counts outside 1 … 2²⁰.
    """

    program: Program
    samples: Bytes32
    labels: Bytes32
    state: Bytes32
    seed: Bytes32
    batches: int
    steps: int

    def __post_init__(self) -> None:
        inputs = self.program.inputs
        if len(inputs) != 3 or self.program.output != inputs[STATE] or inputs[STATE].rows != 1:
            raise InputInvalid("a step takes state, samples and labels, and gives the next state")
        rows = inputs[SAMPLES].rows
        if rows & (rows - 1) or (inputs[LABELS].rows, inputs[LABELS].cols) != (1, rows):
            raise InputInvalid("a batch has 2^k samples, and its labels are one row")
        for what, count in (("batches", self.batches), ("steps", self.steps)):
            if not 1 <= count <= MOST_STEPS:
                raise InputInvalid(f"{count:,} {what}; 1 to {MOST_STEPS:,} are possible")

    @property
    def digest(self) -> Bytes32:
        """What names the job."""
        roots = (self.program.model_root, self.samples, self.labels, self.state)
        return digest_of(roots, self.seed, self.batches, self.steps)

    def batch(self, step: int) -> int:
        """Return the number of a step's batch."""
        return batch_of(self.seed, step, self.batches)

    def claim(
        self, before: StepRecord, after: StepRecord, samples: Bytes32, labels: Bytes32
    ) -> ExactClaim:
        """Return what two records say of the step between them, over a batch's two roots."""
        roots = (before.state, samples, labels)
        specs = self.program.inputs
        last = self.program.id_of(len(self.program.ops) - 1)
        return ExactClaim(
            self.program.model_root,
            join_inputs(
                tensor_leaf(number, spec, root)
                for number, (spec, root) in enumerate(zip(specs, roots, strict=True))
            ),
            tensor_leaf(last, self.program.output, after.state),
            before.trace,
        )


def digest_of(roots: Sequence[bytes], seed: Bytes32, batches: int, steps: int) -> Bytes32:
    """Return what names a job: over the roots of program, samples, labels and first state."""
    return keccak(b"\x07" + b"".join(roots) + seed + batches.to_bytes(4) + steps.to_bytes(4))


def batch_of(seed: Bytes32, step: int, batches: int) -> int:
    """Return keccak256(seed ‖ u64(step)) mod batches: fixed before the data is known."""
    return int.from_bytes(keccak(seed + step.to_bytes(8))) % batches


@dataclass(frozen=True, slots=True)
class StepFault:
    """The proof that one step is wrong: everything is opened from the job and the history.

    Attributes:
        after: of the last operator alone, whose tensor is the next state; else zeros, path empty.
    """

    step: int
    before: StepRecord
    before_path: tuple[Bytes32, ...]
    after: StepRecord
    after_path: tuple[Bytes32, ...]
    samples: OpenedNode
    labels: OpenedNode
    element: ProofStep


def ends_with(history: Bytes32, state: Bytes32, steps: int, last_path: Sequence[bytes]) -> bool:
    """Return whether a history of so many steps ends with the state of this root."""
    return climb(StepRecord(state).leaf, steps, last_path) == history


def history_root(records: Sequence[StepRecord]) -> Bytes32:
    """Return the root over records 0 … steps."""
    return tree_root([record.leaf for record in records], log(len(records)))


def prove(
    job: ExactJob,
    records: Sequence[StepRecord],
    step: int,
    batch: tuple[TensorTree, TensorTree],
    element: ProofStep,
) -> StepFault:
    """Return the proof about one element of a step.

    Args:
        job: of which the records are.
        records: as the trainer committed to them.
        step: the first wrong one.
        batch: the trees of all samples and of all labels.
        element: from `oracle.exact.proofs.step`, over the trainer's trace of that step.
    """
    leaves, depth = [record.leaf for record in records], log(len(records))
    number = job.batch(step)
    samples, labels = batch
    last = element.op == len(job.program.ops) - 1
    level = samples.row_levels - log(job.program.inputs[SAMPLES].rows)
    return StepFault(
        step,
        records[step],
        tree_path(leaves, depth, step),
        records[step + 1] if last else NO_RECORD,
        tree_path(leaves, depth, step + 1) if last else (),
        OpenedNode(samples.node(level, number), samples.path(level, number)),
        OpenedNode(labels.node(labels.row_levels, number), labels.path(labels.row_levels, number)),
        element,
    )


def judge(job: ExactJob, history: Bytes32, fault: StepFault) -> bool:
    """Return whether the step is wrong: what is committed is not what the program computes.

    Raises:
        StepProofInvalid: something shown does not hang from the job or the history.
        ProofInvalid: the element's proof does not fit the step (`oracle.exact.judge`).
    """
    if not 0 <= fault.step < job.steps:
        raise StepProofInvalid("step")
    depth, number = log(job.steps + 1), job.batch(fault.step)

    def held(record: StepRecord, place: int, path: tuple[Bytes32, ...]) -> bool:
        return len(path) == depth and climb(record.leaf, place, path) == history

    if not held(fault.before, fault.step, fault.before_path):
        raise StepProofInvalid("record")
    fits = (fault.after, fault.after_path) == (NO_RECORD, ())
    if fault.element.op == len(job.program.ops) - 1:
        fits = held(fault.after, fault.step + 1, fault.after_path)
    if not fits:
        raise StepProofInvalid("next record")
    for part, opened, root in (
        ("samples", fault.samples, job.samples),
        ("labels", fault.labels, job.labels),
    ):
        if len(opened.path) != log(job.batches) or climb(opened.node, number, opened.path) != root:
            raise StepProofInvalid(part)
    claim = job.claim(fault.before, fault.after, fault.samples.node, fault.labels.node)
    return not elements.check(claim, fault.element)
