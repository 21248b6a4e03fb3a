"""What inputs and outputs of a model must look like, and what a user reads when they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.protocol import tensor
from oracle.protocol.border import STRICT

MAX_DIMENSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output; `None` in a shape is any size above 0 (batch, length)."""

    name: str
    dtype: str  # a key of oracle.protocol.tensor.DTYPES
    shape: tuple[int | None, ...]
    description: str = ""

    __pydantic_config__ = STRICT

    def __str__(self) -> str:
        return f"{self.dtype} {describe_shape(self.shape)}"


def check_specs(specs: Sequence[TensorSpec], role: str) -> None:
    """Refuse specs that no tensor file could satisfy; `role` is "input" or "output".

    Raises:
        InputInvalid: none or more than 64, a bad or repeated name, dtype, rank or dimension.
    """
    if not 1 <= len(specs) <= tensor.MAX_TENSORS:
        raise InputInvalid(f"{len(specs)} {role}s; a manifest names 1 to {tensor.MAX_TENSORS}")
    seen: set[str] = set()
    for spec in specs:
        tensor.check_name(spec.name)
        if spec.name in seen:
            raise InputInvalid(f"{role} {spec.name} is named twice")
        seen.add(spec.name)
        if spec.dtype not in tensor.DTYPES:
            raise InputInvalid(
                f"{role} {spec.name}: dtype {spec.dtype} is not known",
                hint="known: " + ", ".join(tensor.DTYPES),
            )
        tensor.check_rank(spec.name, len(spec.shape))
        for size in spec.shape:
            if size is not None and not 1 <= size <= MAX_DIMENSION:
                raise InputInvalid(f"{role} {spec.name}: dimension {size} is not 1 to 2**31-1")


def check_tensors(
    specs: Sequence[TensorSpec], tensors: Mapping[str, tensor.Array], role: str
) -> None:
    """Refuse tensors that are not exactly the named ones, with their dtype, shape, finite values.

    Raises:
        InputInvalid: the message names the tensor and what was given, the hint what is wanted.
    """
    wanted = {spec.name: spec for spec in specs}
    listing = "wanted: " + ", ".join(f"{name} {spec}" for name, spec in wanted.items())
    if missing := [name for name in wanted if name not in tensors]:
        raise InputInvalid(f"{role} {missing[0]} is missing", hint=listing)
    if unknown := [name for name in tensors if name not in wanted]:
        raise InputInvalid(f"{role} {unknown[0]} is not one of this model's", hint=listing)
    for name, spec in wanted.items():
        array = tensors[name]
        if array.dtype.newbyteorder("<") != tensor.DTYPES[spec.dtype]:
            raise InputInvalid(
                f"{role} {name}: given dtype {array.dtype}", hint=f"wanted: {name} {spec}"
            )
        if not _fits(array.shape, spec.shape):
            raise InputInvalid(
                f"{role} {name}: given shape {describe_shape(array.shape)}",
                hint=f"wanted: {name} {spec}",
            )
    tensor.require_finite(tensors)


def describe_shape(shape: Sequence[int | None]) -> str:
    """Return a shape as `[?, 384]`; `?` stands for any size."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        have == want if want is not None else have > 0
        for have, want in zip(shape, wanted, strict=True)
    )
