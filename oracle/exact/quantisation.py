"""How a requester's numbers become a program's integers and back: NumPy alone, data in a manifest.

A program knows integers only. For each input its manifest says what they stand for:
```
 linear   q = round(x / scale), clamped to the dtype, one scale for all or one for each column;
          axes permuted (images: NCHW → one row a pixel)
 tokens   ids, as they are                    mask   1 where a token is, 0 where there is none
 ranks    for each feature the number of the model's thresholds that are ≤ it (TREE, docs/exact.md)
```
and for each output `x = link((q − zero_point) · scale)`; several lie one after another in the
program's one output tensor. Rounding is to even, division is binary64: every requester gets the
same integers, though nothing depends on it: the integers are the request.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputInvalid
from oracle.exact.dtypes import MAX_ELEMENTS, NUMBERS, DType, Spec
from oracle.exact.ranks import Ranks

Array = NDArray[Any]
Meaning = Literal["value", "logits", "probabilities", "scores", "class", "embedding"]
Link = Literal["identity", "sigmoid", "two", "logistic", "softmax", "exp", "log1p_exp", "square"]


@dataclass(frozen=True, slots=True)
class Linear:
    """Real numbers on an even grid, with one scale for all or one for each along the last axis.

    `order`: which axis of the sample comes first in the matrix.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    order: tuple[int, ...]
    rows: int
    scale: float | tuple[float, ...]
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
        low, high = self.dtype.minimum, self.dtype.maximum
        integers = np.clip(self._steps(values), low, high).astype(self.dtype.numpy)
        return np.ascontiguousarray(integers.transpose(self.order)).reshape(self.rows, -1)

    def outside(self, values: Array) -> int:
        """Return how many elements of one sample are clamped. Raises as `quantise`."""
        steps = self._steps(values)
        return int(((steps < self.dtype.minimum) | (steps > self.dtype.maximum)).sum())

    def _steps(self, values: Array) -> Array:
        given = _shaped(self.name, values, self.shape).astype(np.float64)
        if not np.isfinite(given).all():
            raise InputInvalid(f"input {self.name} is not finite", hint="replace NaN and infinity")
        steps: Array = np.rint(given / np.asarray(self.scale))
        return steps


@dataclass(frozen=True, slots=True)
class Tokens:
    """Ids below `count`, in one row; `count` is one number for all, or one for each place."""

    name: str
    length: int
    count: int | tuple[int, ...]
    kind: ClassVar[str] = "tokens"

    @property
    def spec(self) -> Spec:
        """Dtype and shape of the input tensor."""
        return Spec(DType.U16, 1, self.length)

    def quantise(self, values: Array) -> Array:
        """Return the ids of one sample.

        Raises:
            InputInvalid: another length, no whole number, or an id that the model does not have.
        """
        given = _shaped(self.name, values, (1, self.length))
        if (given != np.rint(given)).any():
            raise InputInvalid(f"input {self.name} has ids: whole numbers")
        counts = np.broadcast_to(np.asarray(self.count), given.shape)
        wrong = np.flatnonzero((given < 0) | (given >= counts))
        if wrong.size:
            at = int(wrong[0])
            raise InputInvalid(
                f"input {self.name} has id {given[0, at]} at place {at}, "
                f"0 … {counts[0, at] - 1} are known there"
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
            InputInvalid: another length, or another number.
        """
        given = _shaped(self.name, values, (1, self.length))
        kept: Array = (given != 0).astype(np.uint8)
        if (given != kept).any():
            raise InputInvalid(f"input {self.name} is a mask: 0 and 1 are known")
        return kept


InputCode = Linear | Tokens | Mask | Ranks
_KINDS: Mapping[str, type[Any]] = {kind.kind: kind for kind in (Linear, Tokens, Mask, Ranks)}


@dataclass(frozen=True, slots=True)
class OutputCode:
    """What the integers of the output stand for.

    `link`: the function that the model ends with, which the reader applies, to margins `slope`
    times as steep; `unit_length`: it ends with a division by the length of the last axis. `labels`
    names the classes.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    scale: float
    zero_point: int = 0
    meaning: Meaning = "value"
    unit_length: bool = False
    labels: tuple[str, ...] = ()
    link: Link = "identity"
    slope: float = 1.0

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """What a reader gets: the integers' shape, but two probabilities for one margin."""
        return (*self.shape[:-1], 2) if self.link in ("two", "logistic") else self.shape

    def dequantise(self, integers: Array) -> Array:
        """Return the answer in float32 (classes: int64).

        Raises:
            InputInvalid: not as many elements as the shape has.
        """
        given = _shaped(self.name, integers, self.shape)
        if self.meaning == "class":
            return given.astype(np.int64)
        values = (given.astype(np.float64) - self.zero_point) * self.scale
        with np.errstate(over="ignore"):  # exp of a large margin is infinite, its inverse is zero
            values = _LINKS[self.link](values * self.slope)
        if self.unit_length:
            length = np.sqrt(np.square(values).sum(-1, keepdims=True))
            values = values / np.maximum(length, 1e-12)
        return values.astype(np.float32)


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _both(share: Array) -> Array:
    return np.concatenate([1 - share, share], -1)


_LINKS: Mapping[Link, Callable[[Array], Array]] = {
    "identity": lambda values: values,
    "sigmoid": _sigmoid,
    "two": _both,  # the share of the second class: the shares of both
    "logistic": lambda values: _both(_sigmoid(values)),
    "softmax": _softmax,
    "exp": np.exp,
    "log1p_exp": lambda values: np.log1p(np.exp(values)),
    "square": lambda values: np.sign(values) * values**2,
}


def to_json(code: InputCode | OutputCode) -> dict[str, Any]:
    """Return a code as JSON values, for the manifest; thresholds are in a file beside it."""
    names = [name for name in code.__dataclass_fields__ if name != "thresholds"]
    fields = {name: _plain(getattr(code, name)) for name in names}
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


@dataclass(frozen=True, slots=True)
class Outside:
    """Numbers of an input that were clamped, because the model was calibrated for smaller ones."""

    name: str
    count: int
    total: int

    def __str__(self) -> str:
        return (
            f"{self.count} of {self.total} numbers of {self.name} are outside what the model was "
            "calibrated for, and were clamped"
        )


def outside(codes: Sequence[InputCode], inputs: Mapping[str, Array]) -> tuple[Outside, ...]:
    """Return what `quantise` clamps of one sample, by input. Raises as `quantise`."""
    found = []
    for code in codes:
        values = np.asarray(inputs[code.name])
        if isinstance(code, Linear) and (count := code.outside(values)):
            found.append(Outside(code.name, count, values.size))
    return tuple(found)


def dequantise(codes: Sequence[OutputCode], integers: Array) -> dict[str, Array]:
    """Return the answers by name, which lie one after another in a program's output tensor.

    Raises:
        InputInvalid: not as many elements as their shapes have.
    """
    ends = np.cumsum([math.prod(code.shape) for code in codes])
    if integers.size != ends[-1]:
        raise InputInvalid(f"the answer has {integers.size} elements, {ends[-1]} are needed")
    parts = np.split(integers.ravel(), ends[:-1])
    return {code.name: code.dequantise(part) for code, part in zip(codes, parts, strict=True)}


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
        return code.sound
    if isinstance(code, Tokens):
        counts = code.count if isinstance(code.count, tuple) else (code.count,)
        fits = len(counts) in (1, code.length)
        return code.spec.valid and fits and min(counts) >= 1 and max(counts) <= 2**16
    if isinstance(code, Mask):
        return code.spec.valid
    size = math.prod(code.shape)
    fits = min(code.shape, default=0) >= 1 and size <= MAX_ELEMENTS and code.dtype in NUMBERS
    if isinstance(code, Linear):
        fits = fits and sorted(code.order) == list(range(len(code.shape)))
        fits = fits and code.rows >= 1 and size % code.rows == 0
    if isinstance(code, OutputCode):
        fits = fits and 0 < code.slope < math.inf
    scales = code.scale if isinstance(code.scale, tuple) else (code.scale,)
    if len(scales) > 1:
        fits = fits and isinstance(code, Linear) and len(scales) == code.shape[-1]
    return fits and all(0 < scale < math.inf for scale in scales)


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {allowed}")
        return str(value)

    return read


def _scale(value: Any) -> float | tuple[float, ...]:
    return tuple(float(item) for item in value) if isinstance(value, list) else float(value)


def _count(value: Any) -> int | tuple[int, ...]:
    return _ints(value) if isinstance(value, list) else int(value)


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(int(item) for item in value)


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "name": str, "shape": _ints, "order": _ints, "rows": int, "scale": _scale, "length": int,
    "count": _count, "zero_point": int, "unit_length": bool,
    "dtype": lambda value: DType[str(value).upper()],
    "labels": lambda value: tuple(str(item) for item in value),
    "columns": int, "file": str,
    "missing_value": lambda value: None if value is None else float(value),
    "precision": _one_of("float32", "float64"),
    "meaning": _one_of("value", "logits", "probabilities", "scores", "class", "embedding"),
    "link": _one_of(*get_args(Link)), "slope": float, "zero": float,
}  # fmt: skip
