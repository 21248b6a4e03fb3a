"""An answer as server-sent events: queued, running, pieces of a text, the answer with its receipt.

```
 refused before it is queued ─▶ a status and a problem, as without events
 queued ─▶ running ─▶ piece {text} … ─▶ answered {receipt, outputs} | failed {problem}
```
Whoever stops reading stops nothing but a text of which no piece was told. The same voucher and
question bring the same answer again.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from fastapi import Response

from oracle.api import event_stream, problems, tensors
from oracle.api.tensors import Inference
from oracle.errors import TallystickError
from oracle.protocol import channel_wire
from worker.endpoint.desk import PaidAnswer

Tell = Callable[[str], object]
Answer = Callable[[Tell, Tell], Awaitable[PaidAnswer]]
Step = tuple[str, dict[str, Any]]


async def response(answer: Answer, asked: Inference | None) -> Response:
    """Return a stream of what happens to a question.

    Args:
        answer: of the desk; it is told whom to tell of its steps, and of pieces of a text.
        asked: how the answer is wanted; None = its canonical bytes.

    Raises:
        TallystickError: what `answer` raises before it is queued.
    """
    steps = _steps(answer, asked)
    first = await anext(steps)  # a refusal is a status
    return event_stream.response(_written(first, steps))


def kserve(answer: PaidAnswer, asked: Inference) -> tuple[bytes, int | None]:
    """Return the body of a KServe answer, and the length of its JSON when tensors follow it."""
    model = answer.sold.model
    fields: dict[str, Any] = {
        "model_name": answer.sold.name, "model_version": str(answer.sold.offer.version),
    }  # fmt: skip
    if asked.id:
        fields["id"] = asked.id
    outputs = model.form.decode_outputs(answer.output)
    return tensors.write(outputs, asked.wanted, fields, model.manifest.labels or ())


async def _steps(answer: Answer, asked: Inference | None) -> AsyncIterator[Step]:
    heard: asyncio.Queue[Step | None] = asyncio.Queue()
    task = asyncio.ensure_future(
        answer(
            lambda step: heard.put_nowait((step, {})),
            lambda piece: heard.put_nowait(("piece", {"text": piece})) if piece else None,
        )
    )
    task.add_done_callback(lambda _task: heard.put_nowait(None))
    told = False
    try:
        while step := await heard.get():
            told = True
            yield step
        try:
            yield "answered", _facts(await task, asked)
        except TallystickError as error:
            if not told:
                raise
            found = problems.of(error)
            facts = {"status": found.status, "code": found.code}
            yield "failed", {**facts, "detail": found.detail, "hint": found.hint}
    finally:
        task.cancel()  # it only waits: the desk decides


def _facts(answer: PaidAnswer, asked: Inference | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"receipt": channel_wire.receipt_json(answer.receipt)}
    if asked is None:
        return {**facts, "output": base64.b64encode(answer.output).decode()}
    wanted = tuple(replace(one, binary=False) for one in asked.wanted)
    content, _ = kserve(answer, replace(asked, wanted=wanted))
    return {**facts, **json.loads(content)}


async def _written(first: Step, others: AsyncIterator[Step]) -> AsyncIterator[str]:
    yield event_stream.event(*first, 1)
    number = 1
    async for step in others:
        number += 1
        yield event_stream.event(*step, number)
