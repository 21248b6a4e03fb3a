"""The task `tallystick.infer`: messages in, pipeline, messages out. Holds no logic of its own.

The pipeline is built in each process after the fork (torch's threads do not survive one).
"""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery import Celery, signals  # type: ignore[import-untyped]  # it ships no types

from oracle.config import Settings
from oracle.errors import InputInvalid, TransientError, Unavailable
from oracle.queue import messages
from oracle.queue.batches import FairBatches
from oracle.queue.messages import Answered, Failed, InferJob, Outcome
from oracle.types import RequestId
from worker.errors import CacheFull, DeviceFull
from worker.inputs import InputLate
from worker.pipeline import Pipeline

MAX_BATCH = 64  # messages
RETRIES = 5  # of what time may heal on this machine: after 1, 2, 4, 8, 16 seconds
_HEALS = (Unavailable, CacheFull, DeviceFull, InputLate)


class WorkerCrashed(TransientError):
    """The process died while it ran the model, twice."""


def register(app: Celery, settings: Settings, build: Callable[[], Pipeline]) -> None:
    """Add `tallystick.infer` to an application; `build` runs once in every process."""

    class Infer(FairBatches):
        """Answers batches of requests."""

        name = messages.INFER
        flush_every = MAX_BATCH
        _pipeline: Pipeline | None = None

        def warm_up(self) -> Pipeline:
            """Build the pipeline unless this process has it."""
            if self._pipeline is None:
                self._pipeline = build()
            return self._pipeline

        def run(self, requests: Sequence[Any]) -> None:
            """Answer a batch; every message ends in a message."""
            answer(self.warm_up(), [request.kwargs for request in requests], self.send)

        def send(self, name: str, payload: dict[str, Any], delay: float = 0) -> None:
            """Put a message on the queue of its task."""
            role = "infer" if name == messages.INFER else "submit"
            self.app.send_task(
                name,
                kwargs=payload,
                queue=settings.queue(role),
                countdown=delay or None,
                retry=True,
            )

        def gave_up(self, request: Any) -> None:
            """Report a request that kills its process."""
            try:
                job = InferJob.parse(request.kwargs)
            except InputInvalid:
                return
            error = WorkerCrashed("the process died while it ran this request, twice")
            self.send(messages.REPORT_FAILURE, Failed(job.request_id, error).payload())

    task = app.register_task(Infer())
    signals.worker_process_init.connect(lambda **_: task.warm_up(), weak=False)


def answer(
    pipeline: Pipeline,
    payloads: Sequence[dict[str, Any]],
    send: Callable[[str, dict[str, Any], float], None],
) -> None:
    """Run the pipeline over messages and send what comes out.

    `send(task, payload, delay)` puts a message on a queue after `delay` seconds.
    """
    log = structlog.get_logger()
    jobs: list[InferJob] = []
    by_id: dict[RequestId, dict[str, Any]] = {}
    for payload in payloads:
        try:
            job = InferJob.parse(payload)
        except InputInvalid as error:  # nobody to report to: the id itself may be wrong
            log.error("infer.malformed", error=str(error))
            continue
        jobs.append(job)
        by_id[job.request_id] = payload
    for outcome in {id(outcome): outcome for outcome in pipeline.run(jobs)}.values():
        _send_outcome(outcome, by_id[outcome.request_id], send, log)


def _send_outcome(
    outcome: Outcome,
    payload: dict[str, Any],
    send: Callable[[str, dict[str, Any], float], None],
    log: Any,
) -> None:
    request_id = messages.to_hex(outcome.request_id)
    if isinstance(outcome, Answered):
        log.info("infer.answered", request_id=request_id, output_root=outcome.output_root)
        send(messages.DELIVER, outcome.payload(), 0)
        return
    report = outcome.payload()
    attempt = int(payload.get("attempt", 0))
    if isinstance(outcome.error, _HEALS) and attempt < RETRIES:
        log.warning("infer.retry", attempt=attempt + 1, **report)
        send(messages.INFER, {**payload, "attempt": attempt + 1}, 2.0**attempt)
        return
    log.error("infer.failed", **report)
    send(messages.REPORT_FAILURE, report, 0)
