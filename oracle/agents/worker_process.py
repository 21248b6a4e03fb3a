"""The processes that compute for agents: torch and IPFS, but no key and no RPC.

```
  LineProcess     answers lines of JSON, as long as it lives       committee member
  value_worker    takes jobs from a queue, under a supervisor      valuator
  run_module      one job in a folder                              challenger of valuations
```
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from oracle.config import PROGRESS_LINE, Settings
from oracle.devnet.supervisor import ProcessSpec
from oracle.errors import Unavailable
from oracle.private_files import open_log

_LAST = 10.0  # seconds that a process gets to end by itself
_GRACE = 30.0  # seconds that a valuator's worker gets to finish the job it is at


def _told(settings: Settings) -> dict[str, str]:
    """Return what a computing process is told: where its folder and IPFS are, no secrets."""
    return {
        "TALLYSTICK_HOME": str(settings.home.resolve()),
        "TALLYSTICK_IPFS_API": settings.ipfs_api,
        "TALLYSTICK_IPFS_TIMEOUT": str(settings.ipfs_timeout),
        "TALLYSTICK_CACHE_BYTES": str(settings.cache_bytes),
        "TALLYSTICK_TENSORFLOW_PYTHON": settings.tensorflow_python,
        "TALLYSTICK_SPARK": settings.spark,
        "TALLYSTICK_TEXT_THREADS": str(settings.text_threads),
        "TALLYSTICK_TEXT_SLOTS": str(settings.text_slots),
    }


def _environ(settings: Settings) -> dict[str, str]:
    others = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    return {**others, **_told(settings)}


def run_module(
    settings: Settings, module: str, path: Path, *options: str,
    say: Callable[[str], object] = lambda _: None,
) -> "subprocess.CompletedProcess[str]":  # fmt: skip
    """Run a module of `worker` on a folder or a file, and wait for it.

    Args:
        say: is told each line of progress; these lines are not in what is returned.
    """
    argv = [sys.executable, "-m", module, str(path), *options]
    kept = []
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(  # noqa: S603 - our own module, and a path
            argv, env=_environ(settings), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(PROGRESS_LINE):
                    say(line.removeprefix(PROGRESS_LINE).strip())
                else:
                    kept.append(line)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        errors.seek(0)
        return subprocess.CompletedProcess(argv, code, "".join(kept), errors.read())


def value_worker(settings: Settings) -> ProcessSpec:
    """Return the worker of the valuator that is the settings' operator."""
    environ = {
        **_told(settings),
        "TALLYSTICK_OPERATOR": settings.operator,
        "TALLYSTICK_REDIS_URL": settings.redis_url,
        "TALLYSTICK_FAULT": settings.fault,
        "TALLYSTICK_KEY": "",
        "TALLYSTICK_PASSWORD_FILE": "",
    }
    argv = (sys.executable, "-m", "worker", "--role", "value")
    log = settings.state_dir / "value.log"
    return ProcessSpec(f"{settings.operator}.value", argv, environ, log, grace=_GRACE)


class LineProcess:
    """A process that answers a line with a line. Started when asked, and again when it died."""

    def __init__(self, settings: Settings, role: str, log_path: Path) -> None:
        self._environ = _environ(settings)
        self._role = role
        self._log_path = log_path
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a job.

        Raises:
            Unavailable: the process ended instead.
        """
        with self._lock:
            process = self._started()
            try:
                _pipe(process.stdin).write(json.dumps(dict(job)) + "\n")
                _pipe(process.stdin).flush()
                line = _pipe(process.stdout).readline()
            except OSError:
                line = ""
        if not line:
            raise Unavailable(
                f"the process for role {self._role} ended with {process.poll()}",
                hint=f"its log is {self._log_path}",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        _pipe(process.stdin).close()
        try:
            process.wait(_LAST)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _pipe(process.stdout).close()

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            with open_log(self._log_path) as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", "worker", "--role", self._role],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    env=self._environ, text=True, start_new_session=True,
                )  # fmt: skip
        return self._process


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
