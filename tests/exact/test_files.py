"""Records: the bytes of inputs and outputs, from which alone the roots follow."""

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.exact import commitments, files
from oracle.exact.dtypes import DType, Spec
from oracle.exact.reference import execute
from oracle.exact.tensors import TensorTree
from tests.exact import models

SPECS = [Spec(DType.I8, 3, 5), Spec(DType.U16, 1, 200)]
ARRAYS = [np.arange(-7, 8, dtype=np.int8).reshape(3, 5), np.arange(200, dtype=np.uint16)[None]]
GOOD = files.write_inputs(SPECS, ARRAYS)
HEADER = 11

BAD = {
    "nothing": b"",
    "header_cut": GOOD[:7],
    "data_cut": GOOD[:-1],
    "byte_too_many": GOOD + b"\0",
    "unknown_dtype": GOOD[:2] + b"\x09" + GOOD[3:],
    "record_dtype": GOOD[:2] + bytes([DType.CHANNEL]) + GOOD[3:],
    "no_rows": GOOD[:3] + bytes(4) + GOOD[7:],
    "rows_that_lie": GOOD[:3] + b"\xff" * 4 + GOOD[7:],
    "other_order": GOOD[HEADER + 15 :] + GOOD[: HEADER + 15],
    "doubled": GOOD + GOOD,
}


@pytest.mark.parametrize("case", BAD)
def test_read_inputs__malformed__refused(case):
    with pytest.raises(InputInvalid):
        files.read_inputs(BAD[case])


def test_write_inputs__other_shape__refused():
    with pytest.raises(InputInvalid):
        files.write_inputs(SPECS, [ARRAYS[0].T, ARRAYS[1]])


def test_read_output__two_records__refused():
    with pytest.raises(InputInvalid, match="one tensor"):
        files.read_output(GOOD)


def test_input_root__of_the_bytes_alone__equals_that_of_the_tensors():
    assert files.input_root(GOOD) == commitments.input_root(SPECS, ARRAYS)
    for tree, array in zip(files.read_inputs(GOOD), ARRAYS, strict=True):
        assert (tree.array == array).all()


def test_output_root__of_the_bytes_alone__equals_that_of_the_answer():
    program, constants = models.linear()
    output = execute(program, constants, [np.ones((1, 64), np.int8)]).output
    last = program.id_of(len(program.ops) - 1)
    data = files.record(last, TensorTree.of(output, program.output.dtype))
    assert files.output_root(data) == commitments.output_root(program, output)
