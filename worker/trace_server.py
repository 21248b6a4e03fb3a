"""The responder's HTTP side: two GETs, a rate limit, and problems as RFC 9457 has them.

```
 GET /traces/{request id}               JSON: request_id, output_root, trace_root, signature, leaves
 GET /traces/{request id}/tensors/{op}  the tensor's record (docs/exact.md, section 5)
```
Faces strangers: bounded connections, one trace made at a time, nothing but what anyone may demand
on chain anyway.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from oracle.errors import ConfigInvalid, NotFound, TallystickError, TransientError
from oracle.protocol.hexadecimal import parse_bytes32, to_hex
from oracle.rate_limit import Buckets
from oracle.types import RequestId
from worker.trace_service import TraceService, WindowOver

CONNECTIONS = 32  # at a time
RATE, BURST = 20.0, 500.0  # requests per second of one address, and how many may come at once
ADDRESSES = 1024  # remembered
_RETRY_AFTER = "2"  # seconds

Answer = Callable[[TraceService, Request], Response]


def application(
    service: TraceService,
    limit: Buckets,
    log: Any,
    *,
    rate: float = RATE,
    burst: float = BURST,
) -> Starlette:
    """Return the application that serves; `rate` and `burst` are of one address."""

    def served(answer: Answer) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:  # in a thread: Starlette sees that it is sync
            if limit.take(request.client.host if request.client else "", rate, burst):
                return _problem(429, "too-many-requests", "slow down")
            try:
                return answer(service, request)
            except ValueError:
                return _problem(400, "malformed", "not a request id or operator")
            except TallystickError as error:
                return _refusal(error, log)

        return handle

    return Starlette(
        routes=[
            Route("/traces/{request_id}", served(_receipt), methods=["GET"]),
            Route("/traces/{request_id}/tensors/{op}", served(_tensor), methods=["GET"]),
        ]
    )


def _receipt(service: TraceService, request: Request) -> Response:
    found = service.receipt(_request_id(request))
    return JSONResponse(
        {
            "request_id": to_hex(found.request_id),
            "output_root": to_hex(found.output_root),
            "trace_root": to_hex(found.trace_root),
            "signature": to_hex(found.signature),
            "leaves": [to_hex(leaf) for leaf in found.leaves],
        }
    )


def _tensor(service: TraceService, request: Request) -> Response:
    op = request.path_params["op"]
    if not op.isascii() or not op.isdigit() or len(op) > 5:
        raise ValueError(op)
    data = service.tensor(_request_id(request), int(op))
    return Response(data, media_type="application/octet-stream")


def _request_id(request: Request) -> RequestId:
    return RequestId(parse_bytes32(request.path_params["request_id"]))


def _refusal(error: TallystickError, log: Any) -> Response:
    match error:
        case WindowOver():
            return _problem(410, "window-over", str(error))
        case NotFound():
            return _problem(404, "not-served", str(error))
        case TransientError():
            return _problem(503, "busy", str(error))
    log.error("trace.not_served", error=type(error).__name__, message=str(error))
    return _problem(500, "failed", "this operator cannot make the trace; see its log")


def _problem(status: int, kind: str, detail: str) -> Response:
    headers = {"Retry-After": _RETRY_AFTER} if status in (429, 503) else None
    body = {
        "type": f"urn:tallystick:problem:{kind}",
        "title": kind,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(body, status, headers, "application/problem+json")


@contextmanager
def serving(app: Starlette, listen: str, log: Any) -> Iterator[None]:
    """Serve on host:port while the block runs; "" = not at all.

    A port that is taken is logged and that is all: answers on chain matter more.

    Raises:
        ConfigInvalid: `listen` is not host:port.
    """
    bound = _bind(listen, log) if listen else None
    if bound is None:
        yield
        return
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off",
        limit_concurrency=CONNECTIONS, timeout_keep_alive=5, timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],), name="traces", daemon=True)
    thread.start()
    log.info("traces.served", at=listen)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


def _bind(listen: str, log: Any) -> socket.socket | None:
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    if not host or not port.isdigit():
        raise ConfigInvalid(f"TALLYSTICK_LISTEN={listen!r} is not host:port")
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        log.error("traces.not_served", at=listen, reason=str(error))
        return None
