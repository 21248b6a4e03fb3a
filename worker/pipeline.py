"""From jobs to outcomes: fetch, check, run together, publish. One bad job spoils no other.

```
 jobs ─▶ by model ─▶ model (pool) ─▶ inputs (IPFS, checked) ─▶ batches ─▶ runtime
      ◀─ outcome per job, in order ◀─ output on IPFS ◀─ canonical bytes, checked ◀──┘
```
Knows nothing of queues; every error becomes the `Failed` of the jobs that it concerns.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from oracle.errors import DigestMismatch, TallystickError
from oracle.ipfs.port import Ipfs
from oracle.queue.messages import InferMessage
from oracle.types import ZERO32, Bytes32, RequestId
from worker import batching, forward, runtimes
from worker.inputs import InputSource
from worker.models import LoadedModel, ModelPool
from worker.outcomes import Answered, Failed, Outcome
from worker.progress import Tell, TextTeller, silent
from worker.runtimes.base import Array

T = TypeVar("T")
MAX_ROWS = 256  # of one forward pass


@dataclass(frozen=True, slots=True)
class _Ready:
    """A job whose input is here and fits."""

    job: InferMessage
    inputs: dict[str, Array]
    params: dict[str, float]


class Pipeline:
    """Answers jobs; one per process."""

    def __init__(
        self,
        ipfs: Ipfs,
        inputs: InputSource,
        pool: ModelPool,
        transfers: ThreadPoolExecutor,
        *,
        log: Any,
        max_rows: int = MAX_ROWS,
        tell: Tell = silent,
    ) -> None:
        self._ipfs = ipfs
        self._inputs = inputs
        self._pool = pool
        self._transfers = transfers
        self._log = log
        self._max_rows = max_rows
        self._tell = tell

    def run(self, jobs: Sequence[InferMessage]) -> list[Outcome]:
        """Return one outcome per job, in the order of the jobs. Raises nothing of ours."""
        groups: dict[tuple[Bytes32, Bytes32], dict[RequestId, InferMessage]] = {}
        for job in jobs:  # a queue may hand out a message twice: it is answered once
            key = (job.manifest_digest, job.model_root)
            groups.setdefault(key, {})[job.request_id] = job
        outcomes: dict[RequestId, Outcome] = {}
        for members in groups.values():
            results = self._run_group(list(members.values()))
            outcomes.update((outcome.request_id, outcome) for outcome in results)
            for outcome in results:
                if isinstance(outcome, Failed) and outcome.permanent:
                    name = type(outcome.error).__name__
                    self._tell("failed", [outcome.request_id], outcome.reason, error=name)
        return [outcomes[job.request_id] for job in jobs]

    def _run_group(self, jobs: Sequence[InferMessage]) -> list[Outcome]:
        """Answer jobs of one model."""
        first = jobs[0]
        self._tell("taken", [job.request_id for job in jobs])
        try:
            model = self._pool.get(first.manifest_digest, first.model_root)
        except TallystickError as error:
            return [Failed(job.request_id, error) for job in jobs]
        prepared = list(self._transfers.map(lambda job: self._prepare(job, model), jobs))
        ready = [item for item in prepared if isinstance(item, _Ready)]
        self._tell("fetched", [item.job.request_id for item in ready])
        answers: dict[bytes, dict[str, Array] | Failed] = {}
        for batch in self._batches(ready, model):
            self._tell("running", [item.job.request_id for item in batch])
            answers.update(self._run_batch(batch, model))
            self._tell("computed", [item.job.request_id for item in batch])
        outcomes = list(
            self._transfers.map(
                lambda item: (
                    item
                    if isinstance(item, Failed)
                    else self._publish(item.job, answers[item.job.request_id], model)
                ),
                prepared,
            )
        )
        self._tell("published", [job.request_id for job in jobs])
        return outcomes

    def _prepare(self, job: InferMessage, model: LoadedModel) -> _Ready | Failed:
        def prepare() -> _Ready:
            params = model.manifest.unpack_params(job.params)
            return _Ready(job, self._fetch_input(job, model), params)

        return _guarded(job, prepare)

    def _batches(self, ready: Sequence[_Ready], model: LoadedModel) -> Iterator[list[_Ready]]:
        """Yield what runs together: texts all at once, others with the same parameters."""
        if forward.is_text(model.manifest):
            if ready:
                yield list(ready)
            return
        alike: dict[Bytes32, list[_Ready]] = {}
        for item in ready:
            alike.setdefault(item.job.params, []).append(item)
        mask = runtimes.mask_of(model.manifest)
        for members in alike.values():
            given = [item.inputs for item in members]
            for group in batching.plan(model.manifest, given, self._max_rows, mask):
                yield [members[index] for index in group]

    def _fetch_input(self, job: InferMessage, model: LoadedModel) -> dict[str, Array]:
        block = job.input_root if job.input_cid == ZERO32 else job.input_cid
        data = self._inputs.get(block)
        if (root := model.form.input_root(data)) != job.input_root:
            raise DigestMismatch(
                f"the input has root 0x{root.hex()}, the request says 0x{job.input_root.hex()}",
                hint="publish the very bytes that were hashed for the request",
            )
        return model.form.decode_inputs(data)

    def _run_batch(
        self, batch: Sequence[_Ready], model: LoadedModel
    ) -> dict[bytes, dict[str, Array] | Failed]:
        given = [item.inputs for item in batch]
        if forward.is_text(model.manifest):
            heard = [TextTeller(self._tell, item.job.request_id).piece for item in batch]
            results = forward.run_texts(model, [item.params for item in batch], given, heard)
        else:
            results = forward.run(model, batch[0].params, given, self._log)
        return {
            item.job.request_id: Failed(item.job.request_id, found)
            if isinstance(found, Exception)
            else found
            for item, found in zip(batch, results, strict=True)
        }

    def _publish(
        self, job: InferMessage, answer: dict[str, Array] | Failed, model: LoadedModel
    ) -> Outcome:
        if isinstance(answer, Failed):
            return answer
        return _guarded(job, lambda: self._publish_output(job, answer, model))

    def _publish_output(
        self, job: InferMessage, outputs: dict[str, Array], model: LoadedModel
    ) -> Answered:
        data = forward.encode(model, outputs)
        published = self._ipfs.publish_bytes(data)
        root = model.form.output_root(data)
        located = root == published.sha256  # the root says where the bytes are
        return Answered(
            job.request_id,
            root,
            ZERO32 if located else published.sha256,
            model.manifest.units(outputs),
        )


def _guarded(job: InferMessage, step: Callable[[], T]) -> T | Failed:
    try:
        return step()
    except Exception as error:
        return Failed(job.request_id, forward.failure(error))
