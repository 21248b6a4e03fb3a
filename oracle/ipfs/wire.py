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
_PIECE = 64 << 10  # bytes asked for in one read of a short answer
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

    def receive(self, view: memoryview) -> int:
        """Read what there is; straight from the socket into `view` where the body is plain."""
        if not self.chunked:
            return self.fp.readinto1(view)
        data = self.read1(len(view))
        view[: len(data)] = data
        return len(data)

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
        self._total = self._seen = 0  # bytes that came: in all, and since `_since`
        self._since = 0.0
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
        self._response, self._since = response, time.monotonic()
        text = response.getheader("X-Content-Length", "")  # Kubo's, whose answers are chunked
        kubos = int(text) if text.isdigit() and len(text) < 19 else None
        self._announced = kubos if response.chunked else response.length
        if response.status != 200:
            raise self._refusal(response.status)
        return self._announced

    def read_into(self, view: memoryview) -> int:
        """Read what has arrived of the answer's body, at most `view`; 0 at its end.

        Raises:
            Stalled: slower than MIN_RATE over `timeout` seconds.
            Interrupted: it ends before the length that it announced.
            the node's own error: it met one in mid-stream and says so in a trailer.
        """
        response = self._response
        assert response is not None
        if self._announced is not None:
            view = view[: self._announced - self._total]
        with self._faults():
            count = response.receive(view) if view else 0
        self._total += count
        self._seen += count
        if self._seen >= MIN_RATE * self._timeout:
            self._since, self._seen = time.monotonic(), 0
        elif time.monotonic() - self._since > self._timeout:
            raise Stalled(f"{self._where} sent {self._seen} bytes in {self._timeout:g} s")
        if count == 0 and response.stream_error:
            raise refusal(response.stream_error, self._where)
        if count == 0 and self._announced is not None and self._total < self._announced:
            raise Interrupted(f"{self._where} ended {self._announced - self._total} bytes early")
        return count

    def text(self, most: int) -> bytes:
        """Return the body of the answer: at most `most` bytes and one, so that more is noticed.

        Raises:
            Stalled, Interrupted, the node's own error: as in `read_into`.
        """
        text, room = bytearray(), memoryview(bytearray(min(_PIECE, most + 1)))
        while len(text) <= most and (count := self.read_into(room[: most + 1 - len(text)])):
            text += room[:count]
        return bytes(text)

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
        text = self.text(_MAX_ANSWER)
        if len(text) > _MAX_ANSWER:
            raise Unavailable(f"{self._where} answered with more than {_MAX_ANSWER} bytes")
        return text

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
