"""What inputs and outputs of a model must look like: names, dtypes, shapes. Imports no NumPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.protocol.border import STRICT

MAX_DIMENSION = 2**31 - 1
MAX_TENSORS = 64
MAX_RANK = 8
MAX_NAME_LENGTH = 128
# Names as in safetensors, and NumPy's codes: little-endian, so that bytes are equal everywhere
DTYPE_CODES: Mapping[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output; `None` in a shape is any size above 0 (batch, length)."""

    name: str
    dtype: str  # a key of DTYPE_CODES
    shape: tuple[int | None, ...]
    description: str = ""

    __pydantic_config__ = STRICT

    def __str__(self) -> str:
        return f"{self.dtype} {describe_shape(self.shape)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """One column of a table, for forms: what people call it, its unit, its usual range.

    Attributes:
        categories: of a column of words: those that it may hold. The tensor has their places.
        other: any other word may stand there, too, and has the place behind the last.
    """

    name: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    other: bool = False

    __pydantic_config__ = STRICT


def check_features(features: Sequence[FeatureSpec], inputs: Sequence[TensorSpec]) -> None:
    """Refuse features that are not the columns of the only input.

    Raises:
        InputInvalid: another number of them, a bad or repeated name, or an empty range.
    """
    columns = inputs[0].shape[-1] if len(inputs) == 1 and inputs[0].shape else None
    if columns != len(features):
        raise InputInvalid(
            f"{len(features)} features; the columns of the only input are {columns}",
            hint="name every column in order, or leave features out",
        )
    for feature in features:
        if not 1 <= len(feature.name) <= MAX_NAME_LENGTH or len(feature.unit) > MAX_NAME_LENGTH:
            raise InputInvalid(f"feature {feature.name!r:.80}: names have 1 to 128 characters")
        low, high = feature.minimum, feature.maximum
        if low is not None and high is not None and not low < high:
            raise InputInvalid(f"feature {feature.name}: {low:g} to {high:g} is no range")
        _check_categories(feature)
    if len({feature.name for feature in features}) < len(features):
        raise InputInvalid("two features have the same name")


def _check_categories(feature: FeatureSpec) -> None:
    words = feature.categories
    if len(set(words)) < len(words) or any(len(word) > MAX_NAME_LENGTH for word in words):
        raise InputInvalid(
            f"feature {feature.name}: its categories are not distinct, or above "
            f"{MAX_NAME_LENGTH} characters"
        )
    if feature.other and not words:
        raise InputInvalid(f"feature {feature.name}: others than what?", hint="name categories")


def check_specs(specs: Sequence[TensorSpec], role: str) -> None:
    """Refuse specs that no tensor file could satisfy; `role` is "input" or "output".

    Raises:
        InputInvalid: none or more than 64, a bad or repeated name, dtype, rank or dimension.
    """
    if not 1 <= len(specs) <= MAX_TENSORS:
        raise InputInvalid(f"{len(specs)} {role}s; a manifest names 1 to {MAX_TENSORS}")
    seen: set[str] = set()
    for spec in specs:
        check_name(spec.name)
        if spec.name in seen:
            raise InputInvalid(f"{role} {spec.name} is named twice")
        seen.add(spec.name)
        if spec.dtype not in DTYPE_CODES:
            raise InputInvalid(
                f"{role} {spec.name}: dtype {spec.dtype} is not known",
                hint="known: " + ", ".join(DTYPE_CODES),
            )
        check_rank(spec.name, len(spec.shape))
        for size in spec.shape:
            if size is not None and not 1 <= size <= MAX_DIMENSION:
                raise InputInvalid(f"{role} {spec.name}: dimension {size} is not 1 to 2**31-1")


def describe_shape(shape: Sequence[int | None]) -> str:
    """Return a shape as `[?, 384]`; `?` stands for any size."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def check_name(name: str) -> None:
    """Raise InputInvalid unless this is a name that a tensor file can hold."""
    printable = isinstance(name, str) and all("!" <= char <= "~" for char in name)
    if not printable or not 1 <= len(name) <= MAX_NAME_LENGTH or name == "__metadata__":
        raise InputInvalid(
            f"{name!r:.80} is not a tensor name",
            hint=f"1 to {MAX_NAME_LENGTH} printable ASCII characters without spaces",
        )


def check_rank(name: str, rank: int) -> None:
    """Raise InputInvalid when a tensor has too many dimensions."""
    if rank > MAX_RANK:
        raise InputInvalid(f"tensor {name} has {rank} dimensions, more than {MAX_RANK}")
