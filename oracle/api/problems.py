"""Errors as HTTP: RFC 9457 problem documents, and OpenAI's shape below /v1.

The contract's error name is the problem's `code`, so that a program need not read sentences.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from oracle.chain.revert import ContractError
from oracle.errors import (
    ConfigInvalid,
    DigestMismatch,
    InputInvalid,
    NotFound,
    Refused,
    TallystickError,
    TransientError,
)
from oracle.gateway.api_keys import KeyRefused
from oracle.gateway.facilitator import PaymentRequired, PaymentReturned
from oracle.gateway.gateway import NotYet, RequestEnded, RequestFailed
from oracle.gateway.sponsor import ModelNotAllowed
from oracle.protocol import x402
from oracle.services.inference import AnswerFailed
from oracle.store.gateway_repository import BudgetExhausted, IdempotencyConflict

TYPE = "urn:tallystick:problem:"
_CONTRACT: Mapping[str, int] = {
    "GrantMissing": 403,
    "GrantDenied": 403,
    "GrantExpired": 403,
    "RateLimitExceeded": 429,
    "BalanceInsufficient": 402,
    "ParameterOutOfBounds": 400,
    "VersionRetired": 410,
    "ModelUnknown": 404,
    "VersionUnknown": 404,
    "SignatureInvalid": 403,
}
_CLASSES: tuple[tuple[type[Exception], int], ...] = (  # the first that fits
    (KeyRefused, 401),
    (BudgetExhausted, 402),
    (PaymentRequired, 402),
    (PaymentReturned, 410),
    (ModelNotAllowed, 403),
    (IdempotencyConflict, 422),
    (InputInvalid, 400),
    (NotFound, 404),
    (RequestFailed, 409),
    (RequestEnded, 410),
    (AnswerFailed, 424),
    (NotYet, 202),
    (DigestMismatch, 502),
    (ConfigInvalid, 500),
    (Refused, 409),
    (TransientError, 503),
)
_QUESTION_AT_FAULT = ("PromptTooLong",)  # as only a worker can tell, which counts the tokens
_TITLES: Mapping[int, str] = {
    202: "Accepted, and not answered yet",
    400: "The request does not fit",
    401: "An API key is needed",
    402: "The money does not suffice",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "The body did not come in time",
    409: "Refused",
    410: "Gone",
    413: "Too large",
    415: "Not understood in this form",
    421: "Not this server's name",
    422: "The request does not fit",
    424: "The operator cannot answer",
    429: "Too many requests",
    500: "A fault of this server",
    501: "Not offered here",
    502: "The bytes are not those that were promised",
    503: "Not available now",
}
_OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, for programs and for people."""

    status: int
    code: str
    detail: str
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


class Rejected(HTTPException):
    """Something that HTTP itself forbids; raised before any service is asked."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code


def of(error: Exception) -> Problem:
    """Return an error as a problem; what is not ours is a fault without a word about its cause."""
    if isinstance(error, HTTPException):
        code = error.code if isinstance(error, Rejected) else _TITLES.get(error.status_code, "Http")
        code = code.title().replace(" ", "") if " " in code else code
        return Problem(error.status_code, code, str(error.detail), "", error.headers or {})
    if not isinstance(error, TallystickError):
        return Problem(500, "InternalError", "this server failed; the fault is in its log")
    if isinstance(error, ContractError):
        status = _CONTRACT.get(error.name, 409)
        headers = {}
        if error.retry_at is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_at - time.time())))
        return Problem(status, error.name or "ContractError", str(error), error.hint, headers)
    if isinstance(error, AnswerFailed) and error.cause in _QUESTION_AT_FAULT:
        return Problem(400, error.cause, str(error), error.hint)
    status = next((code for kind, code in _CLASSES if isinstance(error, kind)), 500)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status, {})
    extra: dict[str, Any] = {}
    if isinstance(error, NotYet):  # no 5xx: clients repeat that, and some give up
        place = f"/api/requests/0x{error.place.hex()}/answer"
        headers, extra = {"Location": place, "Retry-After": "1"}, {"instance": place}
    if isinstance(error, PaymentRequired):
        headers = {x402.REQUIRED: x402.encode(error.document)}
        extra = {name: error.document[name] for name in ("x402Version", "accepts")}
    return Problem(status, type(error).__name__, str(error), error.hint, headers, extra)


def response(problem: Problem, path: str, request_id: str) -> Response:
    """Return the problem in the shape that clients of a path expect."""
    if problem.status in (408, 413):  # the rest of the body is not wanted
        problem = replace(problem, headers={**problem.headers, "Connection": "close"})
    if path.startswith("/v1/"):
        late: dict[str, Any] = {}
        if problem.status == 202 and path == "/v1/embeddings":
            late = {"object": "list", "data": []}  # OpenAI's client says that no data came
        elif problem.status == 202:  # it would take this for a text without choices: it asks again
            problem = replace(problem, status=408)
        return _json({**late, "error": openai_error(problem)}, problem, "application/json")
    document = {
        "type": TYPE + problem.code,
        "title": _TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
        **problem.extra,
    }
    if problem.hint:
        document["hint"] = problem.hint
    if path.startswith("/v2"):
        document["error"] = problem.detail  # where KServe's clients look
    return _json(document, problem, "application/problem+json")


def openai_error(problem: Problem) -> dict[str, Any]:
    """Return the error in OpenAI's shape."""
    text = f"{problem.detail}: {problem.hint}" if problem.hint else problem.detail
    default = "invalid_request_error" if problem.status < 500 else "server_error"
    error: dict[str, Any] = {
        "message": text,
        "type": _OPENAI_TYPES.get(problem.status, default),
        "param": None,
        "code": problem.code,
    }
    return {**error, "tallystick": problem.extra} if problem.extra else error


def _json(document: dict[str, Any], problem: Problem, kind: str) -> Response:
    body = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    return Response(body, problem.status, dict(problem.headers), kind)
