"""The part of a transaction that knows jobs, and what this operator did about them.

`put_job` writes the chain half and the bookkeeping of a job; answers and failures have tables of
their own, so that watcher and submitter never overwrite each other.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import Table, and_, bindparam, delete, exists, func, or_, select, update

from oracle.store.job import (
    AT_ONCE,
    NEVER,
    AttemptFailure,
    Job,
    JobState,
    JobStep,
    SlotPhase,
)
from oracle.store.repository import Repository, portions
from oracle.store.tables import AnswerRow, FailureRow, JobRow
from oracle.types import (
    Address,
    Bytes32,
    Claim,
    Delivery,
    OperatorAnswer,
    Request,
    RequestId,
    Stamp,
    Terms,
    Timestamp,
)

_MAX_MESSAGE = 2000  # characters of a failure that are kept


class JobRepository(Repository):
    """Jobs, answers, failures."""

    def job(self, request_id: RequestId) -> Job | None:
        """Return one job."""
        return self.jobs_of([request_id]).get(request_id)

    def jobs_of(self, request_ids: Iterable[RequestId]) -> dict[RequestId, Job]:
        """Return those jobs that are there."""
        found = [self._jobs(_JOBS_OF, {"ids": portion}) for portion in portions(request_ids)]
        return {job.request_id: job for jobs in found for job in jobs}

    def put_job(self, job: Job) -> None:
        """Insert or replace one job, but for its answer and failures."""
        self.put_jobs([job])

    def put_jobs(self, jobs: Iterable[Job]) -> None:
        """Insert or replace many jobs, but for their answers and failures."""
        self.upsert(JobRow, [_row_of(job) for job in jobs])

    def delete_job(self, request_id: RequestId) -> None:
        """Forget a job whose request vanished in a reorg; answer, failures and outbox stay."""
        self.session.execute(delete(JobRow).where(JobRow.request_id == request_id))

    def open_jobs(self, model_id: int | None = None) -> list[Job]:
        """Return the jobs that may still need something done, of one model or of all."""
        query = _JOBS.where(JobRow.open)
        if model_id is not None:
            query = query.where(JobRow.model_id == model_id)
        return self._jobs(query.order_by(JobRow.wake_at, JobRow.request_id))

    def due(
        self,
        chain_now: Timestamp,
        wall_now: float,
        generation: str,
        limit: int = 1000,
        *,
        longest_pause: float = NEVER,
    ) -> list[Job]:
        """Return open jobs to look at again, those that woke first in front.

        A job is due when the chain's time reached `wake_at`, or when its message is older than
        `retry_at` or was taken by another generation of the queue. A `retry_at` above
        `longest_pause` seconds away is of a clock that was wrong.
        """
        given = {
            "chain_now": chain_now,
            "wall_now": wall_now,
            "latest": wall_now + longest_pause,
            "generation": generation,
            "most": limit,
        }
        return self._jobs(_DUE, given)

    def jobs(self, state: JobState | None = None, limit: int = 100) -> list[Job]:
        """Return jobs for a person to read, the latest requests first."""
        query = _JOBS if state is None else _JOBS.where(JobRow.state == state.value)
        return self._jobs(query.order_by(JobRow.expires_at.desc(), JobRow.request_id).limit(limit))

    def job_counts(self) -> dict[JobState, int]:
        """Return how many jobs are in each state; states without jobs are missing."""
        rows = self.session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
        return {JobState(state): count for state, count in rows}

    def under_way(self, step: JobStep) -> int:
        """Return how many jobs wait for what was put on the queue as this step."""
        rows = self.session.execute(
            select(func.count()).where(JobRow.step == step.value, JobRow.attempt > 0)
        )
        return int(rows.scalar_one())

    def answer(self, request_id: RequestId) -> OperatorAnswer | None:
        """Return the answer that this operator stands by."""
        row = self.session.execute(
            select(AnswerRow.output_root, AnswerRow.output_cid, AnswerRow.units).where(
                AnswerRow.request_id == request_id
            )
        ).first()
        return None if row is None else OperatorAnswer(Bytes32(row[0]), Bytes32(row[1]), row[2])

    def record_answer(self, request_id: RequestId, answer: OperatorAnswer) -> OperatorAnswer:
        """Record an answer unless there is one, wake the job, and return the one that stands."""
        self.record_answers({request_id: answer})
        return self.answer(request_id) or answer

    def record_answers(self, answers: Mapping[RequestId, OperatorAnswer]) -> None:
        """Record the answers of requests that have none yet, and wake their jobs."""
        known = {
            request_id
            for portion in portions(answers)
            for request_id in self.session.scalars(
                select(AnswerRow.request_id).where(AnswerRow.request_id.in_(portion))
            )
        }
        fresh = {one: answer for one, answer in answers.items() if one not in known}
        rows = [
            {
                "request_id": request_id,
                "output_root": answer.output_root,
                "output_cid": answer.output_cid,
                "units": answer.units,
                "recorded_at": self._now(),
            }
            for request_id, answer in fresh.items()
        ]
        self.insert(AnswerRow, rows)
        self._change(fresh, wake_at=AT_ONCE)

    def record_failure(
        self,
        request_id: RequestId,
        error: str,
        message: str,
        permanent: bool,
        report: str | None = None,
    ) -> None:
        """Append a failure and wake the job; a `report` (id of the task) that is known is skipped.

        Args:
            request_id: of the request that was not answered.
            error: name of the error's class.
            message: what a person reads; cut at 2,000 characters.
            permanent: whether trying again would fail in the same way.
            report: what tells a repeated report from a second failure.
        """
        if report is not None and self.session.scalar(
            select(exists().where(FailureRow.report == report))
        ):
            return
        self.session.add(
            FailureRow(
                request_id=request_id,
                error=error[:64],
                message=message[:_MAX_MESSAGE],
                permanent=permanent,
                report=report,
                recorded_at=self._now(),
            )
        )
        self.session.flush()
        self.wake(request_id)

    def failures_of(self, request_id: RequestId) -> list[AttemptFailure]:
        """Return the reported failures of one request, oldest first."""
        rows = self.session.execute(
            select(
                FailureRow.error, FailureRow.message, FailureRow.permanent, FailureRow.recorded_at
            )
            .where(FailureRow.request_id == request_id)
            .order_by(FailureRow.id)
        )
        return [AttemptFailure(request_id, *row) for row in rows]

    def failures(self, request_id: RequestId) -> tuple[int, bool]:
        """Return how many transient failures were reported, and whether a permanent one was."""
        reported = self.failures_of(request_id)
        return (
            sum(not failure.permanent for failure in reported),
            any(failure.permanent for failure in reported),
        )

    def wake(self, request_id: RequestId) -> None:
        """Make a job due at once."""
        self._change([request_id], wake_at=AT_ONCE)

    def jobs_sent(self, request_ids: Iterable[RequestId], generation: str) -> None:
        """Note which generation of the queue took the messages of jobs."""
        self._change(request_ids, generation=generation)

    def _change(self, request_ids: Iterable[RequestId], **columns: object) -> None:
        for portion in portions(request_ids):
            self.session.connection().execute(
                update(_jobs).where(_jobs.c.request_id.in_(portion)).values(**columns)
            )

    def _jobs(self, query: Any, given: Mapping[str, Any] | None = None) -> list[Job]:
        return [_job_of(row) for row in self.session.connection().execute(query, given)]


# Built once: every cycle runs some of them
_jobs = cast(Table, JobRow.__table__)
_JOBS = select(
    _jobs,
    AnswerRow.output_root.label("answer_root"),
    AnswerRow.output_cid.label("answer_cid"),
    AnswerRow.units.label("answer_units"),
    *(
        select(func.count())
        .where(FailureRow.request_id == _jobs.c.request_id, FailureRow.permanent.is_(permanent))
        .scalar_subquery()
        .label(name)
        for name, permanent in (("failures", False), ("permanent", True))
    ),
).join(AnswerRow, AnswerRow.request_id == _jobs.c.request_id, isouter=True)
_JOBS_OF = _JOBS.where(_jobs.c.request_id.in_(bindparam("ids", expanding=True)))
_DUE = (
    _JOBS.where(
        JobRow.open,
        or_(
            _jobs.c.wake_at <= bindparam("chain_now"),
            and_(
                _jobs.c.step != JobStep.NONE.value,
                or_(
                    _jobs.c.retry_at <= bindparam("wall_now"),
                    _jobs.c.retry_at > bindparam("latest"),
                    _jobs.c.generation != bindparam("generation"),
                ),
            ),
        ),
    )
    .order_by(_jobs.c.wake_at, _jobs.c.request_id)
    .limit(bindparam("most"))
)


def _job_of(row: Any) -> Job:
    delivery = None
    if row.delivery_operator is not None:
        delivery = Delivery(
            operator=Address(row.delivery_operator),
            stamp=Stamp(Timestamp(row.delivered_at or 0), row.units),
            output_root=Bytes32(row.output_root or b""),
        )
    answer = None
    if row.answer_root is not None:
        answer = OperatorAnswer(Bytes32(row.answer_root), Bytes32(row.answer_cid), row.answer_units)
    return Job(
        request_id=RequestId(row.request_id),
        request=_request_of(row.request),
        phase=SlotPhase(row.phase),
        claim=Claim(Address(row.claim_operator), Timestamp(row.claim_until)),
        delivery=delivery,
        output_cid=Bytes32(row.output_cid),
        disputes=row.disputes,
        demand_until=Timestamp(row.demand_until),
        challenge_until=Timestamp(row.challenge_until),
        answer=answer,
        failures=row.failures,
        permanent=row.permanent > 0,
        state=JobState(row.state),
        step=JobStep(row.step),
        attempt=row.attempt,
        failures_seen=row.failures_seen,
        retry_at=row.retry_at,
        generation=row.generation,
        wake_at=Timestamp(row.wake_at),
    )


def _row_of(job: Job) -> dict[str, object]:
    delivery = job.delivery
    return {
        "request_id": job.request_id,
        "model_id": job.request.model_id,
        "expires_at": job.request.expires_at,
        "request": _request_text(job.request),
        "phase": job.phase.value,
        "claim_operator": job.claim.operator,
        "claim_until": job.claim.until,
        "delivery_operator": delivery.operator if delivery else None,
        "delivered_at": delivery.stamp.time if delivery else None,
        "output_root": delivery.output_root if delivery else None,
        "units": delivery.stamp.units if delivery else 0,
        "output_cid": job.output_cid,
        "disputes": job.disputes,
        "demand_until": job.demand_until,
        "challenge_until": job.challenge_until,
        "state": job.state.value,
        "step": job.step.value,
        "attempt": job.attempt,
        "failures_seen": job.failures_seen,
        "retry_at": job.retry_at,
        "generation": job.generation,
        "wake_at": job.wake_at,
        "open": job.open,
    }


def _request_text(request: Request) -> str:
    """Return a request as one JSON text for its column; words as hex, terms packed."""
    values: dict[str, Any] = {name: getattr(request, name) for name in Request.__slots__}
    values["terms"] = hex(request.terms.pack())
    return json.dumps(
        {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
    )


def _request_of(text: str) -> Request:
    """Read what `_request_text` wrote."""
    values = json.loads(text)
    for name in ("input_root", "input_cid", "params", "envelope"):
        values[name] = bytes.fromhex(values[name])
    values["terms"] = Terms.unpack(int(values["terms"], 16))
    return Request(**values)
