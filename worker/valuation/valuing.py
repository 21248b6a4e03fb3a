"""Values one round: rows come from IPFS, tables go to files and to IPFS, the result is a file.

```
 folder/job.json ─▶ rows fetched, held against the chain's roots ─▶ `fetched`
                 ─▶ flags, scores, tables (*.bin), trees ─▶ IPFS ─▶ result.json, the last thing
```
A crash at any line loses nothing but time: who finds result.json has it all. Knows no chain and no
key: the process that claims and publishes reads the folder (`oracle.agents.valuation`).
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from oracle import whole_file
from oracle.errors import ConfigInvalid, PermanentError, TallystickError
from oracle.ipfs import data_sets, valuation_tables
from oracle.ipfs.port import Ipfs
from oracle.ipfs.valuation_tables import Index, Opinions
from oracle.private_files import open_log
from oracle.types import Bytes32
from oracle.valuation import reference
from oracle.valuation.jobs import DATA, FAILED, FETCHED, JOB, RESULT, ValueJob
from oracle.valuation.reference import Block, Flags
from oracle.valuation.rounds import RoundData
from oracle.valuation.tables import build
from worker import faults
from worker.valuation import lies, second_opinions

OPINION_ROWS = 5_000  # of a round; above, retraining costs more than the values
PERMUTATIONS = 20


class JobLocked(Exception):
    """Another process is at this job."""


def value(
    folder: Path,
    ipfs: Ipfs,
    *,
    wanted: frozenset[str] = faults.NONE,
    publish: bool = True,
    opinions: bool = True,
) -> None:
    """Do the job in a folder, unless it is done; what fails is written to failed.json.

    Args:
        wanted: faults on purpose (worker/faults.py).
        publish: put the tables on IPFS. A challenger only compares.
        opinions: ask the second opinions, where the round is small enough.

    Raises:
        Busy: another process is at it.
    """
    with _alone(folder):
        if (folder / RESULT).exists():
            return
        try:
            _value(folder, ipfs, wanted, publish=publish, opinions=opinions)
        except TallystickError as error:
            body = {
                "error": type(error).__name__,
                "message": str(error),
                "permanent": isinstance(error, PermanentError),
            }
            whole_file.write(folder / FAILED, json.dumps(body))
            structlog.get_logger("tallystick.value").error("value.failed", **body)
        else:
            (folder / FAILED).unlink(missing_ok=True)


def _value(
    folder: Path, ipfs: Ipfs, wanted: frozenset[str], *, publish: bool, opinions: bool
) -> None:
    log = structlog.get_logger("tallystick.value")
    job = ValueJob.from_json((folder / JOB).read_text())
    data = data_sets.fetch_round(ipfs, job, folder / DATA)
    whole_file.write(folder / FETCHED, "")
    log.info("value.fetched", round_id=job.round_id, rows=len(data.labels), test=data.test.rows)
    flags, scores = compute(data)
    tables = build(data, flags, scores, folder)
    if faults.FALSE_VALUE in wanted:
        tables = lies.inflate(data, tables)
    valuation_tables.write(tables, folder)
    asked = opinions and len(data.labels) <= OPINION_ROWS
    said = _opinions(data, flags) if asked else {}
    index = Index(
        tables.valuation, tables.values, valuation_tables.totals(tables, data.starts), said
    )
    cid = Bytes32(bytes(32))
    if publish and faults.WITHHOLD not in wanted:
        index, cid = valuation_tables.publish(ipfs, index, folder)
    _write_result(folder, index, cid)
    log.info("value.done", round_id=job.round_id, n=tables.valuation.n, values=tables.values)


def compute(data: RoundData) -> tuple[Flags, Iterable[Block]]:
    """Return flags and scores: by torch, or of a small round by the reference, with equal bits."""
    if reference.is_small(data):
        flags = reference.flags(data)
        return flags, reference.scores(data, flags)
    from worker import device  # noqa: PLC0415 - a worker that waits for a large round needs
    from worker.valuation import knn_shapley  # noqa: PLC0415 - neither torch nor its 300 MB

    kind = device.choose()
    device.configure(kind, threads=os.cpu_count() or 1)  # integers: threads change no bit
    flags = knn_shapley.flags(data, device=kind)
    return flags, knn_shapley.scores(data, flags, device=kind)


def _opinions(data: RoundData, flags: Flags) -> Opinions:
    """Return what leave-one-out and Data Shapley say of each contribution, in accuracy."""
    utility, members = second_opinions.votes(data), second_opinions.members(data, flags)
    one = second_opinions.leave_one_out(utility, members)
    many = second_opinions.tmc_shapley(utility, members, permutations=PERMUTATIONS)
    return {"leave_one_out": one.values, "data_shapley": many.values, "error": many.errors}


def _write_result(folder: Path, index: Index, cid: Bytes32) -> None:
    body: dict[str, Any] = {"index": json.loads(index.to_json()), "cid": cid.hex()}
    whole_file.write(folder / RESULT, json.dumps(body))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the job: a message may be handed out twice.

    Raises:
        Busy: another process holds it. ConfigInvalid: there is no such job.
    """
    if not (folder / JOB).exists():
        raise ConfigInvalid(f"no job in {folder}", hint="valuator and worker share a folder")
    with open_log(folder / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JobLocked(str(folder)) from error
        yield
