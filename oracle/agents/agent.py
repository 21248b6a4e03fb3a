"""What a running challenger needs beside its games: reports, patience, and a lock on its folder."""

import fcntl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from oracle.agents.challenger.store import Case
from oracle.errors import ConfigInvalid
from oracle.types import RequestId

_PAUSE_FIRST, _PAUSE_MAX = 1.0, 60.0  # seconds until something that failed is tried again


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that a challenger sent and that ended."""

    request_id: RequestId | None
    what: str
    mined: bool
    block: int | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What one pass or a whole run did."""

    looked_at: int = 0
    right: int = 0
    wrong: int = 0
    transactions: tuple[Transaction, ...] = ()
    games: tuple[Case, ...] = ()  # known to be wrong, in their present state


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


def locked(path: Path) -> IO[str]:
    """Return a file that only this process has locked, for as long as it is open.

    Raises:
        ConfigInvalid: another process has.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigInvalid(
            f"another challenger uses {path.parent}",
            hint="one process per account; choose another --key",
        ) from error
    return file
