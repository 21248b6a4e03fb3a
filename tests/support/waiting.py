"""Waiting for what other processes do: the one loop that tests have for it."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import psutil

from oracle.patience import AT_MOST, Patience, cpu_growth

PATIENCE = 60.0  # seconds without progress; a loaded machine is slow, not stuck


class Process(Protocol):
    """What of a process is asked for: subprocess.Popen, and whoever else has an exit code."""

    def poll(self) -> int | None: ...


def wait_until(
    condition: Callable[[], Any],
    what: str | Callable[[], str] = "what the test waits for",
    *,
    seconds: float = PATIENCE,
    progress: Callable[[], Any] | None = None,
    process: Process | None = None,
    log: Path | None = None,
) -> Any:
    """Wait until a condition holds, and return what it returned.

    `seconds` pass without progress: they begin again whenever `log` grows, `progress` returns
    something new, or this process and those below it have used the processor. What is busy for
    ever fails too: after `AT_MOST` times the seconds.

    Raises:
        AssertionError: they passed, or `process` ended; with `what`, and the end of `log`.
    """
    if found := condition():
        return found
    used = _now_and_then(cpu_growth(os.getpid()))
    patience = Patience(
        seconds,
        lambda: (used(), progress() if progress else None, log.stat().st_size if log else None),
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


def exit_code(process: "subprocess.Popen[Any]") -> int:
    """Wait until a process ends, and return its exit code."""
    wait_until(lambda: process.poll() is not None, "the end of a process")
    return process.returncode


def assert_gone(processes: Iterable[psutil.Process]) -> None:
    """Wait for the end of all; what waits to be reaped by init has ended."""

    def left() -> list[psutil.Process]:
        return [process for process in processes if _runs(process)]

    wait_until(lambda: not left(), lambda: f"the end of {left()}")


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _now_and_then(read: Callable[[], int]) -> Callable[[], int]:
    """Return what reads at most once a second: it looks at all processes of the machine."""
    last, at = read(), time.monotonic()

    def value() -> int:
        nonlocal last, at
        if time.monotonic() - at > 1:
            last, at = read(), time.monotonic()
        return last

    return value
