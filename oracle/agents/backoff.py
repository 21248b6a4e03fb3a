"""When something that failed is tried again: after a second, then twice as long each time."""

import time
from dataclasses import dataclass, field

_PAUSE_FIRST, _PAUSE_MAX = 1.0, 60.0  # seconds


@dataclass
class Backoff:
    """When something that failed is tried again."""

    until: dict[bytes, float] = field(default_factory=dict)
    pause: dict[bytes, float] = field(default_factory=dict)

    def ready(self, name: bytes) -> bool:
        """Return whether it may be tried now."""
        return time.monotonic() >= self.until.get(name, 0.0)

    def failed(self, name: bytes) -> None:
        """Wait, twice as long as the last time."""
        pause = min(_PAUSE_MAX, 2 * self.pause.get(name, _PAUSE_FIRST / 2))
        self.pause[name], self.until[name] = pause, time.monotonic() + pause

    def worked(self, name: bytes) -> None:
        """Forget that it failed."""
        self.until.pop(name, None)
        self.pause.pop(name, None)
