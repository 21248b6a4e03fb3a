"""Constants files: only what the program names, byte for byte, is loaded."""

from collections.abc import Callable

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.exact import constants
from oracle.exact.builder import ProgramBuilder
from oracle.exact.constants import Constants
from oracle.exact.dtypes import DType, Spec, channels
from oracle.exact.errors import ConstantMismatch, ProgramInvalid
from oracle.exact.program import Program
from oracle.exact.tensors import TensorTree
from oracle.protocol import tensor
from tests.exact import vectors


@pytest.fixture(scope="module")
def network() -> tuple[Program, Constants]:
    case = vectors.load("network")[0].case()
    return case.program, case.constants


def changed(data: bytes, change: Callable[[dict[str, np.ndarray]], None]) -> bytes:
    arrays = {name: array.copy() for name, array in tensor.decode(data, len(data)).items()}
    change(arrays)
    return tensor.encode(arrays)


def test_load__what_save_wrote__comes_back(network: tuple[Program, Constants]) -> None:
    program, before = network

    after = constants.load(constants.save(program, before), program)

    assert list(after) == list(before)
    for number in before:
        assert after.tree(number).root == before.tree(number).root
        np.testing.assert_array_equal(after[number], before[number])


def test_load__one_byte_changed_anywhere__refused(network: tuple[Program, Constants]) -> None:
    program, data = network[0], constants.save(*network)
    for name in tensor.decode(data, len(data)):

        def change(arrays: dict[str, np.ndarray], name: str = name) -> None:
            arrays[name][-1] ^= 1

        with pytest.raises((ConstantMismatch, ProgramInvalid)):
            constants.load(changed(data, change), program)


def shorter(arrays: dict[str, np.ndarray]) -> None:
    arrays["i8"] = arrays["i8"][:-1]


def longer(arrays: dict[str, np.ndarray]) -> None:
    arrays["i8"] = np.append(arrays["i8"], np.int8(0))


def missing(arrays: dict[str, np.ndarray]) -> None:
    del arrays["u16"]


def another(arrays: dict[str, np.ndarray]) -> None:
    arrays["i32"] = np.zeros(3, np.int32)


@pytest.mark.parametrize("change", [shorter, longer, missing, another])
def test_load__more_or_fewer_elements__refused(
    network: tuple[Program, Constants], change: Callable[[dict[str, np.ndarray]], None]
) -> None:
    with pytest.raises(ConstantMismatch):
        constants.load(changed(constants.save(*network), change), network[0])


def test_load__elements_of_another_dtype__refused(network: tuple[Program, Constants]) -> None:
    def floats(arrays: dict[str, np.ndarray]) -> None:
        arrays["i8"] = arrays["i8"].astype(np.float32)

    with pytest.raises(InputInvalid):
        constants.load(changed(constants.save(*network), floats), network[0])


def test_load__no_tensor_file__refused(network: tuple[Program, Constants]) -> None:
    with pytest.raises(InputInvalid):
        constants.load(b"weights", network[0])


@pytest.mark.parametrize(
    ("bias", "mult", "shift"),
    [
        (2**61 + 1, 0, 1),
        (-(2**61) - 1, 0, 1),
        (0, 2**24, 1),
        (0, -(2**24), 1),
        (0, 0, 0),
        (0, 0, 63),
    ],
)
def test_build__channel_outside_the_ranges__refused(bias: int, mult: int, shift: int) -> None:
    b = ProgramBuilder()
    c = b.constant(channels(bias, mult, shift), DType.CHANNEL)
    b.rescale(b.input(Spec(DType.I8, 1, 1)), c, dtype=DType.I8)

    with pytest.raises(ProgramInvalid, match="channel"):
        b.build()
    program, hostile = b.build(canonical=False)
    with pytest.raises(ProgramInvalid, match="channel"):
        constants.save(program, hostile)


def test_check__ignored_bytes_of_a_channel_set__refused() -> None:
    stored = np.zeros((1, 16), np.uint8)
    stored[0, 12:] = 1
    stored[0, 0] = stored[0, 8] = 0x80
    b = ProgramBuilder()
    c = b.constant(TensorTree(Spec(DType.CHANNEL, 1, 1), stored), DType.CHANNEL)
    b.rescale(b.input(Spec(DType.I8, 1, 1)), c, dtype=DType.I8)

    with pytest.raises(ProgramInvalid, match="channel"):
        b.build()


def test_check__constant_missing__refused(network: tuple[Program, Constants]) -> None:
    program, before = network
    trees = {number: before.tree(number) for number in before}
    del trees[1]

    with pytest.raises(ConstantMismatch, match="constant 1 is missing"):
        constants.check(program, Constants(trees))


def test_save__program_without_constants__file_of_nothing() -> None:
    b = ProgramBuilder()
    b.max(b.input(Spec(DType.I8, 1, 3)))
    program, empty = b.build()

    assert list(constants.load(constants.save(program, empty), program)) == []
