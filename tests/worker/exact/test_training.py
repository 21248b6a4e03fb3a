"""Training in integers: as good as its float twin, and every step convictable."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from examples.exact.training import NETWORKS, SEED, Digits
from oracle.errors import InputInvalid
from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.errors import ProofInvalid
from oracle.training import exact_job
from oracle.training.exact_job import StepProofInvalid, StepRecord
from oracle.types import Bytes32
from tests.exact_evm.evm import Registry, Verifier
from worker.errors import ModelUnsupported
from worker.exact.kernels.executor import Executor
from worker.exact.training import run, twin
from worker.exact.training.run import BatchedData, ExactTraining, WeightsOverflow, WrongStep
from worker.exact.training.step import StepTerms, build

Array = np.ndarray[Any, np.dtype[Any]]


class Lies:
    """A history of two steps, and what it is when one element of the second is another."""

    def __init__(self, case: Digits) -> None:
        self.training = case.training(2)
        self._program = case.step.program
        traces = list(self.training.run())
        self.honest = Committed(self._program, traces[1].tensors)
        self.records = run.records(traces)
        self._trees = {number: self.honest.tree(number) for number in range(len(traces[1].tensors))}

    def tell(self, op: int, row: int, col: int) -> tuple[tuple[StepRecord, ...], Committed]:
        """Return the records and the trace with another element in an operator's tensor."""
        number = self._program.id_of(op)
        tensors = list(self.honest.tensors)
        tensors[number] = tensors[number].copy()
        tensors[number][row, col] ^= 1
        trees = {key: tree for key, tree in self._trees.items() if key != number}
        served = Committed(self._program, tensors, trees)
        after = served.tree(len(tensors) - 1).root
        first, second, last = self.records
        return (first, replace(second, trace=served.trace_root), replace(last, state=after)), served


@functools.cache
def made(name: str) -> Digits:
    return Digits(name)


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest) -> Digits:
    return made(request.param)


@pytest.fixture
def regression() -> Digits:
    return made("regression")


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


def test_training__in_integers__is_as_good_as_in_float64(case: Digits) -> None:
    *_, last = case.training().run()

    assert abs(case.accuracy(last.output) - case.accuracy()) <= 0.01
    assert case.accuracy() >= 0.9


def test_step__of_the_executor__is_that_of_the_reference(case: Digits) -> None:
    training = case.training(1)
    trace = training.trace(0, case.state)

    ran = Executor(case.step.program, case.step.constants).run(
        [tensor[None] for tensor in trace.tensors[:3]]
    )

    assert np.array_equal(ran[0], trace.output)


def test_step__wrong_in_any_operator__is_convicted(case: Digits, verifier: Verifier) -> None:
    lies, random = Lies(case), np.random.default_rng(0)
    job = lies.training.job
    wrong = WrongStep(1, lies.honest)

    for op, operator in enumerate(case.step.program.ops):
        row = int(random.integers(operator.result.rows))
        col = int(random.integers(operator.result.cols))
        claimed, served = lies.tell(op, row, col)
        fault = lies.training.prove(claimed, wrong, served)
        assert exact_job.judge(job, exact_job.history_root(claimed), fault), operator.opcode
        told = job.claim(fault.before, fault.after, fault.samples.node, fault.labels.node)
        assert not verifier.check(told, fault.element), operator.opcode

        element = proofs.step(case.step.constants, lies.honest, op, row, col)
        honest = lies.training.show(lies.records, 1, element)
        assert not exact_job.judge(job, exact_job.history_root(lies.records), honest)
        told = job.claim(honest.before, honest.after, honest.samples.node, honest.labels.node)
        assert verifier.check(told, element), operator.opcode


def test_program__of_a_step__is_registered(case: Digits) -> None:
    program = case.step.program

    assert Registry().register(program.words) == program.model_root


def test_verify__a_history__names_the_first_wrong_step(regression: Digits) -> None:
    lies = Lies(regression)
    claimed, _ = lies.tell(len(regression.step.program.ops) - 1, 0, 7)

    assert lies.training.verify(lies.records) is None
    found = lies.training.verify(claimed)
    assert found is not None
    assert found.number == 1
    other = replace(lies.records[0], trace=Bytes32(b"\x01" * 32))
    found = lies.training.verify((other, *lies.records[1:]))
    assert found is not None
    assert found.number == 0


def test_verify__history_of_another_job__is_refused(regression: Digits) -> None:
    lies = Lies(regression)
    first, second, last = lies.records
    other = replace(first, state=Bytes32(b"\x01" * 32))

    for claimed in ((first, last), (other, second, last), (first, second, second)):
        with pytest.raises(InputInvalid, match="another job"):
            lies.training.verify(claimed)


def test_prove__trace_that_is_not_the_committed_one__is_refused(regression: Digits) -> None:
    lies = Lies(regression)
    claimed, _ = lies.tell(0, 0, 0)
    _, other = lies.tell(1, 0, 0)

    with pytest.raises(InputInvalid, match="does not hash to the history"):
        lies.training.prove(claimed, WrongStep(1, lies.honest), other)
    with pytest.raises(InputInvalid, match="is the honest one"):
        lies.training.prove(lies.records, WrongStep(1, lies.honest), lies.honest)


def test_judge__what_does_not_hang_from_the_job__is_refused(regression: Digits) -> None:
    lies = Lies(regression)
    claimed, served = lies.tell(len(regression.step.program.ops) - 1, 0, 0)
    job, history = lies.training.job, exact_job.history_root(claimed)
    fault = lies.training.prove(claimed, WrongStep(1, lies.honest), served)
    other = Bytes32(b"\x01" * 32)
    changes = {
        "step": {"step": 2},
        "record": {"before": replace(fault.before, trace=other)},
        "next record": {"after_path": fault.after_path[:-1]},
        "samples": {"samples": replace(fault.samples, node=other)},
        "labels": {"labels": replace(fault.labels, path=())},
    }

    for part, change in changes.items():
        with pytest.raises(StepProofInvalid) as caught:
            exact_job.judge(job, history, replace(fault, **change))
        assert caught.value.part == part


def test_judge__next_record_that_no_element_needs__is_refused(regression: Digits) -> None:
    lies = Lies(regression)
    claimed, served = lies.tell(0, 0, 0)
    fault = lies.training.prove(claimed, WrongStep(1, lies.honest), served)

    with pytest.raises(StepProofInvalid, match="next record"):
        exact_job.judge(
            lies.training.job, exact_job.history_root(claimed), replace(fault, after=claimed[2])
        )


def test_judge__proof_of_another_step__is_refused(regression: Digits) -> None:
    lies = Lies(regression)
    claimed, served = lies.tell(0, 0, 0)
    fault = lies.training.prove(claimed, WrongStep(1, lies.honest), served)
    moved = lies.training.show(claimed, 0, fault.element)

    with pytest.raises(ProofInvalid):
        exact_job.judge(lies.training.job, exact_job.history_root(claimed), moved)


def test_training__data_or_state_of_another_job__is_refused(regression: Digits) -> None:
    job = regression.training(2).job
    other = regression.state + 1

    with pytest.raises(InputInvalid, match="not those of the job"):
        ExactTraining(job, regression.step, regression.data, other)


def test_run__weight_beyond_the_working_copy__stops(regression: Digits) -> None:
    state = regression.state.copy()
    state[0, 0] = 9 * 2**24  # a bias; no step moves it by 1
    job = run.plan(regression.step, regression.data, state, seed=SEED, steps=1)

    with pytest.raises(WeightsOverflow, match="step 0"):
        list(ExactTraining(job, regression.step, regression.data, state).run())


def test_encode__weights_and_back__are_the_same(case: Digits) -> None:
    weights = case.model().float().state_dict()

    found = case.step.decode(case.step.encode(weights))

    assert found.keys() == weights.keys()
    for name, tensor in weights.items():
        assert torch.allclose(found[name], tensor, atol=2**-24)


@pytest.mark.parametrize("value", [float("nan"), 8.0, -float("inf")])
def test_encode__weights_that_do_not_fit__are_refused(regression: Digits, value: float) -> None:
    weights = regression.model().state_dict()
    weights["0.bias"][3] = value

    with pytest.raises(InputInvalid, match=r"0\.bias"):
        regression.step.encode(weights)
    with pytest.raises(InputInvalid, match=r"0\.bias"):
        regression.step.encode({"0.weight": weights["0.weight"]})


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ([nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)], "0: only the last"),
        ([nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2)], "Dropout has no integer"),
        ([nn.Linear(4, 4), nn.ReLU()], "the last layer"),
        ([nn.ReLU(), nn.Linear(4, 2)], "0: a ReLU stands behind"),
        ([nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)], "17,802 parameters"),
        ([nn.Conv2d(1, 2, 3, dilation=2), nn.ReLU(), nn.Linear(2, 2)], "undilated"),
        ([nn.Conv2d(1, 2, (3, 1)), nn.ReLU(), nn.Linear(2, 2)], "square"),
        ([nn.AvgPool2d(2, 1), nn.Linear(2, 2)], "windows of a pool must touch"),
    ],
)
def test_build__layer_without_an_integer_step__is_refused(
    layers: list[nn.Module], match: str
) -> None:
    terms = StepTerms(
        4, 0.1, (layers[0].in_features,) if isinstance(layers[0], nn.Linear) else (1, 4, 4), 16
    )

    with pytest.raises(ModelUnsupported, match=match):
        build(nn.Sequential(*layers), terms, twin.Ranges())


def test_build__stride_behind_the_first_layer__is_refused() -> None:
    layers = [
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 2, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(18, 2),
    ]  # fmt: skip
    ranges = twin.train(
        nn.Sequential(*layers).double(), iter([(np.ones((4, 1, 8, 8)), np.zeros(4))]), 0.1
    )

    with pytest.raises(ModelUnsupported, match="do not pass a stride of 2"):
        build(nn.Sequential(*layers), StepTerms(4, 0.1, (1, 8, 8), 16), ranges)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"batch": 48}, "no power of two"),
        ({"rate": 0.0}, "learning rate"),
        ({"shape": (8, 8)}, "no features and no images"),
        ({"steps_of_input": 256}, "do not fit 8 bits"),
    ],
)
def test_terms__out_of_range__are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(InputInvalid, match=match):
        replace(StepTerms(64, 0.5, (64,), 16), **change)


@pytest.mark.parametrize(
    ("samples", "labels", "match"),
    [
        (np.zeros((3, 4), np.uint8), np.zeros(3, int), "no batch of 4"),
        (np.zeros((4, 4), np.uint8), np.zeros(3, int), "with 3 labels"),
        (np.full((4, 4), 300), np.zeros(4, int), "outside U8"),
        (np.zeros((4, 4), np.uint8), np.full(4, -1), "outside U16"),
    ],
)
def test_data__that_is_no_batch__is_refused(samples: Array, labels: Array, match: str) -> None:
    with pytest.raises(InputInvalid, match=match):
        BatchedData.of(samples, labels, 4)


@pytest.mark.parametrize("count", [0, 2**20 + 1])
def test_job__of_too_few_or_many_steps__is_refused(regression: Digits, count: int) -> None:
    with pytest.raises(InputInvalid, match="steps; 1 to"):
        regression.training(count)
