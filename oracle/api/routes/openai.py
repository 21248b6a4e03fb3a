"""OpenAI's API, so that its client works unchanged: embeddings, and text that models write.

One call of embeddings may have more rows than an answer has room for: it becomes as many requests
as it takes. Each is paid once, also when the client repeats the call, and a row that comes twice is
asked once.
"""

import asyncio
import hashlib
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from oracle.api import asking, chat, embedding, paying, writing
from oracle.api.chat import AnyBody, ChatBody, CompletionBody, ResponseBody
from oracle.api.embedding import Embeddings, Row
from oracle.api.paying import MaybeKeyDep
from oracle.api.state import AppState, StateDep
from oracle.api.writing import Tell, WrittenAnswer
from oracle.errors import InputInvalid, NotFound, TallystickError
from oracle.gateway.catalogue import AskableVersion
from oracle.gateway.sponsor import Question
from oracle.protocol import text
from oracle.protocol.pieces import PieceTeller
from oracle.services import models
from oracle.services.amounts import decimal
from oracle.store.gateway_repository import ApiKey
from oracle.types import Amount

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.get("/models")
async def list_models(state: StateDep) -> dict[str, Any]:
    """List all models that have a version in use."""
    return {"object": "list", "data": await state.blocking(lambda: _listed(state))}


@router.get("/models/{name}")
async def model(state: StateDep, name: str) -> dict[str, Any]:
    """Describe one model."""
    return await state.blocking(lambda: _entry(state, models.select(state.network, name).model_id))


@router.post("/embeddings")
async def embeddings(
    request: Request, state: StateDep, key: MaybeKeyDep, body: Embeddings
) -> Response:
    """Embed up to 2,048 sentences or lists of token ids, in as many paid requests as they need.

    A payment by x402 pays for one request.
    """
    watch = asking.Stopwatch()
    name, _, version = body.model.partition("@")
    listing = await asking.find(state, name, version)
    payer = await paying.payer_of(request, state, key, listing)
    output = embedding.output_of(listing.manifest, body)
    rows, idempotency = list(dict.fromkeys(embedding.rows_of(body))), asking.idempotency_of(request)
    size = embedding.rows_that_fit(listing.manifest, len(rows))
    if key is None and len(rows) > size:
        raise InputInvalid(
            f"one payment answers {size} rows of these {len(rows)}",
            hint="send fewer rows at a time, or an API key",
        )
    questions = await asyncio.gather(
        *(
            _question(state, listing, rows[start : start + size], _part(idempotency, start))
            for start in range(0, len(rows), size)
        )
    )
    watch.mark("prepare")
    if key is None:
        served = [await paying.ask(request, state, payer, questions[0], watch)]
    else:
        channels = asking.over_channels(request)
        served = await asking.ask_all(state, key, questions, watch, channels=channels)

    def write() -> bytes:
        vectors = np.concatenate([one.answer.outputs[output] for one in served])
        tokens = [count for one in questions for count in one.prepared.tokens]
        asked = ["0x" + one.answer.request_id.hex() for one in served]
        paths = [asking.path_of(one.answer) for one in served]
        return embedding.reply(body, rows, vectors, tokens, {"requests": asked, "paths": paths})

    fees = sum(one.answer.request.terms.fee for one in served)
    headers = {**asking.headers(served[0]), "Tallystick-Fee": decimal(Amount(fees))}
    return Response(await state.blocking(write), headers=headers, media_type="application/json")


@router.post("/chat/completions")
async def chat_completions(
    request: Request, state: StateDep, key: MaybeKeyDep, body: ChatBody
) -> Response:
    """Write the next message of a chat; `stream` sends it in pieces, as it is written."""
    return await _write(request, state, key, body)


@router.post("/completions")
async def completions(
    request: Request, state: StateDep, key: MaybeKeyDep, body: CompletionBody
) -> Response:
    """Continue a text; `stream` as for chats."""
    return await _write(request, state, key, body)


@router.post("/responses")
async def responses(
    request: Request, state: StateDep, key: MaybeKeyDep, body: ResponseBody
) -> Response:
    """Write a response; nothing is kept, so `previous_response_id` is refused."""
    return await _write(request, state, key, body)


async def _write(request: Request, state: AppState, key: ApiKey | None, body: AnyBody) -> Response:
    watch, asked = asking.Stopwatch(), body.asked()
    name, _, version = asked.model.partition("@")
    listing = await asking.find(state, name, version)
    chat.require_text(listing.manifest, asked)
    payer = await paying.payer_of(request, state, key, listing)
    question = await asking.question(
        state, listing, arrays=text.encode_question(asked.question), texts=(), params=asked.params,
        idempotency=asking.idempotency_of(request),
    )  # fmt: skip
    watch.mark("prepare")

    async def ask(tell: Tell) -> WrittenAnswer:
        pieces = PieceTeller(tell)
        served = await state.outlive(
            paying.ask(request, state, payer, question, watch, pieces=pieces)
        )
        extra = {
            "request": "0x" + served.answer.request_id.hex(),
            "path": asking.path_of(served.answer),
            "operator": served.answer.operator,
            "fee": decimal(served.answer.request.terms.fee),
        }
        answer = text.decode_answer(served.answer.outputs)
        return WrittenAnswer(answer, extra, asking.headers(served))

    return await writing.respond(asked, ask)


async def _question(
    state: AppState, listing: AskableVersion, rows: list[Row], idempotency: str | None
) -> Question:
    texts = tuple(row for row in rows if isinstance(row, str))
    arrays = embedding.arrays_of(rows, listing.manifest)
    return await asking.question(
        state, listing, arrays=arrays, texts=texts, params={}, idempotency=idempotency
    )


def _part(idempotency: str | None, start: int) -> str | None:
    """Return the Idempotency-Key of the request for the rows from `start` on."""
    if idempotency is None or start == 0:
        return idempotency
    return hashlib.sha256(f"{idempotency}#{start}".encode()).hexdigest()


def _listed(state: AppState) -> list[dict[str, Any]]:
    entries = []
    for model_id in range(1, state.network.registry.model_count() + 1):
        try:
            entries.append(_entry(state, model_id))
        except TallystickError:  # nothing published, everything retired, or no manifest to be had
            continue
    return entries


def _entry(state: AppState, model_id: int) -> dict[str, Any]:
    listed = models.versions(state.network, model_id)
    usable = [version for version in listed if not version.retired]
    if not usable:
        raise NotFound(f"model {model_id} has no version in use")
    newest = usable[-1]
    return {
        "id": state.network.registry.name_of(model_id),
        "object": "model",
        "created": newest.timestamp,
        "owned_by": newest.publisher,
        "tallystick": {
            "model_id": model_id,
            "version": newest.version,
            "assurance": newest.assurance.name.lower(),
            "fee": newest.fee / 10**6,
            "max_units": newest.max_units,
        },
    }
