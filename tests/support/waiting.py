"""Waiting for what other processes do: the one loop that tests have for it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from oracle.patience import AT_MOST, Patience

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
    something new. A process that logs for ever fails too: after `AT_MOST` times the seconds.

    Raises:
        AssertionError: they passed, or `process` ended; with `what`, and the end of `log`.
    """
    patience = Patience(
        seconds,
        lambda: (progress() if progress else None, log.stat().st_size if log else None),
    )
    while not (found := condition()):
        ended = process is not None and process.poll() is not None
        if patience.over() or ended:
            late = patience.elapsed > AT_MOST * seconds
            why = f"not in {patience.elapsed:.1f} s" if late else f"no progress in {seconds:g} s"
            why = "the process ended" if ended else why
            text = log.read_text()[-3000:] if log else ""
            raise AssertionError(f"{why}: {what if isinstance(what, str) else what()}\n{text}")
        time.sleep(0.02)
    return found
