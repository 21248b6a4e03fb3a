"""Codes: numbers to integers and back, missing values; JSON that strangers wrote."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.exact.dtypes import DType
from oracle.exact.quantisation import (
    Linear,
    Mask,
    OutputCode,
    Outside,
    Ranks,
    Tokens,
    dequantise,
    input_from_json,
    output_from_json,
    outside,
    quantise,
    to_json,
)
from oracle.exact.ranks import Missing, Thresholds
from oracle.protocol import tensor

IMAGE = Linear("image", DType.I8, (1, 2, 2, 3), (0, 2, 3, 1), 6, 0.5)
RANKS = Ranks("rows", 3, "float32", "t.safetensors", -1.5)
CODES = (IMAGE, Tokens("ids", 4, 100), Mask("mask", 4), RANKS)
OUTPUT = OutputCode("logits", DType.I16, (1, 3), 0.25, 0, "logits", False, ("a", "b", "c"))


def ranks(
    limits: Sequence[Sequence[float]], missing: Sequence[Missing], precision: Any = "float32",
    value: float | None = None, zero: float = 0.0,
) -> Ranks:  # fmt: skip
    """Return a code whose thresholds went through their file."""
    arrays = tuple(np.array(one, np.float64) for one in limits)
    kept = Thresholds.parse(Thresholds(arrays, tuple(missing)).to_bytes())
    return Ranks("rows", len(limits), precision, "t.safetensors", value, zero, kept)


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
        {"precision": "float16"}, {"columns": 0}, {"columns": 4097}, {"missing_value": "inf"},
        {"missing_value": "none"}, {"thresholds": [[1.0]]}, {"columns": "x"},
    ],
)  # fmt: skip
def test_input_from_json__malformed_ranks__are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputInvalid):
        input_from_json({**to_json(RANKS), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"meaning": "truth"}, {"scale": -1.0}, {"shape": [0]}, {"link": "sinh"}, {"slope": 0.0},
        {"slope": "nan"},
    ],
)  # fmt: skip
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

    code = ranks([[0.5, 1.5], [], [0.0]], ["nan", "nan", "none"])

    assert code.quantise(np.array(given[0])).tolist() == [[1, 0, 1]]
    assert code.quantise(np.array(given[1])).tolist() == [[0, 65535, 0]]


def test_ranks__missing_value__goes_the_way_of_nan() -> None:
    code = ranks([[-5.0, 5.0]] * 2, ["nan", "nan"], value=0.1)  # XGBoost compares float32

    assert code.quantise(np.array([0.1, np.float32(0.1)])).tolist() == [[65535, 65535]]
    assert code.quantise(np.array([0.0, np.nan])).tolist() == [[1, 65535]]


def test_ranks__a_missing_value_that_the_model_does_not_know__is_refused() -> None:
    with pytest.raises(InputInvalid, match="feature 1 of rows is missing"):
        ranks([[0.0], [0.0]], ["nan", "refused"]).quantise(np.array([np.nan, np.nan]))


def test_ranks__infinite__is_refused() -> None:
    with pytest.raises(InputInvalid, match="infinite"):
        ranks([[0.0]], ["nan"]).quantise(np.array([1e300]))  # in float32


@pytest.mark.parametrize(
    "arrays",
    [
        {"limits": [1.0, 1.0]}, {"limits": [2.0, 1.0]}, {"limits": [np.nan, 1.0]},
        {"limits": [1.0]}, {"counts": [3]}, {"counts": [-1, 3], "missing": [0, 0]},
        {"counts": [2, 0]}, {"missing": [4]}, {"counts": [], "missing": []}, {"other": [1.0]},
    ],
)  # fmt: skip
def test_thresholds__malformed_file__is_refused(arrays: dict[str, list[float]]) -> None:
    whole = {"limits": [1.0, 2.0], "counts": [2], "missing": [0], **arrays}
    kinds = {"limits": np.float64, "counts": np.int32, "missing": np.uint8, "other": np.float64}
    data = tensor.encode({name: np.array(v, kinds[name]) for name, v in whole.items()})

    with pytest.raises(InputInvalid):
        Thresholds.parse(data)


def test_ranks__float32__rounds_before_it_compares() -> None:
    limit = float(np.float32(0.1))  # above 0.1
    low, high = (
        ranks([[limit]], ["nan"], precision).quantise(np.array([0.1]))[0, 0]
        for precision in ("float64", "float32")
    )

    assert (low, high) == (0, 1)


def test_ranks__nearly_zero__is_zero_where_the_library_says_so() -> None:
    limits, given = [[-1e-36, 0.0]], np.array([-2e-36])

    assert ranks(limits, ["nan"], "float64").quantise(given) == [[0]]
    assert ranks(limits, ["nan"], "float64", zero=1e-35).quantise(given) == [[2]]


def test_ranks__zero_as_missing__is_missing() -> None:
    code = ranks([[-1.0, 1.0]], ["zero"], "float64", zero=1e-35)

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


@pytest.mark.parametrize(
    ("link", "margins", "wanted"),
    [
        ("identity", [-1.0, 3.0], [-1.0, 3.0]), ("exp", [0.0, 2.0], [1.0, np.exp(2)]),
        ("sigmoid", [0.0, -900.0], [0.5, 0.0]), ("square", [-3.0, 2.0], [-9.0, 4.0]),
        ("softmax", [0.0, 0.0], [0.5, 0.5]), ("log1p_exp", [0.0, -900.0], [np.log(2), 0.0]),
        ("two", [0.25], [0.75, 0.25]), ("logistic", [np.log(3.0) / 2], [0.25, 0.75]),
    ],
)  # fmt: skip
def test_dequantise__link__gives_what_the_model_ends_with(
    link: Any, margins: list[float], wanted: list[float]
) -> None:
    slope = 2.0 if link == "logistic" else 1.0
    code = OutputCode(
        "y", DType.I32, (1, len(margins)), 2.0**-20, meaning="value", link=link, slope=slope
    )

    got = code.dequantise(np.rint(np.array([margins]) * 2.0**20).astype(np.int64))

    assert got.shape == code.answer_shape == (1, len(wanted))
    np.testing.assert_allclose(got[0], wanted, atol=1e-6)


def test_dequantise__class__is_an_integer() -> None:
    code = OutputCode("class", DType.I32, (1,), 1.0, meaning="class")

    assert code.dequantise(np.array([[7]])).tolist() == [7]


def test_outside__numbers_beyond_the_range__are_counted() -> None:
    code = Linear("x", DType.I8, (1, 3), (0, 1), 1, (1.0, 0.01, 100.0))
    given = np.array([[128.0, 1.27, -20_000.0]])
    assert outside([code], {"x": given}) == (Outside("x", 2, 3),)
    assert code.quantise(given).tolist() == [[127, 127, -128]]
    assert input_from_json(json.loads(json.dumps(to_json(code)))) == code


def test_input_from_json__not_a_scale_for_each_column__is_refused() -> None:
    code = Linear("x", DType.I8, (1, 3), (0, 1), 1, (1.0, 0.01))
    with pytest.raises(InputInvalid):
        input_from_json(to_json(code))


def test_dequantise__several_outputs__lie_one_after_another() -> None:
    codes = [OutputCode("a", DType.I16, (1, 2), 0.5), OutputCode("b", DType.I16, (1,), 2.0)]
    answers = dequantise(codes, np.array([[2, 4, 3]]))
    assert {name: values.tolist() for name, values in answers.items()} == {"a": [[1, 2]], "b": [6]}
    with pytest.raises(InputInvalid):
        dequantise(codes, np.array([[2, 4]]))
