"""Do a job of exact steps, or do it again and say which step of somebody's history is wrong."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact import proofs, reference
from oracle.exact.commitments import Committed
from oracle.exact.dtypes import Array, DType
from oracle.exact.reference import ExecutionTrace
from oracle.exact.steps import ProofStep
from oracle.exact.tensors import TensorTree
from oracle.training.exact_job import STATE_BITS, ExactJob, StepFault, StepRecord, batch_of, prove
from oracle.types import ZERO32, Bytes32
from worker.errors import ModelFailed
from worker.exact.training.layers import WORKING_BITS
from worker.exact.training.step import TrainingStep

Progress = Callable[[int, int], None]  # steps done, of


class WeightsOverflow(ModelFailed):
    """A weight left the range of the working copy: the step would go on with another number."""


@dataclass(frozen=True)
class BatchedData:
    """Samples (u8, rows × features) and labels (u16, batches × batch), with their trees."""

    samples: TensorTree
    labels: TensorTree

    @classmethod
    def of(cls, samples: Array, labels: Array, batch: int) -> "BatchedData":
        """Return whole batches of the rows, in their order; what is left over is not used.

        Args:
            samples: uint8, rows × features.
            labels: whole numbers below 65,536, one for each row.
            batch: samples of a batch.

        Raises:
            InputInvalid: fewer rows than one batch, another number of labels, or other values.
        """
        batches = len(samples) // batch
        if not batches or len(labels) != len(samples):
            raise InputInvalid(
                f"{len(samples)} samples with {len(labels)} labels are no batch of {batch}"
            )
        rows = batches * batch
        return cls(
            TensorTree.of(np.asarray(samples[:rows]), DType.U8),
            TensorTree.of(np.asarray(labels[:rows]).reshape(batches, batch), DType.U16),
        )

    @property
    def batches(self) -> int:
        """How many there are."""
        return self.labels.spec.rows

    def batch(self, number: int) -> tuple[Array, Array]:
        """Return a batch's samples and labels."""
        size = self.labels.spec.cols
        rows = slice(number * size, (number + 1) * size)
        return self.samples.array[rows], self.labels.array[number : number + 1]


def batches(data: BatchedData, seed: Bytes32, steps: int) -> Iterator[tuple[Array, Array]]:
    """Yield the samples and labels of each step, as a job with this seed reads them."""
    for step in range(steps):
        samples, labels = data.batch(batch_of(seed, step, data.batches))
        yield samples, labels[0]


def plan(
    step: TrainingStep, data: BatchedData, state: Array, *, seed: Bytes32, steps: int
) -> ExactJob:
    """Return the terms of a job that begins with `state` (int32, 1 × parameters).

    Raises:
        InputInvalid: a label above the model's classes, or see `ExactJob`.
    """
    return ExactJob(
        step.program,
        data.samples.root,
        data.labels.root,
        TensorTree.of(state, DType.I32).root,
        seed,
        data.batches,
        steps,
    )


@dataclass(frozen=True)
class WrongStep:
    """The first step of a history that is not the honest one, with its honest trace."""

    number: int
    honest: Committed


class ExactTraining:
    """One job with what it reads.

    Raises:
        InputInvalid: data or first state are not those of the job.
    """

    def __init__(self, job: ExactJob, step: TrainingStep, data: BatchedData, state: Array) -> None:
        self.job, self.step, self.data, self.state = job, step, data, state
        found = plan(step, data, state, seed=job.seed, steps=job.steps)
        if found.digest != job.digest:
            raise InputInvalid("program, data or first state are not those of the job")

    def run(self, progress: Progress = lambda _done, _of: None) -> Iterator[ExecutionTrace]:
        """Yield the trace of each step; its output is the next state.

        Raises:
            WeightsOverflow: a weight of 8 or above.
        """
        state = self.state
        most = 2 ** (STATE_BITS - WORKING_BITS + 15)
        for number in range(self.job.steps):
            trace = self.trace(number, state)
            state = trace.output
            if np.abs(state.astype(np.int64)).max() >= most:
                raise WeightsOverflow(
                    f"step {number}: a weight is 8 or above",
                    hint="take a smaller learning rate, or clip the data",
                )
            yield trace
            progress(number + 1, self.job.steps)

    def trace(self, number: int, state: Array) -> ExecutionTrace:
        """Return the trace of one step from a state."""
        inputs = [state, *self.data.batch(self.job.batch(number))]
        return reference.execute(self.step.program, self.step.constants, inputs)

    def verify(
        self, claimed: Sequence[StepRecord], progress: Progress = lambda _done, _of: None
    ) -> WrongStep | None:
        """Return the first wrong step of a history; None: all steps are right.

        Raises:
            InputInvalid: the history is of another job.
        """
        job = self.job
        if (
            len(claimed) != job.steps + 1
            or claimed[0].state != job.state
            or claimed[-1].trace != ZERO32
        ):
            raise InputInvalid("the history is of another job: other steps, or another first state")
        for number, trace in enumerate(self.run(progress)):
            honest = Committed(trace.program, trace.tensors)
            after = TensorTree.of(trace.output, DType.I32).root
            if honest.trace_root != claimed[number].trace or after != claimed[number + 1].state:
                return WrongStep(number, honest)
        return None

    def prove(
        self, claimed: Sequence[StepRecord], wrong: WrongStep, served: Committed
    ) -> StepFault:
        """Return the proof that a step is wrong, from the trace of it that its trainer serves.

        The first tensor that differs contradicts its operands, which are the honest ones.

        Raises:
            InputInvalid: what is served does not hash to the history, or differs nowhere.
        """
        committed = claimed[wrong.number].trace, claimed[wrong.number + 1].state
        last = len(served.tensors) - 1
        if (served.trace_root, served.tree(last).root) != committed:
            raise InputInvalid(f"the trace of step {wrong.number} does not hash to the history")
        for number, (mine, theirs) in enumerate(
            zip(wrong.honest.tensors, served.tensors, strict=True)
        ):
            places = np.argwhere(mine != theirs)
            if len(places):
                op = number - len(self.job.program.inputs)
                row, col = (int(place) for place in places[0])
                element = proofs.step(self.step.constants, served, op, row, col)
                return self.show(claimed, wrong.number, element)
        raise InputInvalid(f"the trace of step {wrong.number} is the honest one")

    def show(self, claimed: Sequence[StepRecord], number: int, element: ProofStep) -> StepFault:
        """Return what shows one element of a step to a judge, right or wrong."""
        batch = (self.data.samples, self.data.labels)
        return prove(self.job, claimed, number, batch, element)


def records(traces: Iterable[ExecutionTrace]) -> tuple[StepRecord, ...]:
    """Return the history of a job from the traces of all its steps."""
    found, state = [], ZERO32
    for trace in traces:
        held = Committed(trace.program, trace.tensors)
        found.append(StepRecord(held.tree(0).root, held.trace_root))
        state = held.tree(len(trace.tensors) - 1).root
    return (*found, StepRecord(state))
