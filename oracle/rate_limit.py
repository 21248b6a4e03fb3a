"""How often somebody may ask: token buckets by name, bounded in number."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

KEPT = 50_000  # names; whoever is forgotten starts with a full bucket


class Buckets:
    """Let `rate` requests a second through for each name, `burst` at once. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, kept: int = KEPT) -> None:
        self._clock = clock
        self._kept = kept
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at
        self._lock = threading.Lock()

    def take(self, name: str, rate: float, burst: float) -> float:
        """Take one; return 0, or the seconds after which there will be one."""
        with self._lock:
            now = self._clock()
            level, at = self._levels.get(name, (burst, now))
            level = min(burst, level + (now - at) * rate)
            wait = 0.0 if level >= 1 else (1 - level) / rate
            self._levels[name] = (level - 1 if wait == 0.0 else level, now)
            self._levels.move_to_end(name)
            while len(self._levels) > self._kept:
                self._levels.popitem(last=False)
            return wait
