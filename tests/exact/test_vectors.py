"""The golden vectors are what the code makes, and hold together when read as bytes alone."""

import numpy as np
import pytest
from eth_abi.abi import decode as abi_decode

from oracle.exact import judge, proofs
from oracle.exact.errors import ProgramInvalid
from oracle.exact.program import Program
from oracle.exact.reference import execute
from oracle.exact.steps import ExactClaim, ProofStep, Slice, TensorOpening
from tests.exact import vectors
from tests.vectors.exact import make
from tests.vectors.exact.invalid import limits


def test_vectors__committed__are_those_that_the_code_makes() -> None:
    for name, content in make.vectors().items():
        assert (vectors.HERE / name).read_bytes() == content, f"{name}: run make.py beside it"


@pytest.mark.parametrize("name", vectors.NAMES)
def test_execute__golden_case__gives_its_tensors_and_roots(name: str) -> None:
    for vector in vectors.load(name):
        case = vector.case()
        committed = case.committed()

        for given, array in zip((*vector.inputs, *vector.tensors), committed.tensors, strict=True):
            np.testing.assert_array_equal(given.array, array, err_msg=vector.name)
        assert all(stored.tree.root == stored.root for stored in vector.constants)
        assert case.program.encode() == vector.program
        assert proofs.claim(committed) == ExactClaim(
            vector.model_root, vector.input_root, vector.output_root, vector.trace_root
        )


@pytest.mark.parametrize("name", vectors.NAMES)
def test_judge__golden_step__consistent_with_the_stored_element(name: str) -> None:
    seen = 0
    for vector in vectors.load(name):
        claim = ExactClaim(
            vector.model_root, vector.input_root, vector.output_root, vector.trace_root
        )
        for proven in vector.steps:
            step = read_step(proven.abi)

            assert (step.op, step.row, step.col) == (proven.op, proven.row, proven.col)
            assert judge.compute(claim, step) == int.from_bytes(proven.stored), vector.name
            assert judge.check(claim, step), vector.name
            seen += 1
    assert seen >= 3


def test_cases__each_operator__has_three_at_the_least() -> None:
    assert {
        name: len(vectors.load(name)) for name in vectors.OPERATORS if len(vectors.load(name)) < 3
    } == {}


@pytest.mark.parametrize("fault", vectors.invalid(), ids=lambda fault: fault.name)
def test_parse__program_with_one_fault__names_it(fault: vectors.InvalidProgram) -> None:
    with pytest.raises(ProgramInvalid) as caught:
        Program.parse(fault.program)

    assert (caught.value.op, caught.value.part) == (fault.op, fault.part)


def test_parse__program_at_a_limit__accepted() -> None:
    for name, data, _ in limits(above=False):
        assert Program.parse(data).encode() == data, name


def test_execute__network__needs_no_more_than_its_constants_file() -> None:
    from oracle.exact import constants

    (vector,) = vectors.load("network")
    case = vector.case()
    data = constants.save(case.program, case.constants)

    trace = execute(case.program, constants.load(data, case.program), case.inputs)

    np.testing.assert_array_equal(trace.output, vector.tensors[-1].array)


def read_step(data: bytes) -> ProofStep:
    """Read an ABI-encoded step, as Solidity does."""
    ((op, row, col, preamble, operator, path, leaves, operands, slices, result, element),) = (
        abi_decode([make.step_type()], data)
    )
    return ProofStep(
        op,
        row,
        col,
        preamble,
        operator,
        path,
        leaves,
        tuple(TensorOpening(*opening) for opening in operands),
        tuple(Slice(*part) for part in slices),
        TensorOpening(*result),
        Slice(*element),
    )
