"""Streaming POST to a Kubo RPC, for what ipfshttpclient would hold in memory whole.

One connection per call. Every wait is bounded: `timeout` seconds for a byte to arrive, and less
than `MIN_RATE` bytes per second over such a span counts as none.
"""

import base64
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from oracle.errors import ConfigInvalid, DigestMismatch, InputInvalid, Unavailable
from oracle.ipfs.port import CidUnresolved

MIN_RATE = 1024  # bytes per second, averaged over `timeout`
_PIECE = 1 << 20  # bytes asked for in one read
_MAX_ANSWER = 1 << 20  # bytes of JSON


class Stalled(Unavailable):
    """The node is silent, or so slow that it might as well be."""


class Interrupted(Unavailable):
    """The connection broke or ended before everything was said."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an RPC is, from `http(s)://[user:password@]host:port[/prefix]`."""

    scheme: str
    host: str
    port: int
    prefix: str
    authorization: str

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Take a URL apart.

        Raises:
            ConfigInvalid: it is not one.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 5001)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("not http:// or https:// with a host")
        except ValueError as error:
            raise ConfigInvalid(
                f"IPFS API {url!r}: {error}", hint="set TALLYSTICK_IPFS_API=http://host:port"
            ) from error
        token = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            token = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), token)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return f"{self.scheme}://{self.host}:{self.port}{self.prefix}"


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
        self._response: http.client.HTTPResponse | None = None
        if endpoint.scheme == "https":
            context = ssl.create_default_context()
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                endpoint.host, endpoint.port, timeout=timeout, context=context
            )
        else:
            self._http = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)
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
            self._response = self._http.getresponse()
        if self._response.status != 200:
            raise self._refusal(self._response.status)
        announced = self._response.getheader("X-Content-Length", "")  # Kubo's, which is chunked
        if self._response.chunked and announced.isdigit():
            return int(announced)
        return None if self._response.chunked else self._response.length

    def pieces(self) -> Iterator[bytes]:
        """Yield the body of the answer as it arrives.

        Raises:
            Stalled: slower than MIN_RATE over `timeout` seconds.
            Interrupted: it ends before its declared length.
        """
        assert self._response is not None
        left = None if self._response.chunked else self._response.length
        since, seen = time.monotonic(), 0
        while left != 0:
            with self._faults():
                data = self._response.read1(_PIECE if left is None else min(_PIECE, left))
            if not data:
                if left:
                    raise Interrupted(f"{self._where} ended {left} bytes early")
                return
            if left is not None:
                left -= len(data)
            seen += len(data)
            if seen >= MIN_RATE * self._timeout:
                since, seen = time.monotonic(), 0
            elif time.monotonic() - since > self._timeout:
                raise Stalled(f"{self._where} sent {seen} bytes in {self._timeout:g} s")
            yield data

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
