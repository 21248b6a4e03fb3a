"""Every way to bend a step: used against the judge here and against the contract elsewhere."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from oracle.exact.steps import ProofStep

Rng = np.random.Generator


def bent(step: ProofStep, rng: Rng) -> Iterator[tuple[str, ProofStep]]:
    """Yield (what was done, step) for one alteration of each part of a step."""
    for field in fields(step):
        value = getattr(step, field.name)
        for name, other in _bent(value, rng):
            yield f"{field.name} {name}", replace(step, **{field.name: other})
    if len(step.slices) > 1:
        yield "slices swapped", replace(step, slices=step.slices[::-1])
    yield "result as operand", replace(step, operands=(step.result,) * len(step.operands))
    for k, opening in enumerate(step.operands):
        yield f"operand {k} as result", replace(step, result=opening)
    for k, part in enumerate(step.slices):
        yield f"slice {k} as element", replace(step, element=part)


def _bent(value: Any, rng: Rng) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        for field in fields(value):
            for name, other in _bent(getattr(value, field.name), rng):
                yield f"{field.name} {name}", replace(value, **{field.name: other})  # type: ignore[type-var]
    elif isinstance(value, bytes):
        yield from _bent_bytes(value, rng)
    elif isinstance(value, int):
        yield "more", value + 1
        if value:
            yield "less", value - 1
            yield "zero", 0
    else:
        yield from _bent_tuple(value, rng)


def _bent_bytes(value: bytes, rng: Rng) -> Iterator[tuple[str, bytes]]:
    if value:
        at, bit = int(rng.integers(len(value))), 1 << int(rng.integers(8))
        yield "bit", value[:at] + bytes([value[at] ^ bit]) + value[at + 1 :]
    if len(value) != 32:  # hashes stay as long as they are: the ABI sees to that
        yield "shorter", value[:-1]
        yield "longer", value + b"\0"
        yield "padded", value.ljust(128, b"\0")


def _bent_tuple(value: tuple[Any, ...], rng: Rng) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if value:
        k = int(rng.integers(len(value)))
        for name, other in _bent(value[k], rng):
            yield f"[{k}] {name}", (*value[:k], other, *value[k + 1 :])
        yield "cut", value[:-1]
        yield "twice", (*value, value[-1])
        yield "none", ()
    else:
        yield "one", (bytes(32),)
