"""Functions of one number, as data: what a look-up table is filled from.

An expression is `X` (the argument), a number, or `(name, part, ...)`. The same trees run on torch
tensors in the float graph and on a table's 256 or 65,536 entries.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

X = ("x",)
Expression = float | tuple[Any, ...]

_FUNCTIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "abs": torch.abs,
    "neg": torch.neg,
    "trunc": torch.trunc,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "erf": torch.erf,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "cos": torch.cos,
    **{
        name: getattr(torch, name)
        for name in (
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "asinh",
            "acosh",
            "atanh",
            "ceil",
            "floor",
            "round",
            "sign",
        )
    },
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "silu": torch.nn.functional.silu,
    "mish": torch.nn.functional.mish,
    "hardswish": torch.nn.functional.hardswish,
    "hardsigmoid": torch.nn.functional.hardsigmoid,
    "selu": torch.nn.functional.selu,
    "eq": lambda a, b: (a == b).to(torch.float64),
    "ne": lambda a, b: (a != b).to(torch.float64),
    "lt": lambda a, b: (a < b).to(torch.float64),
    "le": lambda a, b: (a <= b).to(torch.float64),
    "gt": lambda a, b: (a > b).to(torch.float64),
    "ge": lambda a, b: (a >= b).to(torch.float64),
    "not": lambda a: (a == 0).to(torch.float64),
    "where": lambda c, a, b: torch.where(c != 0, a, b),
}
NAMES = frozenset(_FUNCTIONS)


def clamp(part: Expression, low: float | None, high: float | None) -> Expression:
    """Return `part` limited to low … high, either of which may be absent."""
    if low is not None:
        part = ("maximum", part, float(low))
    if high is not None:
        part = ("minimum", part, float(high))
    return part


def evaluate(expression: Expression, x: torch.Tensor) -> torch.Tensor:
    """Return the value at every element of `x`, in float64 (masks stay 0 and 1)."""
    x = x.to(torch.float64)
    return torch.broadcast_to(_evaluate(expression, x), x.shape)


def _evaluate(expression: Expression, x: torch.Tensor) -> torch.Tensor:
    if not isinstance(expression, tuple):
        return torch.tensor(float(expression), dtype=torch.float64)
    if expression == X:
        return x
    name, *parts = expression
    return _FUNCTIONS[name](*(_evaluate(part, x) for part in parts))


def names(expression: Expression) -> set[str]:
    """Return the functions that an expression calls."""
    if not isinstance(expression, tuple) or expression == X:
        return set()
    return {expression[0]}.union(*(names(part) for part in expression[1:]))


def substitute(expression: Expression, inner: Expression) -> Expression:
    """Return expression(inner(x))."""
    if not isinstance(expression, tuple):
        return expression
    if expression == X:
        return inner
    return (expression[0], *(substitute(part, inner) for part in expression[1:]))


def as_clamp(expression: Expression) -> tuple[float | None, float | None] | None:
    """Return (low, high) when the expression is a clamp of its argument and nothing else."""
    low, high = -math.inf, math.inf
    while expression != X:
        if not isinstance(expression, tuple) or expression[0] not in ("maximum", "minimum"):
            return None
        name, part, limit = expression
        if isinstance(part, float):
            part, limit = limit, part
        if not isinstance(limit, float):
            return None
        if name == "maximum":
            low = max(low, limit)
        else:
            high = min(high, limit)
        expression = part
    return (None if low == -math.inf else low, None if high == math.inf else high)


def as_affine(  # noqa: PLR0911  # one return for each of the four operations and three leaves
    expression: Expression,
) -> tuple[float, float] | None:
    """Return (scale, offset) when the expression is scale · x + offset."""
    if not isinstance(expression, tuple):
        return 0.0, float(expression)
    if expression == X:
        return 1.0, 0.0
    name, *parts = expression
    if name not in ("add", "sub", "mul", "div", "neg"):
        return None
    lines = [as_affine(part) for part in parts]
    if any(line is None for line in lines):
        return None
    (a, b), (c, d) = lines[0] or (0, 0), (lines[1] if len(lines) > 1 else None) or (0.0, 0.0)
    if name == "neg":
        return -a, -b
    if name in ("add", "sub"):
        sign = 1 if name == "add" else -1
        return a + sign * c, b + sign * d
    if name == "mul" and 0.0 in (a, c):
        return a * d + b * c, b * d
    if name == "div" and c == 0.0 and d != 0.0:
        return a / d, b / d
    return None
