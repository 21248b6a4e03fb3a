"""Signed receipts on the page: a visitor's files, checked as `tallystick verify` checks them.

Nothing is re-executed here: whoever sends a file would decide what this server computes.
"""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from oracle.errors import InputInvalid, TallystickError
from oracle.protocol import receipt_file
from oracle.protocol.receipt_file import ReceiptFile
from oracle.services.amounts import format_amount, format_time
from oracle.services.channels import offers, receipt_check
from oracle.services.channels.receipt_check import ReceiptCheck
from oracle.services.channels.receipt_findings import ReceiptFinding
from oracle.services.network import Network
from oracle.services.request_timeline import Words
from oracle.web import problems
from oracle.web.actions import body_of
from oracle.web.names import short
from oracle.web.rendering import visitor

MOST = 20  # receipts that are checked together


def router(network: Network) -> APIRouter:
    """Return the route of the page's module."""
    routes = APIRouter(prefix="/page", include_in_schema=False)

    @routes.post("/receipts", response_model=None)
    async def check(request: Request) -> Response:
        """Check one receipt, or a list of them, in the visitor's language."""
        try:
            files = _read(await body_of(request))
            t = visitor(request).t
            found = await run_in_threadpool(
                receipt_check.verify, files, lambda: network, recompute=False, t=t
            )
        except TallystickError as error:
            return problems.as_json(error)
        receipts = [_shown(one, t) for one in found.receipts]
        together = [_line(one, t) for one in found.together]
        return JSONResponse({"wrong": found.wrong, "receipts": receipts, "together": together})

    return routes


def _read(body: bytes) -> list[ReceiptFile]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"it is no receipt's file: {error}") from error
    documents = given if isinstance(given, list) else [given]
    if not 1 <= len(documents) <= MOST:
        raise InputInvalid(f"{len(documents)} receipts, 1 to {MOST} are checked together")
    return [receipt_file.read(json.dumps(one).encode()) for one in documents]


def _shown(found: ReceiptCheck, t: Words) -> dict[str, Any]:
    facts = {
        "receipt": f"{found.index} · {short(offers.name(found.channel_id))}",
        "signed": f"{found.operator} · {format_time(found.answered_at)}",
        "payer": found.payer,
        "model": f"{found.model_id}@{found.version} · {format_amount(found.fee)}",
        "question": "0x" + found.input_root.hex(),
        "answer": "0x" + found.output_root.hex(),
        "request": "0x" + found.request_id.hex(),
    }
    return {
        "wrong": found.wrong,
        "facts": [[t("receipts.fact." + name), value] for name, value in facts.items()],
        "checks": [_line(one, t) for one in found.checks],
        "next": found.next,
    }


def _line(found: ReceiptFinding, t: Words) -> dict[str, str]:
    return {
        "what": t("receipts.what." + found.what), "result": found.result.name.lower(),
        "why": found.why,
    }  # fmt: skip
