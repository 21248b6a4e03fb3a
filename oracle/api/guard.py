"""What stands before every route: ids, limits of bodies and of patience, headers, log, metrics.

Plain ASGI: a body is counted while it streams, so a gigabyte is refused after the first bytes.
"""

import asyncio
import ipaddress
import re
import secrets
import time
import zlib
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oracle.api import problems
from oracle.api.config import ApiConfig
from oracle.api.problems import Rejected
from oracle.metrics import GatewayMetrics
from oracle.protocol import x402
from oracle.rate_limit import Buckets

_ID = re.compile(r"[\w.:-]{1,64}\Z", re.ASCII)
_PACKED = ("gzip", "deflate")
_ANY_HEADER = zlib.MAX_WBITS + 32  # zlib's own, or gzip's
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware; the routes need not know it."""

    def __init__(
        self, app: ASGIApp, config: ApiConfig, metrics: GatewayMetrics, buckets: Buckets, log: Any
    ) -> None:
        self._app = app
        self._config = config
        self._metrics = metrics
        self._buckets = buckets
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers = time.perf_counter(), Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.match(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                fields = MutableHeaders(scope=message)
                fields["X-Request-ID"] = request_id
                if paid := scope["state"].get("payment_response"):
                    fields[x402.RESPONSE] = paid
                for name, value in _HEADERS.items():
                    fields.setdefault(name, value)
            await send(message)

        self._metrics.began()
        try:
            self._admit(scope, headers)
            await self._app(scope, self._counted(receive, headers), answer)
        except Exception as error:
            problem = problems.of(error)
            if problem.status == 500:
                self._log.exception("api.fault", http_id=request_id, path=scope["path"])
            if status:  # it began to answer: all that is left is to break off
                raise
            response = problems.response(problem, scope["path"], request_id)
            await response(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.ended(scope["method"], route, status, seconds)
            self._log.info(
                "api.request",
                http_id=request_id,
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(1000 * seconds, 1),
                client=_client(scope),
            )

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse what can be refused without reading the body."""
        config = self._config
        if not _is_own(name := _host(headers), config.hosts):
            raise Rejected(
                421,
                "HostRefused",
                f"this server is not known as {name:.80}: `tallystick serve --host NAME` says so",
            )
        if config.per_second:
            wait = self._buckets.take("ip:" + _client(scope), config.per_second, config.burst)
            if wait:
                raise Rejected(
                    429,
                    "TooManyRequests",
                    f"more than {config.per_second:g} requests a second came from your address",
                    {"Retry-After": str(max(1, round(wait)))},
                )
        if _encoding(headers) not in ("identity", *_PACKED):
            raise Rejected(
                415, "ContentEncodingRefused", "a body is plain, gzip or deflate: send one of these"
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise Rejected(400, "ContentLengthInvalid", "Content-Length is no number")
        if int(length) > config.max_body:
            raise self._too_large()

    def _counted(self, receive: Receive, headers: Headers) -> Receive:
        left, done = self._config.max_body, False
        packed = zlib.decompressobj(_ANY_HEADER) if _encoding(headers) in _PACKED else None

        async def counted() -> Message:
            nonlocal left, done
            if done:  # what comes now is only the news that the client has gone
                return await receive()
            try:
                async with asyncio.timeout(self._config.body_timeout):
                    message = await receive()
            except TimeoutError:
                raise Rejected(
                    408, "BodyTimeout", "the body did not come in time; the request was dropped"
                ) from None
            if message["type"] == "http.request":
                done = not message.get("more_body", False)
                if packed is not None:
                    message["body"] = _unpacked(packed, message.get("body", b""), left, done)
                left -= len(message.get("body", b""))
                if left < 0:
                    raise self._too_large()
            return message

        return counted

    def _too_large(self) -> Rejected:
        limit = self._config.max_body
        return Rejected(413, "BodyTooLarge", f"a body may have {limit} bytes; ask for fewer rows")


def _host(headers: Headers) -> str:
    """Return the name by which the client calls this server; without a port, in small letters."""
    given = headers.get("host", "").lower()
    return given[1:].partition("]")[0] if given.startswith("[") else given.partition(":")[0]


def _is_own(name: str, hosts: Sequence[str]) -> bool:
    """Whether a browser may have been sent here under this name.

    Another site's name may be pointed at this machine (DNS rebinding): its page would then speak
    to us as to its own server. An address in digits cannot be pointed anywhere else.
    """
    if name in ("", "localhost", *hosts):  # no browser leaves it out
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _encoding(headers: Headers) -> str:
    return headers.get("content-encoding", "identity").strip().lower()


def _unpacked(packed: Any, data: bytes, most: int, last: bool) -> bytes:
    """Return what compressed bytes hold, one byte more than `most` at the most: no bomb expands.

    Raises:
        Rejected: they are damaged, cut short, or something follows them.
    """
    try:
        plain: bytes = packed.decompress(data, most + 1)
    except zlib.error as error:
        raise _damaged() from error
    if len(plain) <= most and (packed.unused_data or (last and not packed.eof)):
        raise _damaged()
    return plain


def _damaged() -> Rejected:
    return Rejected(400, "ContentEncodingInvalid", "the compressed body is damaged or cut short")


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "local"
