"""Requests: listed, shown, followed live, and their answers."""

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from oracle.api import asking, event_stream, tensors
from oracle.api.documents import Limit, Offset, address_of, document, listed, request_id_of, show
from oracle.api.state import AppState, StateDep
from oracle.errors import InputInvalid, NotFound
from oracle.gateway import channels
from oracle.gateway import steps as progress
from oracle.gateway.channels import SignedAnswer
from oracle.gateway.gateway import RequestFailed
from oracle.gateway.steps import ProgressStep
from oracle.protocol import receipt_file
from oracle.services import models, requests
from oracle.services.documents import jsonable
from oracle.services.request_timeline import RequestState as Standing
from oracle.store.gateway_repository import TicketState
from oracle.types import RequestId

router = APIRouter(prefix="/api/requests", tags=["requests"])
_STATES = {state.name.lower(): state for state in Standing}
_SILENCE = 15.0  # seconds after which a comment keeps proxies from hanging up


@router.get("")
async def list_requests(
    request: Request,
    state: StateDep,
    *,
    model: str = "",
    requester: str = "",
    standing: str = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response:
    """List requests, newest first; of a model, a requester, or in a state."""
    network = state.network
    if standing and standing not in _STATES:
        raise InputInvalid(f"{standing!r:.40} is no state", hint="one of: " + ", ".join(_STATES))
    who = address_of(requester) if requester else None

    def read() -> list[Any]:
        model_id = models.select(network, model).model_id if model else None
        found = requests.list_requests(
            network, model_id=model_id, requester=who, state=_STATES.get(standing)
        )
        return list(reversed(found))

    return await listed(request, state, read, limit, offset)


@router.get("/{request_id}")
async def show_request(request: Request, state: StateDep, request_id: str) -> Response:
    """Show a request with its timeline; the id of a ticket leads to its request."""
    found = await _resolve(state, request_id)
    if (signed := await _signed(state, found)) is not None:
        offer, receipt = signed.file.channel.offer, signed.file.receipt
        shown = {
            "request_id": found, "path": "channel", "on_chain": False, "operator": offer.operator,
            "model_id": offer.model_id, "version": offer.version, "fee": offer.terms.fee,
            "answered_at": receipt.answered_at, "output_root": receipt.output_root,
            "receipt": f"/api/requests/0x{found.hex()}/receipt",
        }  # fmt: skip
        return document(request, jsonable(shown))
    return await show(
        request, state, lambda: requests.show(state.network, found), kind=("request", found)
    )


@router.get("/{request_id}/answer")
async def answer(request: Request, state: StateDep, request_id: str, wait: float = 0.0) -> Response:
    """Return an answer, its digest compared with the chain's; waits at most `wait` seconds.

    Also after a restart, and for requests that others made.
    """
    if not 0 <= wait <= state.config.answer_timeout:
        raise InputInvalid(f"wait is 0 to {state.config.answer_timeout:g} seconds")
    found = await _resolve(state, request_id)
    answered = await state.asking.answer(found, wait)
    served = await state.blocking(
        lambda: state.versions.version(answered.request.model_id, answered.request.version)
    )
    wanted = [tensors.Wanted(spec.name, False) for spec in served.manifest.outputs]
    fields = {
        "model_name": served.manifest.name,
        "model_version": str(served.version),
        "parameters": {"request_id": "0x" + found.hex()},
    }
    body, _ = tensors.write(answered.outputs, wanted, fields)
    return Response(body, headers=asking.worth(served, answered), media_type="application/json")


@router.get("/{request_id}/receipt")
async def receipt(request: Request, state: StateDep, request_id: str) -> Response:
    """Return what proves an answer: all fields that hash to the id, digests, transactions.

    Of an answer over a channel, its signed receipt as `tallystick verify` reads it.
    """
    found = await _resolve(state, request_id)
    network = state.network
    if (signed := await _signed(state, found)) is not None:
        return document(request, json.loads(receipt_file.write(signed.file)))

    def read() -> dict[str, Any]:
        info = requests.show(network, found)
        return {
            "request_id": info.request_id,
            "chain_id": network.contracts.chain_id,
            "market": network.market.address,
            "request": info.request,
            "delivery": info.delivery,
            "output_cid": info.output_cid,
            "final_at": info.final_at,
            "transactions": [
                {"event": m.event, "transaction": m.transaction, "block": m.block}
                for m in info.timeline
            ],
        }

    return document(request, await state.memory.of(state, ("receipt", found), read))


@router.get("/{request_id}/events")
async def events(state: StateDep, request_id: str) -> StreamingResponse:
    """Stream a request's progress (server-sent events) until it is settled or ended.

    requested → finalized → fetched → running → delivered → window → settled; what the chain says
    carries block and transaction, what a worker says is heard only on the gateway's own queue. So
    are the pieces of a text while it is written: `piece`, with `start` and `text`.
    """
    gateway = state.asking
    found = await _resolve(state, request_id)
    await gateway.life(found)  # an unknown one is 404, not an empty stream

    def now() -> list[ProgressStep]:
        return progress.steps(gateway.follower.life(found), gateway.worker_progress.of(found))

    def written() -> str:
        return gateway.worker_progress.text(found)

    async def stream() -> AsyncIterator[str]:
        told: dict[tuple[str, str], None] = {}
        shown = ""

        def news() -> bool | None:
            return written() != shown or any(s.key not in told for s in now()) or None

        while True:
            steps, text = now(), written()
            if text != shown:  # without a number: a reader who comes back gets it from the start
                facts = {"start": len(shown)} if text.startswith(shown) else {"start": 0}
                yield event_stream.event("piece", {**facts, "text": text[facts["start"] :]})
                shown = text
            late = any(name == "delivered" for name, _ in told)
            for step in steps:
                if step.key in told:
                    continue
                told[step.key] = None
                if late and step.name in progress.SAID:
                    continue  # a worker's word that came behind the chain's
                yield event_stream.event(step.name, step.facts, len(told))
            if (steps and steps[-1].last) or not gateway.ready:
                return
            try:
                await gateway.notifier.until(found, news, _SILENCE)
            except TimeoutError:
                yield ": still here\n\n"

    return event_stream.response(stream())


async def _signed(state: AppState, request_id: RequestId) -> SignedAnswer | None:
    """Return the answer of this gateway that came over a channel; None = look on the chain."""
    if state.gateway is None:
        return None
    store = state.gateway.store
    return await state.blocking(lambda: channels.find(store, request_id))


async def _resolve(state: AppState, text: str) -> RequestId:
    """Return the request that an id means: its own, or that of a ticket of this gateway."""
    given = request_id_of(text)
    if state.gateway is None:
        return given
    gateway = state.gateway
    try:
        ticket = await state.blocking(lambda: gateway.ticket(given))
    except NotFound:
        return given
    if ticket.state is TicketState.FAILED:
        raise RequestFailed(f"the request was refused: {ticket.error}")
    if ticket.request_id is None:
        return await gateway.requested(ticket, 5.0)
    return ticket.request_id
