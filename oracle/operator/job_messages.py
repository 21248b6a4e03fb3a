"""Which message each job's step puts on the queue."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from oracle.queue.message import Message
from oracle.queue.messages import (
    ClaimMessage,
    DeliverMessage,
    FinalizeMessage,
    InferMessage,
    PostOutputMessage,
)
from oracle.store.job import Job, JobStep
from oracle.types import VersionRecord

FINALIZE_BATCH = 32  # settlements in one transaction: about 1 M gas


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message and the jobs that it moves on."""

    message: Message
    jobs: tuple[Job, ...]

    @property
    def task_id(self) -> str:
        """`<step>:<request id>:<attempt>` of the first job."""
        first = self.jobs[0]
        return f"{first.step}:0x{first.request_id.hex()}:{first.attempt}"


def parcels(jobs: Iterable[Job], version_of: Callable[[int, int], VersionRecord]) -> list[Parcel]:
    """Say in messages what each job's step asks for; many settlements share one message.

    Args:
        jobs: each with a step.
        version_of: from model and version to what the registry says of it.
    """
    made: list[Parcel] = []
    settling: list[Job] = []
    for job in jobs:
        if job.step is JobStep.FINALIZE:
            settling.append(job)
        else:
            made.append(Parcel(_message(job, version_of), (job,)))
    for start in range(0, len(settling), FINALIZE_BATCH):
        batch = tuple(settling[start : start + FINALIZE_BATCH])
        made.append(Parcel(FinalizeMessage(tuple(job.request_id for job in batch)), batch))
    return made


def _message(job: Job, version_of: Callable[[int, int], VersionRecord]) -> Message:
    match job.step:
        case JobStep.CLAIM:
            return ClaimMessage(job.request_id)
        case JobStep.DELIVER:
            assert job.answer is not None, "delivering: the answer is recorded"
            made = job.answer
            return DeliverMessage(job.request_id, made.output_root, made.output_cid, made.units)
        case JobStep.POST_OUTPUT:
            return PostOutputMessage(job.request_id)
        case _:
            return _infer(job, version_of(job.request.model_id, job.request.version))


def _infer(job: Job, version: VersionRecord) -> InferMessage:
    request = job.request
    return InferMessage(
        request_id=job.request_id,
        model_id=request.model_id,
        version=request.version,
        manifest_digest=version.manifest_digest,
        model_root=version.model_root,
        input_root=request.input_root,
        input_cid=request.input_cid,
        params=request.params,
    )
