"""The task `tallystick.value`: a message names a job, its folder holds the rest.

```
 valuator (key) ── job.json, message ──▶ value (torch, no key) ── result.json ──▶ valuator
```
No answer is sent: the valuator looks into the folder, which both share. A message that comes twice,
or to two processes, does no harm.
"""

import re
from pathlib import Path
from typing import Any

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types

from oracle.config import Settings
from oracle.errors import ConfigInvalid
from oracle.ipfs.client import IpfsClient
from oracle.ipfs.port import Ipfs
from oracle.queue import celery_app
from oracle.valuation.jobs import TASK
from worker import faults
from worker.valuation import valuing

_NAME = re.compile(r"[0-9]{1,20}-[0-9a-f]{16}")  # of a job: nothing that leads out of the folder


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    log = structlog.get_logger("tallystick.value")
    wanted = faults.parse(settings.fault, log)
    application = celery_app.create(settings, "value")
    ipfs = IpfsClient(settings.ipfs_api, settings.ipfs_timeout)
    register(application, settings.state_dir / "rounds", ipfs, wanted=wanted)
    log.info("value.ready")
    return celery_app.serve(application, pool="solo", processes=1, prefetch=1)


def register(
    application: Celery, folder: Path, ipfs: Ipfs, *, wanted: frozenset[str] = faults.NONE
) -> None:
    """Add `tallystick.value` to an application.

    Args:
        folder: of the jobs.
    """
    log = structlog.get_logger("tallystick.value")

    def value(**payload: Any) -> None:
        name = str(payload.get("job", ""))
        if not _NAME.fullmatch(name):
            log.error("value.malformed", job=name)
            return
        try:
            valuing.value(folder / name, ipfs, wanted=wanted)
        except valuing.JobLocked:
            log.info("value.busy", job=name)
        except ConfigInvalid as error:
            log.error("value.no_job", job=name, error=str(error), hint=error.hint)

    application.task(value, name=TASK)
