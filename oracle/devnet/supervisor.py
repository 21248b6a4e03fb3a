"""Starts, watches, restarts and stops a few child processes, and leaves none behind.

Knows nothing of what the processes do: `operator run` gives it an operator's three processes, the
development network gives it Anvil, IPFS and Redis as well.

```
          start()            exits                  backoff passed
  (none) ────────▶ running ─────────▶ waiting ───────────────────▶ running …
                      │ stop()           │ not `restart`
                      ▼                  ▼
                   stopped            exited
```
Every child leads a process group of its own: a Ctrl-C in the terminal reaches only us, and we stop
them in the reverse order of their start. On Linux the kernel also sends them SIGTERM when we die
without a chance to (PR_SET_PDEATHSIG, bound to the *thread* that called `start`).
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from oracle.errors import TransientError
from oracle.patience import busy
from oracle.private_files import open_log

Progress = Callable[[str, str], None]  # (name, "starting" | "ready" or "running" | "stopping")

READY_TIMEOUT = 30.0  # seconds in which a child that starts does not use the processor
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
BACKOFF_FIRST = 0.5  # seconds; doubles with every early exit
BACKOFF_LAST = 30.0  # seconds
STEADY_AFTER = 60.0  # seconds alive after which an exit counts as the first again
LOG_TAIL = 800  # bytes of a log that an error quotes
LAST_LINES = 2  # of a log that an exit quotes: an error and its hint
_PR_SET_PDEATHSIG = 1


class ProcessFailed(TransientError):
    """A child exited, or was not ready in time."""

    exit_code = 70  # EX_SOFTWARE


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep running.

    `env` is laid over the environment that we inherited; `ready` is asked until it says True.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    log_path: Path | None = None  # stdout and stderr are appended; None = discarded
    ready: Callable[[], bool] | None = None
    restart: bool = True
    cwd: Path | None = None
    ready_timeout: float = READY_TIMEOUT
    grace: float = GRACE


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """Something that `poll` saw: `what` is "exited", "restarted" or "failed".

    `said` are the last lines of its log.
    """

    name: str
    what: str
    exit_code: int | None = None
    said: str = ""

    def __str__(self) -> str:
        code = "" if self.exit_code is None else f" with {self.exit_code}"
        return f"{self.name} {self.what}{code}{self.said}"


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """How one process is: `state` is "running", "waiting", "exited" or "stopped"."""

    name: str
    state: str
    pid: int | None
    restarts: int
    exit_code: int | None


@dataclass(slots=True)
class _Child:
    """A spec and what became of it; changed only by the supervisor."""

    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    state: str = "stopped"
    started_at: float = 0.0
    start_again_at: float = 0.0
    early_exits: int = 0
    restarts: int = 0
    exit_code: int | None = None
    asked: bool = False  # to stop


class Supervisor:
    """A handful of child processes in a fixed order; use as a context manager or call `stop`."""

    def __init__(self, processes: Sequence[ProcessSpec]) -> None:
        self._children = {spec.name: _Child(spec) for spec in processes}
        if len(self._children) != len(processes):
            raise ValueError("two processes have the same name")

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, progress: Progress | None = None, *, together: bool = False) -> None:
        """Start all in order, each when the one before it is ready, or all of them at once.

        Raises:
            ProcessFailed: one exited or was not ready in time; those already started are stopped.
        """
        report = progress or _silent
        try:
            if together:
                for name, child in self._children.items():
                    if child.state != "running":
                        report(name, "starting")
                        self._spawn(child)
                for name, child in self._children.items():
                    self._await_ready(child)
                    report(name, _up(child.spec))
            else:
                for name in self._children:
                    self.start_one(name, progress)
        except BaseException:
            self.stop()
            raise

    def start_one(self, name: str, progress: Progress | None = None) -> None:
        """Start one process (again) and wait until it is ready."""
        child = self._children[name]
        if child.state == "running":
            return
        report = progress or _silent
        report(name, "starting")
        self._spawn(child)
        self._await_ready(child)
        report(name, _up(child.spec))

    def poll(self) -> tuple[ProcessEvent, ...]:
        """Look at all once: note exits, restart what is due. Never waits."""
        events: list[ProcessEvent] = []
        for child in self._children.values():
            if child.state == "running" and child.process is not None:
                code = child.process.poll()
                if code is not None:
                    events.append(self._exited(child, code))
            elif child.state == "waiting" and time.monotonic() >= child.start_again_at:
                try:
                    self._spawn(child)
                except OSError:
                    self._wait_longer(child)
                    events.append(ProcessEvent(child.spec.name, "failed"))
                    continue
                child.restarts += 1
                events.append(ProcessEvent(child.spec.name, "restarted"))
        return tuple(events)

    def status(self) -> tuple[ProcessStatus, ...]:
        """Describe all, in the order of their start."""
        return tuple(
            ProcessStatus(
                name=c.spec.name,
                state=c.state,
                pid=c.process.pid if c.process and c.state == "running" else None,
                restarts=c.restarts,
                exit_code=c.exit_code,
            )
            for c in self._children.values()
        )

    def ask_to_stop(self) -> None:
        """Send all SIGTERM without waiting, so that they end side by side; `stop` is to follow."""
        for child in self._children.values():
            if child.process is not None and not child.asked:
                child.asked = True
                with suppress(ProcessLookupError):
                    child.process.send_signal(signal.SIGTERM)

    def stop(self, progress: Progress | None = None) -> None:
        """Stop all, last started first. Safe to call twice."""
        report = progress or _silent
        for name, child in reversed(self._children.items()):
            if child.state == "running":
                report(name, "stopping")
            self.stop_one(name)

    def stop_one(self, name: str, kill: bool = False) -> None:
        """Stop one process, with everything in its group; `kill` gives it no chance to tidy up."""
        child = self._children[name]
        process, child.process, child.state = child.process, None, "stopped"
        if process is None:
            return
        if kill or not child.asked:  # twice SIGTERM makes some programs drop what they are at
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            child.exit_code = process.wait(child.spec.grace)
        except subprocess.TimeoutExpired:
            process.kill()
            child.exit_code = process.wait()
        _sweep_group(process.pid)

    def run_until_signalled(
        self, on_event: Callable[[ProcessEvent], None] | None = None, interval: float = 0.2
    ) -> int:
        """Poll until SIGTERM or SIGINT, then stop all; return the signal's number.

        Main thread only. Also returns (0) when nothing is left that could run.
        """
        received: list[int] = []
        previous = {
            number: signal.signal(number, lambda n, _frame: received.append(n))
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            while not received and any(
                c.state in ("running", "waiting") for c in self._children.values()
            ):
                for event in self.poll():
                    if on_event:
                        on_event(event)
                time.sleep(interval)
            return received[0] if received else 0
        finally:
            self.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _spawn(self, child: _Child) -> None:
        spec = child.spec
        log: IO[bytes] | int = subprocess.DEVNULL
        if spec.log_path is not None:
            log = open_log(spec.log_path)
        try:
            child.process = subprocess.Popen(  # noqa: S603 - argv is ours, no shell
                list(spec.argv),
                env={**os.environ, **spec.env},
                cwd=spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509 - two system calls
            )
        finally:
            if not isinstance(log, int):
                log.close()
        child.state, child.started_at, child.exit_code = "running", time.monotonic(), None
        child.asked = False

    def _await_ready(self, child: _Child) -> None:
        spec = child.spec
        patience = busy(child.process.pid if child.process else 0, spec.ready_timeout)
        while True:
            code = child.process.poll() if child.process else None
            if code is not None:
                self._exited(child, code)
                child.state = "exited"
                raise ProcessFailed(
                    f"{spec.name} exited with {code} at its start{_log_tail(spec)}",
                    hint=f"its log is {spec.log_path}" if spec.log_path else "",
                )
            if spec.ready is None or spec.ready():
                return
            if patience.over():
                self.stop_one(spec.name)
                raise ProcessFailed(
                    f"{spec.name} was not ready after {patience.elapsed:.1f} s{_log_tail(spec)}",
                    hint=f"its log is {spec.log_path}" if spec.log_path else "",
                )
            time.sleep(0.02)

    def _exited(self, child: _Child, code: int) -> ProcessEvent:
        if child.process is not None:
            _sweep_group(child.process.pid)
        child.process, child.exit_code = None, code
        if not child.spec.restart:
            child.state = "exited"
        else:
            if time.monotonic() - child.started_at >= STEADY_AFTER:
                child.early_exits = 0
            self._wait_longer(child)
        said = _log_tail(child.spec, LAST_LINES) if code > 0 else ""
        return ProcessEvent(child.spec.name, "exited", code, said)

    @staticmethod
    def _wait_longer(child: _Child) -> None:
        pause = min(BACKOFF_FIRST * 2**child.early_exits, BACKOFF_LAST)
        child.early_exits += 1
        child.state, child.start_again_at = "waiting", time.monotonic() + pause


def _up(spec: ProcessSpec) -> str:
    """Say no more than is known: without a question nobody knows whether it is ready."""
    return "ready" if spec.ready else "running"


def _silent(_name: str, _what: str) -> None:
    """Report nothing."""


def _sweep_group(pid: int) -> None:
    """Kill what a child that is gone left behind in its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what the child runs between fork and exec, or None where there is no prctl."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: no locks are taken after it

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we were armed
            os._exit(1)

    return arm


def _log_tail(spec: ProcessSpec, lines: int = 0) -> str:
    if spec.log_path is None or not spec.log_path.exists():
        return ""
    with spec.log_path.open("rb") as log:
        log.seek(max(0, spec.log_path.stat().st_size - LOG_TAIL))
        text = log.read().decode(errors="replace").strip()
    text = "\n".join(text.splitlines()[-lines:])
    return f":\n{text}" if text else ""
