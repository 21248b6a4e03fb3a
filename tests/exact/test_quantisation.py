"""Codes: numbers to integers and back, missing values; JSON that strangers wrote."""

import json

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.exact.dtypes import DType
from oracle.exact.quantisation import (
    Linear,
    Mask,
    OutputCode,
    Ranks,
    Tokens,
    input_from_json,
    output_from_json,
    quantise,
    to_json,
)

IMAGE = Linear("image", DType.I8, (1, 2, 2, 3), (0, 2, 3, 1), 6, 0.5)
RANKS = Ranks("rows", ((0.5, 1.5), (), (0.0,)), ("nan", "nan", "none"), "float32")
CODES = (IMAGE, Tokens("ids", 4, 100), Mask("mask", 4), RANKS)
OUTPUT = OutputCode("logits", DType.I16, (1, 3), 0.25, 0, "logits", False, ("a", "b", "c"))


def test_linear__other_shape__is_refused() -> None:
    with pytest.raises(InputInvalid, match="11 elements, 12"):
        IMAGE.quantise(np.zeros(11))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_linear__not_finite__is_refused(bad: float) -> None:
    with pytest.raises(InputInvalid, match="not finite"):
        IMAGE.quantise(np.full((1, 2, 2, 3), bad))


def test_tokens__id_the_model_lacks__is_refused() -> None:
    with pytest.raises(InputInvalid, match="0 … 99 are known"):
        CODES[1].quantise(np.array([[1, 2, 3, 100]]))


def test_quantise__input_missing__is_named() -> None:
    with pytest.raises(InputInvalid, match="input ids is missing"):
        quantise(CODES, {"image": np.zeros((1, 2, 2, 3))})


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "strange"}, {"dtype": "f32"}, {"rows": 0}, {"rows": -1}, {"scale": 0.0},
        {"scale": float("nan")}, {"scale": float("inf")}, {"scale": "x"}, {"extra": 1},
        {"dtype": "channel"}, {"order": [0, 1]}, {"order": [0, 0, 1, 2]}, {"rows": 5},
    ],
)  # fmt: skip
def test_input_from_json__malformed__is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputInvalid):
        input_from_json({**to_json(IMAGE), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [[1.0, 1.0], [], []]}, {"thresholds": [[2.0, 1.0], [], []]},
        {"thresholds": [["nan"], [], []]}, {"missing": ["nan", "maybe", "nan"]},
        {"missing": ["nan"]}, {"precision": "float16"}, {"thresholds": []},
    ],
)  # fmt: skip
def test_input_from_json__malformed_ranks__are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputInvalid):
        input_from_json({**to_json(RANKS), **change})


@pytest.mark.parametrize("change", [{"meaning": "truth"}, {"scale": -1.0}, {"shape": [0]}])
def test_output_from_json__malformed__is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputInvalid):
        output_from_json({**to_json(OUTPUT), **change})


def test_linear__image__is_one_row_a_pixel() -> None:
    image = np.arange(12).reshape(1, 2, 2, 3) / 2

    matrix = IMAGE.quantise(image)

    assert matrix.dtype == np.int8
    assert matrix.tolist() == [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]


def test_linear__out_of_range__is_clamped_and_halves_go_to_even() -> None:
    code = Linear("x", DType.I8, (5,), (0,), 1, 1.0)

    assert code.quantise(np.array([1e9, -1e9, 0.5, 1.5, -0.5])).tolist() == [[127, -128, 0, 2, 0]]


def test_ranks__at_a_threshold__counts_it() -> None:
    given = [[0.5, 7.0, np.nan], [np.nextafter(np.float32(0.5), np.float32(0)), np.nan, -1.0]]

    assert RANKS.quantise(np.array(given[0])).tolist() == [[1, 0, 1]]
    assert RANKS.quantise(np.array(given[1])).tolist() == [[0, 65535, 0]]


def test_ranks__float32__rounds_before_it_compares() -> None:
    limit = float(np.float32(0.1))  # above 0.1
    low, high = (
        Ranks("x", ((limit,),), ("nan",), precision).quantise(np.array([0.1]))[0, 0]
        for precision in ("float64", "float32")
    )

    assert (low, high) == (0, 1)


def test_ranks__zero_as_missing__is_missing() -> None:
    code = Ranks("x", ((-1.0, 1.0),), ("zero",), "float64")

    assert [code.quantise(np.array([x]))[0, 0] for x in (0.0, 1e-36, np.nan, 1e-3)] == [
        65535, 65535, 65535, 1,
    ]  # fmt: skip


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.kind)
def test_input_code__through_json__is_the_same(code: Linear | Tokens | Mask | Ranks) -> None:
    assert input_from_json(json.loads(json.dumps(to_json(code)))) == code


def test_output_code__through_json__is_the_same() -> None:
    assert output_from_json(json.loads(json.dumps(to_json(OUTPUT)))) == OUTPUT


def test_dequantise__unit_length__divides_by_it() -> None:
    code = OutputCode("e", DType.I16, (1, 2), 0.1, unit_length=True)

    assert code.dequantise(np.array([[3, 4]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)]
    ]


def test_dequantise__class__is_an_integer() -> None:
    code = OutputCode("class", DType.I32, (1,), 1.0, meaning="class")

    assert code.dequantise(np.array([[7]])).tolist() == [7]
