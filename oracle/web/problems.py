"""From our errors to HTTP: a status by the error's class, the text as it is, never a trace."""

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse

from oracle.chain.revert import ContractError
from oracle.errors import (
    DigestMismatch,
    InputInvalid,
    NotFound,
    PermanentError,
    Refused,
    TallystickError,
    TransientError,
)
from oracle.ipfs.port import CidUnresolved
from oracle.services.inference import Unanswered
from oracle.web.rendering import Renderer

_STATUS: tuple[tuple[type[TallystickError], int], ...] = (
    (NotFound, 404),
    (CidUnresolved, 404),
    (Unanswered, 409),
    (InputInvalid, 422),
    (DigestMismatch, 502),
    (Refused, 403),
    (TransientError, 503),
    (PermanentError, 409),
)


def status_of(error: TallystickError) -> int:
    """Return the HTTP status that fits an error."""
    if isinstance(error, ContractError) and error.name.endswith("Unknown"):
        return 404  # ModelUnknown, VersionUnknown
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def hint_of(error: TallystickError) -> str:
    """Return what to do next, unless that is a command: a page's visitor has none at hand."""
    return "" if "`tallystick" in error.hint else error.hint


def as_json(error: TallystickError) -> JSONResponse:
    """Return a problem document (RFC 9457) for a page's module."""
    status = status_of(error)
    name = error.name if isinstance(error, ContractError) and error.name else type(error).__name__
    body = {"title": name, "status": status, "detail": str(error), "hint": hint_of(error)}
    return JSONResponse(body, status, media_type="application/problem+json")


def as_page(renderer: Renderer, request: Request, error: TallystickError) -> HTMLResponse:
    """Return a page that says what went wrong."""
    status = status_of(error)
    return renderer.page(
        request, "problem.html", status, status=status, detail=str(error), hint=hint_of(error)
    )
