"""Patience: counted from the last progress, and never for ever."""

import os

import pytest

import oracle.patience
from oracle.patience import (
    AT_MOST,
    BURST,
    QUIET_PAUSE,
    Breath,
    Patience,
    QuietPace,
    busy,
    cpu_growth,
    cpu_seconds,
)


class Clock:
    """What time it is, and something that makes progress when told."""

    def __init__(self) -> None:
        self.now, self.done = 100.0, 0

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, lambda: self.done, lambda: self.now)


def test_over__nothing_happens__after_its_seconds() -> None:
    clock = Clock()
    patience = clock.patience(10)
    clock.now += 10
    assert not patience.over()
    clock.now += 0.1
    assert patience.over()


def test_over__progress__begins_again() -> None:
    clock = Clock()
    patience = clock.patience(10)
    for _ in range(4):
        clock.now += 9
        clock.done += 1
        assert not patience.over()
    clock.now += 10.1
    assert patience.over()


def test_over__busy_for_ever__ends() -> None:
    clock = Clock()
    patience = clock.patience(10)
    while not patience.over():
        clock.now += 1
        clock.done += 1
    assert clock.now - 100 == 10 * AT_MOST + 1


def test_cpu_seconds__a_process_that_works__grow() -> None:
    patience, before = busy(os.getpid(), 60), cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) == before:
        sum(range(10**5))
    assert not patience.over()


def test_elapsed__after_progress__counted_from_the_begin() -> None:
    clock = Clock()
    patience = clock.patience(10)
    clock.now += 9
    clock.done += 1
    assert not patience.over()
    clock.now += 9
    assert patience.elapsed == 18


def test_cpu_growth__child_ends__takes_nothing_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = iter([3, 3, 1, 2, 2, 1, 4])
    monkeypatch.setattr(oracle.patience, "cpu_seconds", lambda _: next(used))
    read = cpu_growth(1)
    assert [read() for _ in range(6)] == [0, 0, 1, 1, 1, 4]


def test_cpu_seconds__no_such_process__none() -> None:
    assert cpu_seconds(2**22 + 1) == 0


def test_pause__silence__grows_with_it_up_to_half_a_second() -> None:
    clock = Clock()
    pace = QuietPace(0.05, lambda: clock.now)
    pauses = []
    for silence in (0, 1, 4, 9, 60):
        clock.now = 100.0 + silence
        pauses.append(pace.pause())
    assert pauses == [0.05, 0.05, 0.2, 0.45, QUIET_PAUSE]


def test_pause__news__as_short_as_at_first() -> None:
    clock = Clock()
    pace = QuietPace(0.05, lambda: clock.now)
    clock.now += 60
    pace.news()
    assert pace.pause() == 0.05


def test_pause__long_interval__is_kept() -> None:
    assert QuietPace(2.0).pause() == 2.0


def steps(breath: Breath, clock: Clock, *seconds: float) -> None:
    for took in seconds:
        with breath.step():
            clock.now += took


def test_breath__a_short_burst__needs_no_rest() -> None:
    clock = Clock()
    breath = Breath(lambda: clock.now)
    steps(breath, clock, BURST / 2, BURST / 2)
    assert breath.left() == pytest.approx(0)


def test_breath__steps_without_end__each_is_rested_from() -> None:
    clock = Clock()
    breath = Breath(lambda: clock.now)
    for _ in range(10):
        steps(breath, clock, 1.0)
        assert breath.left() == pytest.approx(1.0, abs=BURST)
        clock.now += breath.left()
    assert clock.now >= 100 + 19


def test_breath__idle_seconds__count_as_rest() -> None:
    clock = Clock()
    breath = Breath(lambda: clock.now)
    steps(breath, clock, 1.0)
    clock.now += 0.5
    assert breath.left() == pytest.approx(0.5 - BURST)
    clock.now += 60
    steps(breath, clock, BURST)
    assert breath.left() == pytest.approx(0)
