"""How long to wait: for what is slow, not stuck; and between two looks at what is quiet."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AT_MOST = 5.0  # times the patience: what is busy for ever ends too
QUIET_SHARE = 1 / 20  # of the silence so far: how late a look may notice what ended it
QUIET_PAUSE = 0.5  # seconds: the longest pause for that reason
BURST = 0.2  # seconds of work after which rests begin


class Patience:
    """Counts seconds since the last progress."""

    def __init__(
        self,
        seconds: float,
        progress: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            seconds: how long nothing may happen.
            progress: read at every look; a value other than the last one begins the count again.
        """
        self.seconds = seconds
        self._progress, self._clock = progress, clock
        self._seen = progress()
        self._begun = self._last = clock()

    @property
    def elapsed(self) -> float:
        """The seconds since it began to count."""
        return self._clock() - self._begun

    def over(self) -> bool:
        """Return whether it is time to give up: no progress, or `AT_MOST` times the seconds."""
        now, seen = self._clock(), self._progress()
        if seen != self._seen:
            self._seen, self._last = seen, now
        return now - self._last > self.seconds or now - self._begun > AT_MOST * self.seconds


class QuietPace:
    """Pauses between looks that grow with the silence: what is quiet costs little.

    The pause is a twentieth of the time since the last news: at most half a second, and at least
    `interval`.
    """

    def __init__(self, interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin as if there had just been news.

        Args:
            interval: seconds between two looks while there are news.
        """
        self._interval, self._clock = interval, clock
        self.news()

    def news(self) -> None:
        """Look often again."""
        self._last = self._clock()

    def pause(self) -> float:
        """Return the seconds to wait before the next look."""
        silence = self._clock() - self._last
        return max(self._interval, min(silence * QUIET_SHARE, QUIET_PAUSE))


class Breath:
    """Rests between steps as long as they took: what is slow under load is done in larger steps.

    A burst of short steps after a quiet time is free, so who is alone waits for no rest.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing to rest from."""
        self._clock = clock
        self._owed, self._ended = 0.0, clock()

    def left(self) -> float:
        """Return the seconds to rest before the next step."""
        return max(0.0, self._owed - BURST - (self._clock() - self._ended))

    @contextmanager
    def step(self) -> Iterator[None]:
        """Count what the block takes; idle seconds before it count as rest."""
        began = self._clock()
        self._owed = max(0.0, self._owed - (began - self._ended))
        try:
            yield
        finally:
            self._ended = self._clock()
            self._owed += self._ended - began


def cpu_seconds(pid: int) -> int:
    """Return the whole seconds of CPU that a process and its descendants have used; 0 if gone."""
    # Imported here: a command that only counts seconds starts without it
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415 - it ships no types

    total = 0.0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return int(total)


def cpu_growth(pid: int) -> Callable[[], int]:
    """Return what reads the CPU seconds used since now: a child that ends takes none away."""
    last, grown = cpu_seconds(pid), 0

    def read() -> int:
        nonlocal last, grown
        now = cpu_seconds(pid)
        grown += max(0, now - last)
        last = now
        return grown

    return read


def busy(pid: int, seconds: float) -> Patience:
    """Return the patience with a process: its progress is the CPU that it and its children use."""
    return Patience(seconds, cpu_growth(pid))
