"""The fast executor gives the reference's trace: golden vectors, random cases, batches, threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from oracle.errors import InputInvalid
from oracle.exact.builder import ProgramBuilder
from oracle.exact.dtypes import DType, Spec, channels
from oracle.exact.errors import ProgramInvalid
from oracle.exact.program import Opcode
from oracle.exact.reference import execute
from tests.exact import vectors
from tests.exact.cases import Case, random_case
from worker.exact.kernels import products
from worker.exact.kernels.executor import Executor

CASES = 120  # of each operator


@pytest.fixture(params=[False, True], ids=["floats", "int_mm"])
def int_mm(request: pytest.FixtureRequest) -> bool:
    if request.param and not products.int_mm_is_exact("cpu"):
        pytest.skip("torch._int_mm is not exact on this processor")
    return bool(request.param)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def drawn(opcode: Opcode, rng: np.random.Generator, small: bool) -> Case:
    while True:
        try:
            return random_case(opcode, rng, small=small)
        except ProgramInvalid as error:
            if error.part != "output":  # large ones may have one above the limit
                raise


def same(case: Case, int_mm: bool, name: object) -> None:
    expected = execute(case.program, case.constants, case.inputs)

    trace = Executor(case.program, case.constants, int_mm=int_mm).trace(case.inputs)

    for index, (given, wanted) in enumerate(zip(trace.tensors, expected.tensors, strict=True)):
        assert given.dtype == wanted.dtype
        np.testing.assert_array_equal(given, wanted, err_msg=f"{name}, tensor {index}")


@pytest.mark.parametrize("name", vectors.NAMES)
def test_trace__golden_case__gives_its_tensors(name: str, int_mm: bool, threads: int) -> None:
    for vector in vectors.load(name):
        same(vector.case(), int_mm, vector.name)


@pytest.mark.parametrize("opcode", Opcode)
def test_trace__random_cases__are_the_reference(opcode: Opcode, int_mm: bool) -> None:
    rng = np.random.default_rng([7, opcode])
    for number in range(CASES):
        same(drawn(opcode, rng, small=number % 8 != 0), int_mm, number)


WAYS = (
    (DType.I8, DType.I8, 384, 127, "int_mm"),
    (DType.U8, DType.I8, 384, 127, "int_mm"),
    (DType.I8, DType.I8, 384, 127, "float32"),
    (DType.I8, DType.I8, 1536, 128, "float32"),  # in chunks
    (DType.U8, DType.I8, 1536, 60, "float32"),
    (DType.I16, DType.I8, 384, 127, "limbs"),
    (DType.I16, DType.I8, 1536, 128, "float64"),
    (DType.U16, DType.I16, 24, 2**15, "float64"),
)


@pytest.mark.parametrize(("a", "b", "depth", "top", "way"), WAYS)
def test_trace__dot_at_the_edge_of_its_way__is_the_reference(
    a: DType, b: DType, depth: int, top: int, way: str
) -> None:
    if way == "int_mm" and not products.int_mm_is_exact("cpu"):
        pytest.skip("torch._int_mm is not exact on this processor")
    builder, rows, width = ProgramBuilder(), 32, 16
    weights = np.full((width, depth), -top)
    weights[1::2, ::2] = min(top, b.maximum)
    c = builder.constant(channels(np.arange(width), 3, 9), DType.CHANNEL)
    x = builder.input(Spec(a, rows, depth))
    builder.dot(x, builder.constant(weights, b), c, dtype=DType.I32)
    program, constants = builder.build()
    inputs = np.full((rows, depth), a.maximum)
    inputs[::2] = a.minimum
    inputs[1::3, ::3] = a.minimum
    executor = Executor(program, constants, int_mm=way == "int_mm")

    assert executor.ways == {way: 1}
    same(Case(program, constants, (inputs,), 0), way == "int_mm", way)


@pytest.mark.parametrize("name", ["network", "softmax", "layernorm"])
def test_run__batches__are_each_request_alone(name: str, int_mm: bool) -> None:
    rng = np.random.default_rng(3)
    case = vectors.load(name)[0].case()
    batch = [np.stack([rng.permuted(x, axis=1) for _ in range(64)]) for x in case.inputs]
    expected = [
        execute(case.program, case.constants, [x[k] for x in batch]).output for k in range(64)
    ]
    executor = Executor(case.program, case.constants, int_mm=int_mm)

    for size in (1, 2, 3, 7, 64):
        outputs = executor.run([x[:size] for x in batch])
        np.testing.assert_array_equal(outputs, expected[:size])


def test_run__input_of_another_shape__says_which() -> None:
    case = vectors.load("network")[0].case()
    executor = Executor(case.program, case.constants)

    with pytest.raises(InputInvalid, match="input 0 is"):
        executor.run([np.zeros((1, 1, 99), np.int8) for _ in case.inputs])


def test_run__another_number_of_inputs__refused() -> None:
    case = vectors.load("network")[0].case()

    with pytest.raises(InputInvalid, match="0 inputs"):
        Executor(case.program, case.constants).run([])
