"""The task `tallystick.infer`: messages in, pipeline, messages out. Holds no logic of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from celery import Celery  # type: ignore[import-untyped]  # it ships no types

from oracle.errors import InputInvalid, TransientError, Unavailable
from oracle.queue import celery_app
from oracle.queue.batches import FairBatches
from oracle.queue.message import Message
from oracle.queue.messages import InferMessage
from oracle.types import RequestId
from worker.errors import CacheFull, DeviceFull, EngineDied
from worker.inputs import InputLate
from worker.outcomes import Answered, Failed, Outcome
from worker.pipeline import Pipeline

RETRIES = 5  # of what time may heal on this machine: after 1, 2, 4, 8, 16 seconds
_HEALS = (Unavailable, CacheFull, DeviceFull, EngineDied, InputLate)

Send = Callable[[Message, float], None]  # a message, and seconds until it may be taken


class WorkerCrashed(TransientError):
    """The process died while it ran the model, twice."""


def register(app: Celery, pipeline: Callable[[], Pipeline]) -> None:
    """Add `tallystick.infer` to an application; `pipeline` returns this process's."""

    def send(message: Message, delay: float = 0) -> None:
        celery_app.send(app, message, delay=delay)

    def infer(requests: Sequence[Any]) -> None:
        bodies = [celery_app.opened(app, InferMessage, r.id, r.kwargs) for r in requests]
        answer(pipeline(), [body for body in bodies if body is not None], send)

    class Reporting(FairBatches):
        def gave_up(self, request: Any) -> None:
            """Report a request that kills its process."""
            body = celery_app.opened(app, InferMessage, request.id, request.kwargs)
            if body is None:
                return
            try:
                job = InferMessage.from_json(body)
            except InputInvalid:
                return
            error = WorkerCrashed("the process died while it ran this request, twice")
            send(Failed(job.request_id, error).message())

    app.task(
        infer, name=InferMessage.name, base=Reporting, flush_every=celery_app.PREFETCH, shared=False
    )


def answer(pipeline: Pipeline, bodies: Sequence[Mapping[str, Any]], send: Send) -> None:
    """Run the pipeline over messages and send what comes out."""
    log = structlog.get_logger()
    jobs: dict[RequestId, InferMessage] = {}
    for body in bodies:
        try:
            job = InferMessage.from_json(body)
        except InputInvalid as error:  # nobody to report to: the id itself may be wrong
            log.error("infer.malformed", error=str(error))
            continue
        jobs[job.request_id] = job  # a queue may hand out a message twice: it is answered once
    for outcome in pipeline.run(list(jobs.values())):
        _send_outcome(outcome, jobs[outcome.request_id], send, log)


def _send_outcome(outcome: Outcome, job: InferMessage, send: Send, log: Any) -> None:
    request_id = outcome.request_id
    if isinstance(outcome, Answered):
        log.info("infer.answered", request_id=request_id, output_root=outcome.output_root)
        send(outcome.message(), 0)
        return
    report = outcome.message()
    told = {"error": report.error, "message": report.message, "permanent": report.permanent}
    if isinstance(outcome.error, _HEALS) and job.attempt < RETRIES:
        log.warning("infer.retry", request_id=request_id, attempt=job.attempt + 1, **told)
        send(replace(job, attempt=job.attempt + 1), 2.0**job.attempt)
        return
    log.error("infer.failed", request_id=request_id, **told)
    send(report, 0)
