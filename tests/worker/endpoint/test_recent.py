"""RecentAnswers: one piece of work for one question, however often it is asked."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from worker.endpoint.recent import RecentAnswers


def counted(texts: list[str]) -> Callable[[], Coroutine[Any, Any, str]]:
    """Return work that takes the next of these texts; an empty one is a failure."""

    async def work() -> str:
        await asyncio.sleep(0)
        if not (text := texts.pop(0)):
            raise ValueError("a layer broke")
        return text

    return work


def test_once__asked_again__is_the_first_answer() -> None:
    async def play() -> list[str]:
        recent, work = RecentAnswers[str](len), counted(["a", "b", "c"])
        together = await asyncio.gather(*(recent.once(b"1", work) for _ in range(3)))
        return [*together, await recent.once(b"1", work), await recent.once(b"2", work)]

    assert asyncio.run(play()) == ["a", "a", "a", "a", "b"]


def test_once__failed__is_tried_anew() -> None:
    async def play() -> str:
        recent, work = RecentAnswers[str](len), counted(["", "b"])
        with pytest.raises(ValueError, match="broke"):
            await recent.once(b"1", work)
        return await recent.once(b"1", work)

    assert asyncio.run(play()) == "b"


def test_once__client_goes_meanwhile__answer_is_there_when_it_comes_back() -> None:
    async def play() -> str:
        recent, work = RecentAnswers[str](len), counted(["a", "b"])
        gone = asyncio.create_task(recent.once(b"1", work))
        await asyncio.sleep(0)
        gone.cancel()
        return await recent.once(b"1", work)

    assert asyncio.run(play()) == "a"


@pytest.mark.parametrize("bounds", [{"most": 2}, {"most_bytes": 5}])
def test_once__more_than_is_kept__oldest_is_forgotten(bounds: dict[str, int]) -> None:
    async def play() -> list[str]:
        recent = RecentAnswers[str](len, **bounds)
        work = counted(["a1", "b1", "c1", "a2"])
        for question in (b"a", b"b", b"c"):
            await recent.once(question, work)
        return [await recent.once(question, work) for question in (b"b", b"c", b"a")]

    assert asyncio.run(play()) == ["b1", "c1", "a2"]
