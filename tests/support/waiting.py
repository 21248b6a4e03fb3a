"""Waiting for what other processes do: the one loop that tests have for it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

PATIENCE = 60.0  # seconds without progress; a loaded machine is slow, not stuck


class Process(Protocol):
    """What of a process is asked for: subprocess.Popen, and whoever else has an exit code."""

    def poll(self) -> int | None: ...


def wait_until(
    condition: Callable[[], Any],
    seconds: float = PATIENCE,
    what: str | Callable[[], str] = "what the test waits for",
    *,
    progress: Callable[[], Any] | None = None,
    process: Process | None = None,
    log: Path | None = None,
) -> Any:
    """Wait until a condition holds, and return what it returned.

    `seconds` pass without progress: they begin again whenever `log` grows, or `progress` returns
    something new.

    Raises:
        AssertionError: they passed, or `process` ended; with `what`, and the end of `log`.
    """
    seen, deadline = None, time.monotonic() + seconds
    while not (found := condition()):
        now = (progress() if progress else None, log.stat().st_size if log else None)
        if now != seen:
            seen, deadline = now, time.monotonic() + seconds
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            why = "the process ended" if ended else f"no progress in {seconds:g} s"
            text = log.read_text()[-3000:] if log else ""
            raise AssertionError(f"{why}: {what if isinstance(what, str) else what()}\n{text}")
        time.sleep(0.02)
    return found
