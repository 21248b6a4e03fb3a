"""How a requester's numbers become a program's integers and back: NumPy alone, data in a manifest.

A program knows integers only. For each input its manifest says what they stand for:
```
 linear   q = round(x / scale), clamped to the dtype; axes permuted (images: NCHW → one row a pixel)
 tokens   ids, as they are                    mask   1 where a token is, 0 where there is none
 ranks    for each feature the number of the model's thresholds that are ≤ it (TREE, docs/exact.md)
```
and for the output `x = (q − zero_point) · scale`. Rounding is to even, division is binary64: every
requester gets the same integers, though nothing depends on it: the integers are the request.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputInvalid
from oracle.exact.dtypes import MAX_ELEMENTS, NUMBERS, DType, Spec

Array = NDArray[Any]
Missing = Literal["nan", "zero", "none"]
Meaning = Literal["value", "logits", "probabilities", "scores", "class", "embedding"]
MISSING_RANK = 65_535
_ZERO = 1e-35  # LightGBM's kZeroThreshold (include/LightGBM/meta.h)


@dataclass(frozen=True, slots=True)
class Linear:
    """Real numbers on an even grid. `order`: which axis of the sample comes first in the matrix."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    order: tuple[int, ...]
    rows: int
    scale: float
    kind: ClassVar[str] = "linear"

    @property
    def spec(self) -> Spec:
        """Dtype and shape of the input tensor."""
        return Spec(self.dtype, self.rows, math.prod(self.shape) // self.rows)

    def quantise(self, values: Array) -> Array:
        """Return the integers of one sample.

        Raises:
            InputInvalid: another shape, or not finite.
        """
        given = _shaped(self.name, values, self.shape).astype(np.float64)
        if not np.isfinite(given).all():
            raise InputInvalid(f"input {self.name} is not finite", hint="replace NaN and infinity")
        low, high = self.dtype.minimum, self.dtype.maximum
        integers = np.clip(np.rint(given / self.scale), low, high).astype(self.dtype.numpy)
        return np.ascontiguousarray(integers.transpose(self.order)).reshape(self.rows, -1)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Ids below `count`, in one row."""

    name: str
    length: int
    count: int
    kind: ClassVar[str] = "tokens"

    @property
    def spec(self) -> Spec:
        """Dtype and shape of the input tensor."""
        return Spec(DType.U16, 1, self.length)

    def quantise(self, values: Array) -> Array:
        """Return the ids of one sample.

        Raises:
            InputInvalid: another length, or an id that the model does not have.
        """
        given = _shaped(self.name, values, (1, self.length))
        if given.min() < 0 or given.max() >= self.count:
            raise InputInvalid(
                f"input {self.name} has ids {given.min()} … {given.max()}, 0 … {self.count - 1} "
                "are known"
            )
        ids: Array = given.astype(np.uint16)
        return ids


@dataclass(frozen=True, slots=True)
class Mask:
    """Which tokens are there, in one row."""

    name: str
    length: int
    kind: ClassVar[str] = "mask"

    @property
    def spec(self) -> Spec:
        """Dtype and shape of the input tensor."""
        return Spec(DType.U8, 1, self.length)

    def quantise(self, values: Array) -> Array:
        """Return 0 and 1 of one sample.

        Raises:
            InputInvalid: another length.
        """
        kept: Array = (_shaped(self.name, values, (1, self.length)) != 0).astype(np.uint8)
        return kept


@dataclass(frozen=True, slots=True)
class Ranks:
    """Features of a tree model. `thresholds` are sorted, one tuple per feature.

    `precision` is what the library rounds features to before it compares; `missing` is which values
    go the way of missing ones: NaN, NaN and zeros (LightGBM), or none (a NaN counts as zero).
    """

    name: str
    thresholds: tuple[tuple[float, ...], ...]
    missing: tuple[Missing, ...]
    precision: Literal["float32", "float64"]
    kind: ClassVar[str] = "ranks"

    @property
    def spec(self) -> Spec:
        """Dtype and shape of the input tensor."""
        return Spec(DType.U16, 1, len(self.thresholds))

    def quantise(self, values: Array) -> Array:
        """Return the ranks of one sample.

        Raises:
            InputInvalid: another number of features.
        """
        given = _shaped(self.name, values, (1, len(self.thresholds)))[0]
        with np.errstate(over="ignore"):
            given = given.astype(np.float32 if self.precision == "float32" else np.float64)
        ranks = np.empty((1, given.size), np.uint16)
        for k, (limits, missing) in enumerate(zip(self.thresholds, self.missing, strict=True)):
            x = float(given[k])
            if missing == "none" and math.isnan(x):
                x = 0.0
            if math.isnan(x) or (missing == "zero" and abs(x) <= _ZERO):
                ranks[0, k] = MISSING_RANK
            else:
                ranks[0, k] = np.searchsorted(np.asarray(limits, np.float64), x, side="right")
        return ranks


InputCode = Linear | Tokens | Mask | Ranks
_KINDS: Mapping[str, type[Any]] = {kind.kind: kind for kind in (Linear, Tokens, Mask, Ranks)}


@dataclass(frozen=True, slots=True)
class OutputCode:
    """What the integers of the output stand for.

    `unit_length`: the model ends with a division by the length of the last axis, which the reader
    does; `labels` names the classes.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    scale: float
    zero_point: int = 0
    meaning: Meaning = "value"
    unit_length: bool = False
    labels: tuple[str, ...] = ()

    def dequantise(self, integers: Array) -> Array:
        """Return the answer in float32 (classes: int64).

        Raises:
            InputInvalid: not as many elements as the shape has.
        """
        given = _shaped(self.name, integers, self.shape)
        if self.meaning == "class":
            return given.astype(np.int64)
        values = (given.astype(np.float64) - self.zero_point) * self.scale
        if self.unit_length:
            length = np.sqrt(np.square(values).sum(-1, keepdims=True))
            values = values / np.maximum(length, 1e-12)
        return values.astype(np.float32)


def to_json(code: InputCode | OutputCode) -> dict[str, Any]:
    """Return a code as JSON values, for the manifest."""
    fields = {name: _plain(getattr(code, name)) for name in code.__dataclass_fields__}
    return fields if isinstance(code, OutputCode) else {"kind": code.kind, **fields}


def input_from_json(value: Mapping[str, Any]) -> InputCode:
    """Read an input's code.

    Raises:
        InputInvalid: not one that `to_json` writes.
    """
    kind = _KINDS.get(str(value.get("kind")))
    if kind is None:
        raise InputInvalid(f"input code of kind {value.get('kind')!r:.40} is unknown")
    code: InputCode = _read(kind, {k: v for k, v in value.items() if k != "kind"})
    return code


def output_from_json(value: Mapping[str, Any]) -> OutputCode:
    """Read an output's code.

    Raises:
        InputInvalid: not one that `to_json` writes.
    """
    code: OutputCode = _read(OutputCode, value)
    return code


def quantise(codes: Sequence[InputCode], inputs: Mapping[str, Array]) -> list[Array]:
    """Return the input tensors of one sample, in the order of the program.

    Raises:
        InputInvalid: an input is missing or does not fit.
    """
    for code in codes:
        if code.name not in inputs:
            raise InputInvalid(f"input {code.name} is missing", hint=f"given: {sorted(inputs)}")
    return [code.quantise(np.asarray(inputs[code.name])) for code in codes]


def _shaped(name: str, values: Array, shape: tuple[int, ...]) -> Array:
    values = np.asarray(values)
    if values.size != math.prod(shape):
        raise InputInvalid(
            f"{name} has {values.size} elements, {math.prod(shape)} are needed",
            hint=f"its shape is {list(shape)}",
        )
    return values.reshape(shape)


def _plain(value: Any) -> Any:
    if isinstance(value, DType):
        return value.name.lower()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _read(kind: type[Any], value: Mapping[str, Any]) -> Any:
    try:
        fields = {name: _FIELDS[name](item) for name, item in value.items()}
        code = kind(**fields)
        sound = _sound(code)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputInvalid(f"malformed {kind.__name__} code: {error!r:.200}") from error
    if not sound:
        raise InputInvalid(
            f"the {kind.__name__} code of {code.name:.80} contradicts itself",
            hint="its shape, scale, order and lists must fit each other",
        )
    return code


def _sound(code: InputCode | OutputCode) -> bool:
    """Whether the fields of a code that a stranger wrote fit each other."""
    if isinstance(code, Ranks):
        return code.spec.valid and len(code.missing) == len(code.thresholds)
    if isinstance(code, Tokens):
        return code.spec.valid and 1 <= code.count <= 2**16
    if isinstance(code, Mask):
        return code.spec.valid
    size = math.prod(code.shape)
    fits = min(code.shape, default=0) >= 1 and size <= MAX_ELEMENTS and code.dtype in NUMBERS
    if isinstance(code, Linear):
        fits = fits and sorted(code.order) == list(range(len(code.shape)))
        fits = fits and code.rows >= 1 and size % code.rows == 0
    return fits and 0 < code.scale < math.inf


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {allowed}")
        return str(value)

    return read


def _sorted_floats(value: Any) -> tuple[float, ...]:
    limits = tuple(float(item) for item in value)
    ascending = all(a < b for a, b in pairwise(limits)) and not any(map(math.isnan, limits))
    if not ascending or len(limits) >= MISSING_RANK:
        raise ValueError("thresholds are not strictly ascending, or above 65,534")
    return limits


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(int(item) for item in value)


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "name": str, "shape": _ints, "order": _ints, "rows": int, "scale": float, "length": int,
    "count": int, "zero_point": int, "unit_length": bool,
    "dtype": lambda value: DType[str(value).upper()],
    "labels": lambda value: tuple(str(item) for item in value),
    "thresholds": lambda value: tuple(_sorted_floats(item) for item in value),
    "missing": lambda value: tuple(_one_of("nan", "zero", "none")(item) for item in value),
    "precision": _one_of("float32", "float64"),
    "meaning": _one_of("value", "logits", "probabilities", "scores", "class", "embedding"),
}  # fmt: skip
