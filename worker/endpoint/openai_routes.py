"""OpenAI's API at an endpoint: one voucher, one answer; of embeddings as many rows as fit it."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from oracle.api import chat, embedding, writing
from oracle.api.chat import AnyBody, ChatBody, CompletionBody, ResponseBody
from oracle.api.embedding import Embeddings
from oracle.api.writing import Tell, WrittenAnswer
from oracle.errors import InputInvalid
from oracle.protocol import channel_wire, text, vouchers
from oracle.protocol.manifest import Manifest
from oracle.protocol.tensor import Array
from oracle.services import inputs
from oracle.services.amounts import decimal
from oracle.services.inputs import Encoder, PreparedInput
from oracle.types import ZERO32, Bytes32
from worker.endpoint.desk import Desk, Sold


class Tokenizers:
    """The tokenizers of what is sold, each made when it is first needed."""

    def __init__(self, encoder: Callable[[Manifest], Encoder]) -> None:
        """Take what makes one; it may fetch a file."""
        self._encoder, self._made = encoder, dict[Bytes32, Encoder]()

    def arrays(self, sold: Sold, texts: tuple[str, ...]) -> dict[str, Array]:
        """Return sentences as the model's inputs."""
        key = vouchers.offer_id(sold.offer)
        if key not in self._made:
            self._made[key] = self._encoder(sold.model.manifest)
        return inputs.tokenize(texts, sold.model.manifest, self._made[key])


def add(app: FastAPI, desk: Desk, tokenizers: Tokenizers) -> None:
    """Add the routes."""

    @app.get("/v1/models")
    async def listed() -> dict[str, Any]:
        """List what is sold, as OpenAI's clients read it."""
        data = [
            _entry(one) for one in {one.name: one for one in reversed(desk.sold.values())}.values()
        ]
        return {"object": "list", "data": data}

    @app.get("/v1/models/{name}")
    async def one_model(name: str) -> dict[str, Any]:
        """Describe one model."""
        return _entry(desk.find(name))

    @app.post("/v1/embeddings")
    async def embeddings(request: Request, body: Embeddings) -> Response:
        """Embed sentences or lists of token ids: so many as one answer has room for."""
        name, _, version = body.model.partition("@")
        request.state.model = name
        paid = await desk.require_paid(name, version, request.headers.get(channel_wire.VOUCHER))
        sold, manifest = paid[0], paid[0].model.manifest
        output, rows = (
            embedding.output_of(manifest, body),
            list(dict.fromkeys(embedding.rows_of(body))),
        )
        if len(rows) > (size := embedding.rows_that_fit(manifest, len(rows))):
            raise InputInvalid(f"one answer has room for {size} rows, not {len(rows)}")
        texts = tuple(row for row in rows if isinstance(row, str))

        def prepare() -> PreparedInput:
            arrays = (
                tokenizers.arrays(sold, texts) if texts else embedding.arrays_of(rows, manifest)
            )
            return inputs.seal(arrays, texts, manifest, sold.model.form)

        prepared = await asyncio.to_thread(prepare)
        answer = await desk.answer(paid, prepared.data, ZERO32)
        vectors = sold.model.form.decode_outputs(answer.output)[output]
        receipt = channel_wire.receipt_json(answer.receipt)
        return Response(
            embedding.reply(body, rows, vectors, prepared.tokens, {"receipt": receipt}),
            headers={channel_wire.RECEIPT: channel_wire.receipt_header(answer.receipt)},
            media_type="application/json",
        )

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request, body: ChatBody) -> Response:
        """Write the next message of a chat, whole or in pieces."""
        return await _write(request, desk, body)

    @app.post("/v1/completions")
    async def completions(request: Request, body: CompletionBody) -> Response:
        """Continue a text, whole or in pieces."""
        return await _write(request, desk, body)

    @app.post("/v1/responses")
    async def responses(request: Request, body: ResponseBody) -> Response:
        """Write a response, whole or in pieces; nothing is kept."""
        return await _write(request, desk, body)


async def _write(request: Request, desk: Desk, body: AnyBody) -> Response:
    asked = body.asked()
    name, _, version = asked.model.partition("@")
    request.state.model = name
    paid = await desk.require_paid(name, version, request.headers.get(channel_wire.VOUCHER))
    model, offer = paid[0].model, paid[0].offer
    chat.require_text(model.manifest, asked)
    encoded = model.form.encode_inputs(text.encode_question(asked.question))
    params = model.manifest.pack_params(asked.params)

    async def ask(tell: Tell) -> WrittenAnswer:
        found = await desk.answer(paid, encoded, params, heard=tell)
        extra = {
            "receipt": channel_wire.receipt_json(found.receipt),
            "operator": offer.operator,
            "fee": decimal(offer.terms.fee),
        }
        headers = {channel_wire.RECEIPT: channel_wire.receipt_header(found.receipt)}
        answer = text.decode_answer(model.form.decode_outputs(found.output))
        return WrittenAnswer(answer, extra, headers)

    return await writing.respond(asked, ask)


def _entry(sold: Sold) -> dict[str, Any]:
    return {
        "id": sold.name,
        "object": "model",
        "created": 0,
        "owned_by": sold.offer.operator,
        "tallystick": {
            "model_id": sold.offer.model_id,
            "version": sold.offer.version,
            "fee": sold.offer.terms.fee / 10**6,
        },
    }
