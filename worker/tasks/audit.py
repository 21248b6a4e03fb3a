"""The task `tallystick.audit`: re-execute another operator's delivery, note whether it is right.

Nobody is accused here. Who holds the challenger's key reads what is noted as wrong, runs it once
more with the reference, and disputes it (`tallystick challenger run --audits`).
"""

from collections.abc import Mapping
from typing import Any

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types

from oracle.errors import InputInvalid, TallystickError
from oracle.queue.dispute_messages import TraceJob
from oracle.queue.messages import parse_bytes32
from oracle.store.audit_repository import Audit, AuditState
from oracle.store.store import Store
from oracle.types import RequestId
from worker.traces import OwnAnswerDiffers, Traces

AUDIT = "tallystick.audit"


def register(app: Celery, traces: Traces, store: Store) -> None:
    """Add `tallystick.audit` to an application."""

    def audit(**payload: Any) -> None:
        run(payload, traces, store)

    app.task(audit, name=AUDIT)


def run(payload: Mapping[str, Any], traces: Traces, store: Store) -> None:
    """Re-execute one delivery. What cannot be executed now stays asked, and is asked for again."""
    log = structlog.get_logger("tallystick.audit")
    try:
        job = parse(payload)
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


def parse(payload: Mapping[str, Any]) -> TraceJob:
    """Read the payload of `tallystick.audit`.

    Raises:
        InputInvalid: a field is missing or malformed.
    """
    names = ("manifest_digest", "model_root", "input_root", "input_cid", "output_root")
    try:
        digests = [parse_bytes32(payload[name]) for name in names]
        return TraceJob(RequestId(parse_bytes32(payload["request_id"])), *digests)
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"malformed audit message: {error!r}") from error
