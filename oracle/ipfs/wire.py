"""Streaming POST to a Kubo RPC, for what ipfshttpclient would hold in memory whole.

One connection per call. Every wait is bounded: `timeout` seconds for a byte to arrive, and less
than `MIN_RATE` bytes per second over such a span counts as none.
"""

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from oracle.errors import DigestMismatch, InputInvalid, Unavailable
from oracle.ipfs.endpoint import Endpoint
from oracle.ipfs.port import CidUnresolved

MIN_RATE = 1024  # bytes per second, averaged over `timeout`
_PIECE = 1 << 20  # bytes asked for in one read
_MAX_ANSWER = 1 << 20  # bytes of JSON
_MAX_TRAILERS, _MAX_TRAILER = 16, 4096  # lines, bytes of one


class Stalled(Unavailable):
    """The node is silent, or so slow that it might as well be."""


class Interrupted(Unavailable):
    """The connection broke or ended before everything was said."""


class _Response(http.client.HTTPResponse):
    """Keeps what Kubo says in the trailer, where it reports an error in mid-stream.

    http.client reads trailers with this method of its own and forgets them; should it be renamed,
    such an answer counts as interrupted, without the reason.
    """

    stream_error = ""

    def _read_and_discard_trailer(self) -> None:
        for _ in range(_MAX_TRAILERS):
            line = self.fp.readline(_MAX_TRAILER)
            if not line.strip():
                return
            name, _, value = line.partition(b":")
            if name.lower() == b"x-stream-error":
                self.stream_error = value.strip().decode(errors="replace")


class Call:
    """One POST: `send` the body in pieces (when there is one), then read the answer."""

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        options: dict[str, str],
        timeout: float,
        body: tuple[str, int] | None = None,
    ) -> None:
        """Connect and send the head; `body` is its (Content-Type, length)."""
        self._endpoint, self._path, self._timeout = endpoint, path, timeout
        self._response: _Response | None = None
        self._announced: int | None = None  # bytes of the answer
        if endpoint.scheme == "https":
            context = ssl.create_default_context()
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                endpoint.host, endpoint.port, timeout=timeout, context=context
            )
        else:
            self._http = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)
        self._http.response_class = _Response
        with self._faults():
            self._http.putrequest(
                "POST",
                f"{endpoint.prefix}/api/v0/{path}?{urlencode(options)}",
                skip_accept_encoding=True,
            )
            self._http.putheader("Connection", "close")
            if endpoint.authorization:
                self._http.putheader("Authorization", endpoint.authorization)
            kind, length = body or ("", 0)
            if kind:
                self._http.putheader("Content-Type", kind)
            self._http.putheader("Content-Length", str(length))
            self._http.endheaders()

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()
        self._http.close()

    def send(self, data: bytes | memoryview) -> None:
        """Send a piece of the body.

        Raises:
            Interrupted, Stalled: the node hung up, or takes nothing.
            what the node said: an error that it sent before it hung up.
        """
        try:
            with self._faults():
                self._http.sock.sendall(data)
        except Interrupted:
            self._answered()
            raise

    def start(self) -> int | None:
        """Wait for the head of the answer; return the length that it announces, if it does.

        Raises:
            Stalled, Interrupted: no answer.
            CidUnresolved, DigestMismatch, InputInvalid, Unavailable: the node's own error.
        """
        with self._faults():
            response = self._http.getresponse()
        assert isinstance(response, _Response)
        self._response = response
        text = response.getheader("X-Content-Length", "")  # Kubo's, whose answers are chunked
        kubos = int(text) if text.isdigit() and len(text) < 19 else None
        self._announced = kubos if response.chunked else response.length
        if response.status != 200:
            raise self._refusal(response.status)
        return self._announced

    def pieces(self) -> Iterator[bytes]:
        """Yield the body of the answer as it arrives.

        Raises:
            Stalled: slower than MIN_RATE over `timeout` seconds.
            Interrupted: it ends before the length that it announced.
            the node's own error: it met one in mid-stream and says so in a trailer.
        """
        response = self._response
        assert response is not None
        total, since, seen = 0, time.monotonic(), 0
        while self._announced is None or total < self._announced:
            want = _PIECE if self._announced is None else min(_PIECE, self._announced - total)
            with self._faults():
                data = response.read1(want)
            if not data:
                break
            total, seen = total + len(data), seen + len(data)
            if seen >= MIN_RATE * self._timeout:
                since, seen = time.monotonic(), 0
            elif time.monotonic() - since > self._timeout:
                raise Stalled(f"{self._where} sent {seen} bytes in {self._timeout:g} s")
            yield data
        if response.stream_error:
            raise refusal(response.stream_error, self._where)
        if self._announced is not None and total < self._announced:
            raise Interrupted(f"{self._where} ended {self._announced - total} bytes early")

    def lines(self) -> list[dict[str, Any]]:
        """Read an answer of JSON objects, one per line.

        Raises:
            Unavailable: it is something else, or longer than any such answer.
        """
        self.start()
        return _objects(self._text(), self._where)

    @property
    def _where(self) -> str:
        return f"IPFS node {self._endpoint.shown} ({self._path})"

    def _text(self) -> bytes:
        text = bytearray()
        for piece in self.pieces():
            text += piece
            if len(text) > _MAX_ANSWER:
                raise Unavailable(f"{self._where} answered with more than {_MAX_ANSWER} bytes")
        return bytes(text)

    def _answered(self) -> None:
        """Raise the error that a node sent before it stopped reading, if it did."""
        try:
            self.start()
        except (Stalled, Interrupted):
            return

    def _refusal(self, status: int) -> Exception:
        try:
            text = self._text()
            message = str(_objects(text, self._where)[0]["Message"])
        except (Unavailable, LookupError):
            return Unavailable(
                f"{self._where} answered HTTP {status}",
                hint="is that the RPC port of an IPFS node?",
            )
        return refusal(message, self._where)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise Stalled(f"{self._where} was silent for {self._timeout:g} s") from error
        except http.client.HTTPException as error:
            raise Interrupted(f"{self._where} broke the protocol: {error!r}") from error
        except ConnectionRefusedError as error:
            raise Unavailable(
                f"{self._where} refuses connections", hint="is it running? `tallystick doctor`"
            ) from error
        except OSError as error:
            raise Interrupted(f"{self._where}: {error}") from error


def refusal(message: str, where: str) -> Exception:
    """Return the typed error for a message that a node sent (Kubo's, and our node's)."""
    text = message[:500]
    lower = text.lower()
    if "different hash" in lower:
        return DigestMismatch(
            f"{where} has damaged bytes: {text}", hint="publish them again, or `ipfs repo verify`"
        )
    if any(part in lower for part in ("not find", "not found", "deadline", "canceled")):
        return CidUnresolved(f"{where}: {text}", hint="does anyone serve it? try again later")
    if any(
        part in lower for part in ("invalid", "malformed", "not a file", "directory", "does not do")
    ):
        return InputInvalid(f"{where}: {text}")
    return Unavailable(f"{where}: {text}")


def _objects(text: bytes, where: str) -> list[dict[str, Any]]:
    try:
        items = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"{where} answered something that is not JSON: {text[:80]!r}") from error
    if not all(isinstance(item, dict) for item in items):
        raise Unavailable(f"{where} answered JSON of another kind: {text[:80]!r}")
    return items
