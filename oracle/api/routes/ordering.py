"""Asking without waiting: on an API key's budget, or with a wallet's own money.

```
 POST /api/requests           Bearer key     202 and a ticket; the answer comes under its id
 POST /api/requests/prepare   nothing spent  what a wallet signs, or sends itself
 POST /api/requests/relay     a signature    passed on; the gateway pays the gas
```
"""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints

from oracle.api import asking, tensors
from oracle.api.documents import address_of
from oracle.api.problems import Rejected
from oracle.api.state import AppState, KeyDep, StateDep
from oracle.errors import InputInvalid
from oracle.gateway.sponsor import Question
from oracle.services import formats
from oracle.services.amounts import decimal
from oracle.services.documents import jsonable
from oracle.store.gateway_repository import Ticket
from oracle.types import Address, Amount, Bytes32, Order, Timestamp

router = APIRouter(prefix="/api/requests", tags=["requests"])

Word = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{64}$")]
Account = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
Count = Annotated[StrictInt, Field(ge=0, lt=2**63)]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "inputs"],
                    "properties": {
                        "model": {"type": "string"},
                        "requester": {"type": "string"},
                        "inputs": {"type": "array", "items": {"type": "object"}},
                        "parameters": {"type": "object"},
                    },
                }
            }
        },
    }
}


class OrderBody(BaseModel):
    """An order as `prepare` gave it and the wallet signed it."""

    model_config = ConfigDict(extra="forbid")

    model_id: Count
    version: Count
    lane: Count
    input_root: Word
    input_cid: Word
    params: Word
    max_fee: Count
    priority_window: Count
    lifetime: Count
    operator: Account
    consumer: Account
    callback_gas: Count
    envelope: Word

    def order(self) -> Order:
        """Return it as the contracts' struct."""
        values: dict[str, Any] = self.model_dump()
        for name in ("input_root", "input_cid", "params", "envelope"):
            values[name] = Bytes32(bytes.fromhex(values[name][2:]))
        for name in ("operator", "consumer"):
            values[name] = address_of(values[name])
        return Order(**values)

    @classmethod
    def of(cls, order: Order) -> dict[str, Any]:
        """Return an order as JSON data."""
        values = {name: getattr(order, name) for name in Order.__slots__}
        return {k: "0x" + v.hex() if isinstance(v, bytes) else v for k, v in values.items()}


class SignedOrder(BaseModel):
    """What a wallet signed."""

    model_config = ConfigDict(extra="forbid")

    requester: Account
    order: OrderBody
    nonce: Count
    deadline: Count
    signature: Annotated[str, StringConstraints(pattern=r"^0x([0-9a-fA-F]{2}){1,4096}$")]


@router.post("", status_code=202, openapi_extra=_BODY)
async def ask(request: Request, state: StateDep, key: KeyDep) -> Response:
    """Ask on the key's budget and return at once; the body is KServe's, with `model`."""
    question, _ = await _question(request, state)
    ticket = await state.asking.accept(key, question)
    return _accepted(ticket)


@router.post("/prepare", openapi_extra=_BODY)
async def prepare(request: Request, state: StateDep) -> Response:
    """Return the order of a question: typed data to sign, and the transaction to send instead.

    The fee is taken from the requester's prepaid balance.
    """
    gateway = state.asking
    state.limit(request, "relay", state.config.relays_per_minute)
    question, document = await _question(request, state)
    given = document.get("requester")
    if not isinstance(given, str):
        raise InputInvalid("the body names no requester", hint="the wallet's address")
    requester = address_of(given)
    made = await state.blocking(
        lambda: gateway.relay.prepare(
            requester, question.listing, question.prepared, question.params
        )
    )
    listing = question.listing
    return JSONResponse(
        {
            "requester": requester,
            "order": OrderBody.of(made.order),
            "nonce": made.nonce,
            "deadline": made.deadline,
            "fee": decimal(listing.terms.fee),
            "max_units": listing.terms.max_units,
            "assurance": jsonable(listing.terms.assurance),
            "meaning": listing.meaning,
            "operator_reason": listing.reason,
            "typed_data": made.typed_data,
            "transaction": {
                "to": made.transaction.to,
                "data": "0x" + made.transaction.data.hex(),
                "value": "0x0",
            },
        }
    )


@router.post("/relay", status_code=202)
async def relay(request: Request, state: StateDep, body: SignedOrder) -> Response:
    """Pass on what a wallet signed; a forged or replayed signature is refused by the contract."""
    gateway = state.asking
    if not state.config.relay:
        raise Rejected(501, "RelayOff", "this gateway passes nothing on: send the transaction")
    state.limit(request, "relay", state.config.relays_per_minute)
    requester: Address = address_of(body.requester)
    signature = bytes.fromhex(body.signature[2:])
    order, deadline = body.order.order(), Timestamp(body.deadline)
    ticket = await state.blocking(
        lambda: gateway.relay.relay(requester, order, body.nonce, deadline, signature)
    )
    return _accepted(ticket)


async def _question(request: Request, state: AppState) -> tuple[Question, dict[str, Any]]:
    body = await request.body()
    document = formats.parse_json(body)
    if not isinstance(document, dict) or not isinstance(document.get("model"), str):
        raise InputInvalid("the body names no model", hint='{"model": …, "inputs": […]}')
    name, _, version = document["model"].partition("@")
    listing = await asking.find(state, name, version)
    inference = await state.blocking(lambda: tensors.read(body, None, listing.manifest))
    question = await asking.question(
        state,
        listing,
        arrays=inference.arrays,
        texts=inference.texts,
        params=inference.params,
        idempotency=asking.idempotency_of(request),
    )
    return question, document


def _accepted(ticket: Ticket) -> Response:
    place = f"/api/requests/0x{ticket.id.hex()}"
    body = {
        "ticket": "0x" + ticket.id.hex(),
        "request": f"{place}",
        "answer": f"{place}/answer",
        "events": f"{place}/events",
        "fee": decimal(Amount(ticket.fee)),
    }
    return JSONResponse(body, 202, {"Location": place})
