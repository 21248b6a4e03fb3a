"""The task `tallystick.value`: a message names a job, its folder holds the rest.

```
 valuator (key) ── job.json, message ──▶ value (torch, no key) ── result.json ──▶ valuator
```
No answer is sent: the valuator looks into the folder, which both share. A message that comes twice,
or to two processes, does no harm.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from celery import Celery, Task  # type: ignore[import-untyped]  # it ships no types

from oracle.errors import ConfigInvalid, InputInvalid
from oracle.ipfs.port import Ipfs
from oracle.queue import celery_app
from oracle.queue.messages import ValueMessage
from worker import faults
from worker.process import WorkerProcess
from worker.valuation import valuing


def register(app: Celery, process: WorkerProcess) -> None:
    """Add `tallystick.value` to an application."""

    def value(self: Task, **sealed: Any) -> None:
        body = celery_app.opened(app, ValueMessage, self.request.id, sealed)
        if body is None:
            return
        folder = process.settings.state_dir / "rounds"
        run(body, folder, process.ipfs, wanted=process.faults)

    app.task(value, name=ValueMessage.name, bind=True, shared=False)


def run(
    body: Mapping[str, Any], folder: Path, ipfs: Ipfs, *, wanted: frozenset[str] = faults.NONE
) -> None:
    """Do one job.

    Args:
        folder: of the jobs.
        wanted: faults on purpose.
    """
    log = structlog.get_logger("tallystick.value")
    try:
        name = ValueMessage.from_json(body).job
    except InputInvalid as error:
        log.error("value.malformed", error=str(error))
        return
    try:
        valuing.value(folder / name, ipfs, wanted=wanted)
    except valuing.JobLocked:
        log.info("value.busy", job=name)
    except ConfigInvalid as error:
        log.error("value.no_job", job=name, error=str(error), hint=error.hint)
