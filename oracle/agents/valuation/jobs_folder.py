"""The folder of a valuator's jobs, and the queue that names them to the worker.

```
 rounds/<job>/  job.json   written before the message is sent
                fetched    the rows are here and right       ┐
                *.bin      tables                            ├ by the worker (worker/valuation)
                result.json, or failed.json                  ┘
```
What is not there is asked for again: the worker does nothing twice.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oracle import whole_file
from oracle.config import Settings
from oracle.errors import DigestMismatch
from oracle.ipfs import data_sets, valuation_tables
from oracle.ipfs.port import Ipfs
from oracle.ipfs.valuation_tables import Index
from oracle.private_files import make_folder
from oracle.queue.broker import JobQueue
from oracle.queue.messages import ValueMessage
from oracle.types import Bytes32
from oracle.valuation.jobs import DATA, FAILED, FETCHED, JOB, RESULT, ValueJob
from oracle.valuation.rounds import RoundData
from oracle.valuation.tables import Tables


@dataclass(frozen=True, slots=True)
class Result:
    """What the worker found."""

    index: Index
    cid: Bytes32  # of the index on IPFS


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no result (yet)."""

    error: str
    message: str
    permanent: bool


class Work(Protocol):
    """Jobs and what came of them."""

    def ask(self, job: ValueJob) -> None:
        """See to it that somebody is at a job, unless it is done.

        Raises:
            Unavailable: the queue cannot be reached.
        """

    def fetched(self, job: ValueJob) -> bool:
        """Tell whether all rows of a job are here and right."""

    def result(self, job: ValueJob) -> Result | None:
        """Return what was found; None while it was not."""

    def failure(self, job: ValueJob) -> Failure | None:
        """Return why a job failed; None when it did not."""

    def tables(self, job: ValueJob, ipfs: Ipfs) -> tuple[RoundData, Tables]:
        """Return rows and tables of a job that is done.

        Raises:
            DigestMismatch: its files are gone or changed; it has to be done again.
        """

    def forget(self, round_id: int) -> None:
        """Remove the files of a round that is over; what is on IPFS stays there."""


class Jobs(Work):
    """Jobs in a folder that worker and valuator share."""

    def __init__(self, folder: Path, queue: JobQueue, again: float) -> None:
        """Take the collaborators.

        Args:
            again: seconds until a job without a result is asked for again.
        """
        self._folder = folder
        self._queue = queue
        self._again = again
        self._asked: dict[str, float] = {}

    @classmethod
    def of(cls, settings: Settings, queue: JobQueue) -> "Jobs":
        """Return the jobs of the operator that the settings name."""
        folder = settings.state_dir / "rounds"
        return cls(folder, queue, settings.requeue_after)

    def folder(self, job: ValueJob) -> Path:
        """Return where a job's files are."""
        return self._folder / job.name

    def ask(self, job: ValueJob) -> None:
        now = time.monotonic()
        if (self.folder(job) / RESULT).exists():
            return
        if now < self._asked.get(job.name, 0.0):
            return
        write_job(self.folder(job), job)
        self._queue.send(ValueMessage(job.name), f"value:{job.name}:{time.time_ns()}")
        self._asked[job.name] = now + self._again

    def fetched(self, job: ValueJob) -> bool:
        return (self.folder(job) / FETCHED).exists()

    def result(self, job: ValueJob) -> Result | None:
        return read_result(self.folder(job))

    def failure(self, job: ValueJob) -> Failure | None:
        return read_failure(self.folder(job))

    def tables(self, job: ValueJob, ipfs: Ipfs) -> tuple[RoundData, Tables]:
        folder = self.folder(job)
        result = self.result(job)
        if result is None:
            raise DigestMismatch(f"job {job.name} has no result")
        try:
            tables = valuation_tables.load(folder, result.index.valuation, result.index.values)
        except DigestMismatch:
            (folder / RESULT).unlink()  # to be done again: the same bits come out
            raise
        return data_sets.fetch_round(ipfs, job, folder / DATA), tables

    def forget(self, round_id: int) -> None:
        for folder in self._folder.glob(f"{round_id}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def write_job(folder: Path, job: ValueJob) -> None:
    """Write a job into its folder."""
    make_folder(folder)
    path = folder / JOB
    if path.exists() and path.read_text() == job.to_json():
        return
    whole_file.write(path, job.to_json())


def read_result(folder: Path) -> Result | None:
    """Return the result in a folder; None when there is none."""
    try:
        body = json.loads((folder / RESULT).read_text())
    except FileNotFoundError:
        return None
    index = Index.from_json(json.dumps(body["index"]))
    return Result(index, Bytes32(bytes.fromhex(body["cid"])))


def read_failure(folder: Path) -> Failure | None:
    """Return why the job in a folder failed; None when it did not."""
    try:
        body = json.loads((folder / FAILED).read_text())
    except FileNotFoundError:
        return None
    return Failure(str(body["error"]), str(body["message"]), bool(body["permanent"]))
