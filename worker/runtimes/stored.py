"""Forms in which a weight takes fewer bytes in a file, and how each becomes the weight again.

| form | parts | the weight |
|---|---|---|
| int8 | `int8` i8 [rows, columns], `scale` [rows, 1] | int8 · scale |
| int4 | `int4` u8 [groups, 16], `scale` [groups, 1] | groups of 32: (nibble − 8) · scale |
| sparse | `mask` u8 [n/8, 1], `bits` [1, 8], `values` [1 + kept] | at each set bit the next value |
| low rank | `left` [rows, r], `right` [r, columns] | left · right |

A form is decoded with the dozen operators of `Steps`. So one recipe serves three ways: torch at
once, nodes of a `torch.export` graph, nodes of an ONNX graph. All are exact in float32 but for
the product itself. In a safetensors file a part is the tensor `<weight>.<part>`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch

from worker.errors import WeightsInvalid

GROUP = 32  # weights that share a scale of int4
MAX_EXPANSION = 64  # times the file: a few bytes must not fill a worker's memory
_SPARE = 2**20  # bytes that any file may become
T = TypeVar("T")


class Steps(Protocol[T]):
    """What a recipe may do with parts; `T` is a tensor, or the name of one in a graph."""

    def floating(self, x: T) -> T:
        """Return float32."""

    def whole(self, x: T) -> T:
        """Return int64."""

    def floor(self, x: T) -> T:
        """Round down."""

    def multiplied(self, x: T, number: float) -> T:
        """Multiply by a number."""

    def plus(self, x: T, number: float) -> T:
        """Add a number."""

    def product(self, a: T, b: T) -> T:
        """Multiply element by element; sides of length one are repeated."""

    def difference(self, a: T, b: T) -> T:
        """Subtract element by element."""

    def side_by_side(self, parts: Sequence[T]) -> T:
        """Join matrices along their columns."""

    def matrix_product(self, a: T, b: T) -> T:
        """Multiply matrices."""

    def running_sum(self, x: T) -> T:
        """Add up a vector from its beginning."""

    def picked(self, x: T, places: T) -> T:
        """Return elements of a vector by their places."""

    def first(self, x: T, count: int) -> T:
        """Return the first elements of a vector."""

    def reshaped(self, x: T, shape: Sequence[int]) -> T:
        """Return the same elements in another shape."""


def _int8(steps: Steps[T], parts: Mapping[str, T], _size: int) -> T:
    return steps.product(steps.floating(parts["int8"]), steps.floating(parts["scale"]))


def _int4(steps: Steps[T], parts: Mapping[str, T], size: int) -> T:
    packed = steps.floating(parts["int4"])
    high = steps.floor(steps.multiplied(packed, 1 / 16))
    low = steps.difference(packed, steps.multiplied(high, 16))
    values = steps.plus(steps.side_by_side([low, high]), -8)
    scaled = steps.product(values, steps.floating(parts["scale"]))
    return _of_first(steps, scaled, size, stored=GROUP)


def _of_first(steps: Steps[T], x: T, size: int, *, stored: int) -> T:
    """Return the first elements, of a matrix with so many columns, as a vector."""
    flat = steps.reshaped(x, [-1])
    return steps.first(flat, size) if size % stored else flat


def _sparse(steps: Steps[T], parts: Mapping[str, T], size: int) -> T:
    packed = steps.floating(parts["mask"])
    shifted = steps.product(packed, parts["bits"])
    above = steps.multiplied(steps.floor(steps.multiplied(shifted, 0.5)), 2)
    bits = steps.difference(steps.floor(shifted), above)
    mask = _of_first(steps, bits, size, stored=8)
    # The first of the values is 0: where no bit was set yet, the sum is 0
    return steps.product(steps.picked(parts["values"], steps.running_sum(steps.whole(mask))), mask)


def _low_rank(steps: Steps[T], parts: Mapping[str, T], _size: int) -> T:
    return steps.matrix_product(parts["left"], parts["right"])


_Recipe = Callable[[Any, Mapping[str, Any], int], Any]  # of one kind of values, whichever
_RECIPES: Mapping[frozenset[str], _Recipe] = {
    frozenset(("int8", "scale")): _int8,
    frozenset(("int4", "scale")): _int4,
    frozenset(("mask", "bits", "values")): _sparse,
    frozenset(("left", "right")): _low_rank,
}
_DTYPES: Mapping[str, frozenset[str]] = {
    "int8": frozenset(("I8",)), "int4": frozenset(("U8",)), "mask": frozenset(("U8",)),
    "scale": frozenset(("F16", "F32")), "values": frozenset(("F32",)), "bits": frozenset(("F32",)),
    "left": frozenset(("F32",)), "right": frozenset(("F32",)),
}  # fmt: skip


def decode(steps: Steps[T], parts: Mapping[str, T], shape: Sequence[int]) -> T:
    """Return the weight of a shape, as `steps` make it.

    Raises:
        KeyError: parts of no form.
    """
    weight: T = _RECIPES[frozenset(parts)](steps, parts, math.prod(shape))
    return steps.reshaped(weight, shape)


def owner_of(name: str) -> tuple[str, str] | None:
    """Return weight and part that the name of a tensor in a file tells; None: a plain tensor."""
    weight, _, part = name.rpartition(".")
    return (weight, part) if weight and part in _DTYPES else None


def grouped(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the names of the parts of each weight that a file holds in one of the forms."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        if owned := owner_of(name):
            found.setdefault(owned[0], {})[owned[1]] = name
    return {weight: parts for weight, parts in found.items() if frozenset(parts) in _RECIPES}


def require(
    weight: str, sizes: Mapping[str, tuple[str, tuple[int, ...]]], shape: tuple[int, ...]
) -> None:
    """Return if parts of these dtypes and shapes make a weight of a shape.

    Raises:
        WeightsInvalid: they do not.
    """
    rows = shape[0] if shape else 1
    count = math.prod(shape)
    groups = -(-count // GROUP)
    wanted: Mapping[str, Callable[[tuple[int, ...]], bool]] = {
        "int8": lambda s: s == (rows, count // max(1, rows)),
        "int4": lambda s: s == (groups, GROUP // 2),
        "scale": lambda s: s == ((rows if "int8" in sizes else groups), 1),
        "mask": lambda s: s == (-(-count // 8), 1),
        "bits": lambda s: s == (1, 8),
        "values": lambda s: len(s) == 1 and 1 <= s[0] <= count + 1,
        "left": lambda s: len(s) == 2 and s[0] == rows and s[1:] == sizes["right"][1][:1],
        "right": lambda s: len(s) == 2 and s[1] == count // max(1, rows),
    }
    for part, (dtype, size) in sizes.items():
        if dtype not in _DTYPES[part] or not wanted[part](size):
            raise WeightsInvalid(
                f"tensor {weight:.80}.{part}: {dtype} {list(size)} makes no weight {list(shape)}",
                hint="publish the folder that `tallystick model compress` wrote",
            )


def require_bounded(file_bytes: int, shapes: Iterable[tuple[int, ...]]) -> None:
    """Return if weights of these shapes, as float32, are few bytes enough for their file.

    Raises:
        WeightsInvalid: they are more than 64 times the file.
    """
    total = sum(4 * math.prod(shape) for shape in shapes)
    if total > MAX_EXPANSION * file_bytes + _SPARE:
        raise WeightsInvalid(
            f"a file of {file_bytes} bytes expands to weights of {total} bytes",
            hint=f"{MAX_EXPANSION} times is the most: use a higher rank, or prune less",
        )


class TorchSteps:
    """The steps at once, on tensors."""

    def floating(self, x: torch.Tensor) -> torch.Tensor:
        """Return float32."""
        return x.float()

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """Return int64."""
        return x.long()

    def floor(self, x: torch.Tensor) -> torch.Tensor:
        """Round down."""
        return torch.floor(x)

    def multiplied(self, x: torch.Tensor, number: float) -> torch.Tensor:
        """Multiply by a number."""
        return x * number

    def plus(self, x: torch.Tensor, number: float) -> torch.Tensor:
        """Add a number."""
        return x + number

    def product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Multiply element by element."""
        return a * b

    def difference(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Subtract element by element."""
        return a - b

    def side_by_side(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Join along columns."""
        return torch.cat(list(parts), 1)

    def matrix_product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Multiply matrices."""
        return a @ b

    def running_sum(self, x: torch.Tensor) -> torch.Tensor:
        """Add up from the beginning."""
        return torch.cumsum(x, 0)

    def picked(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return elements by their places.

        Raises:
            WeightsInvalid: a place beyond the end.
        """
        if places.numel() and int(places.max()) >= len(x):
            raise WeightsInvalid("a mask names more weights than there are values")
        return torch.index_select(x, 0, places)

    def first(self, x: torch.Tensor, count: int) -> torch.Tensor:
        """Return the first elements."""
        return x[:count]

    def reshaped(self, x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """Return another shape."""
        return x.reshape(list(shape))


def in_torch(parts: Mapping[str, torch.Tensor], shape: Sequence[int]) -> torch.Tensor:
    """Return the weight as a tensor."""
    return decode(TorchSteps(), parts, shape)
