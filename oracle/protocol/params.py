"""Run-time parameters of a model: eight uint32 lanes in the one word that the chain bounds.

```
 lane 0   lane 1   …   lane 7          big-endian; lane 0 is the most significant
 ┌────────┬────────┬───┬────────┐
 │ uint32 │ uint32 │ … │ uint32 │      the zero word asks for every default of the manifest;
 └────────┴────────┴───┴────────┘      in any other word every lane means what it says, 0 included
```
A lane counts in steps: real = lane / scale + offset.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from oracle.errors import InputInvalid, did_you_mean
from oracle.protocol.border import STRICT
from oracle.types import ZERO32, Bytes32

LANES = 8
MAX_LANE = 2**32 - 1
MAX_SCALE = 10**6
MAX_OFFSET = 10**6
MAX_DESCRIPTION = 1024
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SLACK = Fraction(1, 1000)  # of a step: what float rounding may cost, far below what a user means


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSpec:
    """One named lane. `minimum`, `maximum`, `default` are lane values, as the chain bounds them."""

    lane: int  # 0…7
    name: str
    minimum: int = 0
    maximum: int = MAX_LANE
    default: int = 0
    scale: int = 1  # steps per unit, 1…10**6
    offset: float = 0  # real value of lane value 0
    description: str = ""

    __pydantic_config__ = STRICT

    def real(self, lane_value: int) -> float:
        """Return the value that a lane value stands for (an int when there are no fractions)."""
        exact = Fraction(lane_value, self.scale) + Fraction(self.offset)
        return int(exact) if exact.denominator == 1 else float(exact)

    def lane_value(self, real: float) -> int:
        """Return the lane value of a real one.

        Raises:
            InputInvalid: not a finite number, outside the bounds, or between two steps.
        """
        if isinstance(real, bool) or not isinstance(real, int | float) or not math.isfinite(real):
            raise InputInvalid(f"parameter {self.name}: {real!r} is not a number", hint=self.range)
        exact = (Fraction(real) - Fraction(self.offset)) * self.scale
        steps = round(exact)
        if abs(exact - steps) > _SLACK:
            raise InputInvalid(
                f"parameter {self.name}: {real} is not on a step of 1/{self.scale}",
                hint=f"nearest: {self.real(steps)}",
            )
        if not self.minimum <= steps <= self.maximum:
            raise InputInvalid(f"parameter {self.name}: {real} is out of bounds", hint=self.range)
        return steps

    @property
    def range(self) -> str:
        """A phrase that says which values are allowed."""
        low, high, default = map(self.real, (self.minimum, self.maximum, self.default))
        return f"{self.name} is {low} to {high}, by default {default}"


def pack(lanes: Sequence[int]) -> Bytes32:
    """Return the word of up to 8 lane values; missing ones are zero.

    Raises:
        InputInvalid: more than 8 lanes, or a value outside uint32.
    """
    if len(lanes) > LANES:
        raise InputInvalid(f"{len(lanes)} lanes do not fit a word of {LANES}")
    for lane, value in enumerate(lanes):
        if not 0 <= value <= MAX_LANE:
            raise InputInvalid(f"lane {lane}: {value} is not a uint32")
    return Bytes32(b"".join(value.to_bytes(4, "big") for value in lanes).ljust(32, b"\0"))


def unpack(word: Bytes32) -> tuple[int, ...]:
    """Return the 8 lane values of a word.

    Raises:
        InputInvalid: not 32 bytes.
    """
    if len(word) != 32:
        raise InputInvalid(f"a parameter word has 32 bytes, not {len(word)}")
    return tuple(int.from_bytes(word[i : i + 4], "big") for i in range(0, 32, 4))


def check_specs(specs: Sequence[ParameterSpec]) -> None:
    """Refuse parameters that contradict themselves or each other.

    Raises:
        InputInvalid: a lane outside 0…7 or used twice, a bad or repeated name. Bounds that are not
            minimum ≤ default ≤ maximum in uint32, or a scale or an offset out of range.
    """
    lanes: set[int] = set()
    names: set[str] = set()
    for spec in specs:
        if not _NAME.fullmatch(spec.name) or spec.name in names:
            raise InputInvalid(
                f"parameter {spec.name!r:.80}: the name is malformed or used twice",
                hint="a-z 0-9 _ beginning with a letter, at most 32 characters",
            )
        if not 0 <= spec.lane < LANES or spec.lane in lanes:
            raise InputInvalid(f"parameter {spec.name}: lane {spec.lane} is not free (0 to 7)")
        if not 0 <= spec.minimum <= spec.default <= spec.maximum <= MAX_LANE:
            raise InputInvalid(
                f"parameter {spec.name}: minimum {spec.minimum}, default {spec.default}, maximum "
                f"{spec.maximum} are not in this order in uint32"
            )
        if not 1 <= spec.scale <= MAX_SCALE or not abs(spec.offset) <= MAX_OFFSET:
            raise InputInvalid(
                f"parameter {spec.name}: scale {spec.scale} or offset {spec.offset} out of range",
                hint=f"scale is 1 to {MAX_SCALE}, |offset| at most {MAX_OFFSET}",
            )
        if len(spec.description) > MAX_DESCRIPTION:
            raise InputInvalid(f"parameter {spec.name}: description above {MAX_DESCRIPTION}")
        lanes.add(spec.lane)
        names.add(spec.name)


def pack_named(specs: Iterable[ParameterSpec], values: Mapping[str, float]) -> Bytes32:
    """Return the word for values by name; those not named take their default.

    No values at all give the zero word.

    Raises:
        InputInvalid: an unknown name, or a value off bounds or steps. Values that are not the
            defaults but whose word would be zero: the zero word *means* the defaults.
    """
    by_name = {spec.name: spec for spec in specs}
    if unknown := sorted(values.keys() - by_name.keys()):
        raise InputInvalid(
            f"unknown parameter {', '.join(unknown)}",
            hint=did_you_mean(unknown[0], by_name)
            + "known: "
            + (", ".join(by_name) or "none, this model takes no parameters"),
        )
    if not values:
        return ZERO32
    lanes = [0] * LANES
    for name, spec in by_name.items():
        lanes[spec.lane] = spec.lane_value(values[name]) if name in values else spec.default
    word = pack(lanes)
    if word == ZERO32 and any(spec.default for spec in by_name.values()):
        raise InputInvalid(
            "these values make the zero word, which asks for the defaults instead",
            hint="change one parameter by a step",
        )
    return word


def unpack_named(specs: Iterable[ParameterSpec], word: Bytes32) -> dict[str, float]:
    """Return the real value of every parameter that a word asks for.

    Raises:
        InputInvalid: a lane outside its bounds, or a non-zero lane that has no parameter.
    """
    lanes = unpack(word)
    result: dict[str, float] = {}
    unused = set(range(LANES))
    for spec in specs:
        unused.discard(spec.lane)
        value = spec.default if word == ZERO32 else lanes[spec.lane]
        if not spec.minimum <= value <= spec.maximum:
            raise InputInvalid(
                f"parameter {spec.name}: lane {spec.lane} holds {spec.real(value)}", hint=spec.range
            )
        result[spec.name] = spec.real(value)
    if stray := [lane for lane in sorted(unused) if lanes[lane]]:
        raise InputInvalid(f"lane {stray[0]} holds {lanes[stray[0]]} but names no parameter")
    return result
