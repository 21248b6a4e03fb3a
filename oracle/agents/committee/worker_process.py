"""Who computes a voter's own answer: a port, and the process of ours that implements it.

The process runs `python -m worker --role vote`; a job is a line of JSON, and so is what it found.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from oracle.config import Settings
from oracle.errors import Unavailable
from oracle.types import Activation, Bytes32, Finding

_LAST = 10.0  # seconds that a process gets to end by itself


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a voter found."""

    finding: Finding
    output_digest: Bytes32  # SHA-256 of its own output; zero when it has none
    activation: Activation


class VoteWorker(Protocol):
    """Computes one vote at a time."""

    def opinion(self, job: Mapping[str, Any]) -> Opinion:
        """Run the model on the input and judge what was delivered.

        Args:
            job: as `worker.vote.VoteJob` reads it.

        Raises:
            Unavailable: it could not be computed now.
        """

    def close(self) -> None:
        """Let go of the models."""


class PipeWorker(VoteWorker):
    """A process of this machine. Started with the first job, and again when it died."""

    def __init__(self, settings: Settings, log_path: Path) -> None:
        """Take what the process gets: the network's settings, none of the secrets."""
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")},
            "TALLYSTICK_HOME": str(settings.home.resolve()),
            "TALLYSTICK_IPFS_API": settings.ipfs_api,
            "TALLYSTICK_IPFS_TIMEOUT": str(settings.ipfs_timeout),
            "TALLYSTICK_CACHE_BYTES": str(settings.cache_bytes),
        }
        self._log_path = log_path
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def opinion(self, job: Mapping[str, Any]) -> Opinion:
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
                f"the process that computes votes ended with {process.poll()}",
                hint=f"its log is {self._log_path}",
            )
        return _read(json.loads(line))

    def close(self) -> None:
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
            with self._log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "worker", "--role", "vote"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    env=self._environ, text=True, start_new_session=True,
                )  # fmt: skip
        return self._process


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _read(body: Mapping[str, Any]) -> Opinion:
    if "error" in body:
        raise Unavailable(f"the vote could not be computed: {body['message']}")
    digest = Bytes32(bytes.fromhex(body["output_digest"].removeprefix("0x")))
    return Opinion(Finding[body["finding"]], digest, Activation(int(body["activation"])))
