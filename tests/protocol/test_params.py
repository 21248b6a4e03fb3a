"""Lanes, steps and the zero word."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.protocol import params
from oracle.protocol.params import ParameterSpec
from oracle.types import ZERO32, Bytes32

TEMPERATURE = ParameterSpec(lane=0, name="temperature", maximum=200, default=100, scale=100)
SHIFT = ParameterSpec(lane=3, name="shift", minimum=1, maximum=20, default=10, scale=10, offset=-1)
TOP = ParameterSpec(lane=7, name="top", maximum=5)
SPECS = (TEMPERATURE, SHIFT, TOP)
UINT32 = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("lanes", [[0] * 9, [-1], [2**32]])
def test_pack__does_not_fit__refused(lanes: list[int]) -> None:
    with pytest.raises(InputInvalid):
        params.pack(lanes)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_unpack__not_a_word__refused(length: int) -> None:
    with pytest.raises(InputInvalid, match="32 bytes"):
        params.unpack(Bytes32(bytes(length)))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"heat": 1}, "unknown parameter heat"),
        ({"temperature": 2.01}, "out of bounds"),
        ({"temperature": -0.01}, "out of bounds"),
        ({"temperature": 0.005}, "not on a step of 1/100"),
        ({"temperature": float("nan")}, "not a number"),
        ({"temperature": float("inf")}, "not a number"),
        ({"temperature": "1"}, "not a number"),
        ({"temperature": True}, "not a number"),
        ({"temperature": None}, "not a number"),
        ({"shift": -1}, "out of bounds"),
        ({"top": 2**40}, "out of bounds"),
    ],
)
def test_pack_named__value_not_allowed__refused_with_a_hint(
    values: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputInvalid, match=says) as caught:
        params.pack_named(SPECS, values)
    assert caught.value.hint


def test_pack_named__values_of_the_zero_word_that_are_not_the_defaults__refused() -> None:
    with pytest.raises(InputInvalid, match="zero word"):
        params.pack_named([TEMPERATURE], {"temperature": 0})


@pytest.mark.parametrize(
    ("lanes", "says"),
    [
        ([201, 0, 0, 10], "temperature: lane 0 holds 2.01"),
        ([100, 0, 0, 0], "shift: lane 3 holds -1"),
        ([100, 1, 0, 10], "lane 1 holds 1 but names no parameter"),
    ],
)
def test_unpack_named__word_that_the_manifest_does_not_allow__refused(
    lanes: list[int], says: str
) -> None:
    with pytest.raises(InputInvalid, match=says):
        params.unpack_named(SPECS, params.pack(lanes))


@pytest.mark.parametrize(
    "changes",
    [
        {"lane": -1},
        {"lane": 8},
        {"lane": 3},  # SHIFT's
        {"name": "shift"},
        {"name": ""},
        {"name": "Top"},
        {"name": "a" * 33},
        {"minimum": -1},
        {"minimum": 101},
        {"default": 201},
        {"maximum": 2**32},
        {"scale": 0},
        {"scale": 10**6 + 1},
        {"offset": 1e7},
        {"offset": float("nan")},
        {"description": "x" * 1025},
    ],
)
def test_check_specs__contradiction__refused(changes: dict[str, Any]) -> None:
    fields = {name: getattr(TEMPERATURE, name) for name in TEMPERATURE.__slots__}

    with pytest.raises(InputInvalid):
        params.check_specs([SHIFT, ParameterSpec(**{**fields, **changes})])


def test_pack__lane_0__is_the_most_significant() -> None:
    assert params.pack([1]) == bytes([0, 0, 0, 1]) + bytes(28)
    assert params.pack([0] * 7 + [1]) == bytes(31) + b"\x01"


@given(st.lists(UINT32, min_size=8, max_size=8))
def test_unpack__packed__same_lanes(lanes: list[int]) -> None:
    assert params.unpack(params.pack(lanes)) == tuple(lanes)


def test_pack_named__nothing_named__zero_word_of_the_defaults() -> None:
    assert params.pack_named(SPECS, {}) == ZERO32
    assert params.unpack_named(SPECS, ZERO32) == {"temperature": 1, "shift": 0, "top": 0}


def test_pack_named__one_named__the_others_take_their_default() -> None:
    word = params.pack_named(SPECS, {"top": 2})

    assert params.unpack(word) == (100, 0, 0, 10, 0, 0, 0, 2)
    assert params.unpack_named(SPECS, word) == {"temperature": 1, "shift": 0, "top": 2}


def test_pack_named__zero_that_is_the_default__zero_word() -> None:
    assert params.pack_named([TOP], {"top": 0}) == ZERO32


@given(UINT32, st.integers(1, 10**6), st.floats(-1e6, 1e6))
def test_lane_value__of_a_real__the_same_lane(lane: int, scale: int, offset: float) -> None:
    spec = ParameterSpec(lane=0, name="x", scale=scale, offset=offset)

    assert spec.lane_value(spec.real(lane)) == lane
