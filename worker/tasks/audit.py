"""The task `tallystick.audit`: re-execute another operator's delivery, note whether it is right.

Nobody is accused here. Who holds the challenger's key reads what is noted as wrong, runs it once
more with the reference, and disputes it (`tallystick challenger run --audits`).
"""

from collections.abc import Mapping
from typing import Any

import structlog
from celery import Celery, Task  # type: ignore[import-untyped]  # it ships no types

from oracle.errors import InputInvalid, TallystickError
from oracle.queue import celery_app
from oracle.queue.messages import AuditMessage
from oracle.store.audit_repository import Audit, AuditState
from oracle.store.store import Store
from worker.process import WorkerProcess
from worker.traces import OwnAnswerDiffers, Traces


def register(app: Celery, process: WorkerProcess) -> None:
    """Add `tallystick.audit` to an application."""

    def audit(self: Task, **sealed: Any) -> None:
        body = celery_app.opened(app, AuditMessage, self.request.id, sealed)
        if body is not None and not process.withholds:
            run(body, process.traces, process.store)

    app.task(audit, name=AuditMessage.name, bind=True, shared=False)


def run(body: Mapping[str, Any], traces: Traces, store: Store) -> None:
    """Re-execute one delivery. What cannot be executed now stays asked, and is asked for again."""
    log = structlog.get_logger("tallystick.audit")
    try:
        job = AuditMessage.from_json(body).trace
    except InputInvalid as error:
        log.error("audit.malformed", error=str(error))
        return
    state, message = AuditState.RIGHT, ""
    try:
        traces.get(job)
    except OwnAnswerDiffers as error:
        state, message = AuditState.WRONG, str(error)
    except TallystickError as error:
        log.warning("audit.failed", request_id=job.request_id, error=str(error))
        return
    with store.begin() as tx:
        tx.record_audit(Audit(job.request_id, job.output_root, state, message))
    log.info("audit.done", request_id=job.request_id, state=state.value)
