"""The endpoint's routes: KServe v2 and OpenAI's API with a voucher, offers, channels."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from oracle.api import event_stream, problems, tensors
from oracle.api.config import ApiConfig
from oracle.api.guard import Guard
from oracle.api.problems import Problem
from oracle.errors import InputInvalid, TallystickError
from oracle.metrics import GatewayMetrics
from oracle.protocol import channel_wire
from oracle.protocol.hexadecimal import parse_bytes32, to_hex
from oracle.protocol.manifest import Manifest
from oracle.rate_limit import Buckets
from oracle.services.inputs import Encoder
from oracle.types import ZERO32, Bytes32
from worker.endpoint import answer_events, channel_routes, openai_routes
from worker.endpoint.desk import Desk, Sold
from worker.endpoint.openai_routes import Tokenizers
from worker.endpoint.refusals import VoucherRefused
from worker.endpoint.runner import EndpointBusy

_INLINE = 16 * 1024  # bytes of a body that is read without leaving the loop

Beside = Callable[[], AbstractAsyncContextManager[None]]


def create_app(
    desk: Desk,
    config: ApiConfig,
    encoder: Callable[[Manifest], Encoder],
    beside: Beside | None = None,
) -> FastAPI:
    """Return the app.

    Args:
        encoder: makes a version's tokenizer; asked once for each.
        beside: runs as long as the app does (claims).
    """
    tokenizers = Tokenizers(encoder)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        if beside is None:
            yield
            return
        async with beside():
            yield

    app = FastAPI(
        title="Tallystick: an operator's endpoint", version=version_of("tallystick"),
        docs_url=None, redoc_url=None, lifespan=life,
    )  # fmt: skip

    async def problem(request: Request, error: Exception) -> Response:
        found = problems.of(error)
        if isinstance(error, RequestValidationError):
            found = Problem(422, "RequestInvalid", str(error.errors()[0]["msg"]))
        elif isinstance(error, VoucherRefused):
            name = request.path_params.get("name") or getattr(request.state, "model", "")
            extra = await _terms(desk, str(name))
            found = Problem(402, type(error).__name__, str(error), error.hint, extra=extra)
        return problems.response(found, request.url.path, request.state.request_id)

    for kind in (TallystickError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, problem)

    @app.get("/v2/health/live")
    async def live() -> dict[str, Any]:
        """Say that questions are taken."""
        desk.require_ready()
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready() -> dict[str, Any]:
        """Say that questions are taken, and that a model is loaded."""
        desk.require_ready()
        if not desk.sold:
            raise EndpointBusy("no model is sold here yet", hint="ask again later")
        return {"live": True, "ready": True}

    channel_routes.add(app, desk)

    @app.post("/v2/models/{name}/infer")
    @app.post("/v2/models/{name}/versions/{version}/infer")
    async def infer(request: Request, name: str, version: str = "") -> Response:
        """Answer in milliseconds: a voucher pays, the receipt is the operator's word."""
        paid = await desk.require_paid(name, version, request.headers.get(channel_wire.VOUCHER))
        asked = await _asked(request, paid[0], tokenizers)
        if event_stream.KIND in request.headers.get("accept", ""):
            return await answer_events.response(
                lambda tell, heard: desk.answer(paid, asked.encoded, asked.params, tell, heard),
                asked.inference,
            )
        answer = await desk.answer(paid, asked.encoded, asked.params)
        headers = {channel_wire.RECEIPT: channel_wire.receipt_header(answer.receipt)}
        if asked.inference is None:
            return Response(answer.output, headers=headers, media_type=channel_wire.CANONICAL)
        content, head = answer_events.kserve(answer, asked.inference)
        if head is None:
            return Response(content, headers=headers, media_type="application/json")
        headers[tensors.HEADER] = str(head)
        return Response(content, headers=headers, media_type="application/octet-stream")

    openai_routes.add(app, desk, tokenizers)
    app.add_middleware(  # pages pay with a key of their own: nothing a browser keeps counts here
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", channel_wire.VOUCHER, channel_wire.PARAMS],
        expose_headers=[channel_wire.RECEIPT],
    )
    app.add_middleware(
        Guard, config=config, metrics=GatewayMetrics(), buckets=Buckets(),
        log=structlog.get_logger("tallystick.endpoint"),
    )  # fmt: skip
    return app


@dataclass(frozen=True, slots=True)
class _Asked:
    encoded: bytes  # canonical input
    params: Bytes32
    inference: tensors.Inference | None  # None: the canonical bytes came, and are wanted back


async def _asked(request: Request, sold: Sold, tokenizers: Tokenizers) -> _Asked:
    """Read a body: KServe's, or the canonical input itself."""
    body, manifest = await request.body(), sold.model.manifest
    if request.headers.get("content-type") == channel_wire.CANONICAL:
        given = request.headers.get(channel_wire.PARAMS, to_hex(ZERO32))
        try:
            return _Asked(body, parse_bytes32(given), None)
        except ValueError as error:
            raise InputInvalid(f"{channel_wire.PARAMS}: {error}") from error

    def read() -> _Asked:
        asked = tensors.read(body, request.headers.get(tensors.HEADER), manifest)
        arrays = tokenizers.arrays(sold, asked.texts) if asked.texts else asked.arrays
        encoded = sold.model.form.encode_inputs(arrays)
        return _Asked(encoded, manifest.pack_params(asked.params), asked)

    return read() if len(body) <= _INLINE else await asyncio.to_thread(read)


async def _terms(desk: Desk, name: str) -> dict[str, Any]:
    """Return what to pay, and to whom: a client signs without another question."""
    found = next((one for one in desk.sold.values() if one.name == name), None)
    if found is None:
        return {}
    return {
        "price": str(found.offer.terms.fee),
        "token": desk.contracts.token,
        "chainId": desk.contracts.chain_id,
        "channels": desk.contracts.payment_channels,
        "offer": channel_wire.offer_json(found.offer),
    }
