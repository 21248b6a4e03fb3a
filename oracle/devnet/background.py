"""How a network is found again, and stopped: one file that names the process and what it runs.

The `up` process writes the file when it begins and rewrites it as its children change; `status` and
`down` read it. A pid alone proves nothing, as numbers are reused: the file holds the process's
start time as well. A file whose process is gone counts as no network.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships no types

from oracle import whole_file
from oracle.errors import ConfigInvalid, TransientError
from oracle.patience import busy
from oracle.private_files import make_folder, open_log
from oracle.types import Say

FILE = "devnet.json"
LOG = "devnet.log"
_STOP_PATIENCE = 45.0  # seconds: above the supervisor's own grace for a handful of children
_START_PATIENCE = 60.0  # seconds in which nothing of it uses the processor
_SWALLOWED_AFTER = 0.5  # seconds until a stop that had no effect is repeated
_CLOCK_SLACK = 1.0  # seconds by which two readings of one start time may differ


class Stopped(BaseException):
    """A signal asked us to end; like KeyboardInterrupt, not an error to be handled on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True, slots=True)
class RunningPart:
    """One running process of the network: a server or one of an operator's."""

    name: str
    state: str  # as in supervisor.ProcessStatus
    pid: int | None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class RunningNetwork:
    """What the `up` process says about itself."""

    pid: int
    created: float  # unix seconds: when that process began, by the kernel's books
    ready: bool
    kinds: Mapping[str, str] = field(default_factory=dict)  # {"ipfs": "embedded node", …}
    parts: tuple[RunningPart, ...] = ()


def myself() -> RunningNetwork:
    """Describe this process, with nothing running yet."""
    return RunningNetwork(pid=os.getpid(), created=psutil.Process().create_time(), ready=False)


def write(home: Path, network: RunningNetwork) -> None:
    """Replace the file atomically."""
    make_folder(home)
    whole_file.write(home / FILE, json.dumps(asdict(network), indent=2) + "\n")


def read(home: Path) -> RunningNetwork | None:
    """Return the network that runs in `home`; None when there is none or its process is gone."""
    try:
        body: dict[str, Any] = json.loads((home / FILE).read_text())
        parts = tuple(RunningPart(**part) for part in body.pop("parts"))
        network = RunningNetwork(**body, parts=parts)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return network if _process(network) else None


def forget(home: Path) -> None:
    """Remove the file."""
    (home / FILE).unlink(missing_ok=True)


def refuse_second(home: Path) -> None:
    """Make sure that no network runs in `home` already.

    Raises:
        ConfigInvalid: one does.
    """
    if (network := read(home)) and network.pid != os.getpid():
        raise ConfigInvalid(
            f"a network already runs in {home} (process {network.pid})",
            hint="see it with `tallystick status`, stop it with `tallystick down`, "
            "or choose another folder with TALLYSTICK_HOME",
        )


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into `Stopped`; later ones do not disturb the end.

    Python drops an exception that a signal raises inside a finalizer or a weak reference's callback
    (imports have some), so an alarm looks after it: while nothing unwinds, it raises again.
    Main thread only.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    asked: list[Stopped] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        asked.append(Stopped(number))
        signal.setitimer(signal.ITIMER_REAL, _SWALLOWED_AFTER, _SWALLOWED_AFTER)
        raise asked[0]

    def insist(_number: int, _frame: FrameType | None) -> None:
        handled = sys.exc_info()[1]
        while handled is not None and handled is not asked[0]:
            handled = handled.__context__
        if handled is None:
            raise asked[0]

    previous = {number: signal.signal(number, stop) for number in numbers}
    previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, insist)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def detach(home: Path, argv: Sequence[str], say: Say = lambda _: None) -> RunningNetwork:
    """Run `argv`, an `up` in the foreground, without a terminal; return when it is ready.

    Args:
        say: is told each line of its log.

    Raises:
        TransientError: it ended, or was not ready in time; the log's last lines say why.
    """
    make_folder(home)
    log = home / LOG
    log.unlink(missing_ok=True)
    with open_log(log) as output:
        process = subprocess.Popen(  # noqa: S603 - argv is ours, no shell
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    patience = busy(process.pid, _START_PATIENCE)
    with log.open(errors="replace") as lines:
        while process.poll() is None and not patience.over():
            network = read(home)
            for line in lines:
                say(line.rstrip())
            if network and network.pid == process.pid and network.ready:
                return network
            time.sleep(0.1)
    if process.poll() is None:
        _end(psutil.Process(process.pid))
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise TransientError(f"the network did not come up:\n{tail}", hint=f"the whole log is {log}")


def stop(home: Path) -> bool:
    """End the network that runs in `home`; False when there was none."""
    network = read(home)
    process = _process(network) if network else None
    if network is None or process is None:
        return False
    children = [child for part in network.parts if (child := _child(part, network))]
    _end(process)
    for child in children:  # only when it had to be killed is anything left
        _end(child)
    forget(home)
    return True


def command() -> list[str]:
    """Return the argv that runs this very installation's command line."""
    return [sys.executable, "-c", "import sys; from oracle.cli import main; sys.exit(main())"]


def _process(network: RunningNetwork) -> psutil.Process | None:
    with suppress(psutil.Error):
        process = psutil.Process(network.pid)
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        if alive and abs(process.create_time() - network.created) < _CLOCK_SLACK:
            return process
    return None


def _child(part: RunningPart, network: RunningNetwork) -> psutil.Process | None:
    with suppress(psutil.Error):
        if part.pid is not None:
            child = psutil.Process(part.pid)
            return child if child.ppid() == network.pid else None
    return None


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(_STOP_PATIENCE)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()
