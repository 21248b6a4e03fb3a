"""The death of a process at a chosen step, in the test's own."""

import itertools
from collections.abc import Callable
from typing import Any

Method = Callable[..., Any]


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def dying(at: int) -> Callable[[Method], Method]:
    """Return what makes methods count their calls together, and die at one of them."""
    steps = itertools.count(1)

    def perilous(method: Method) -> Method:
        def step(*arguments: Any, **named: Any) -> Any:
            if next(steps) == at:
                raise Killed
            return method(*arguments, **named)

        return step

    return perilous
