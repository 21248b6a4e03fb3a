"""Calls to a Kubo RPC through ipfshttpclient, and its faults as our errors.

Short calls are the library's own. Where a body or an answer is long, the call goes through the
session that the library owns, with the library's multipart framing, in constant memory. Every
wait is bounded: `timeout` seconds for a byte, and less than MIN_RATE over such a span is none.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import ipfshttpclient  # type: ignore[import-untyped]  # it has no types
import requests
import urllib3
from ipfshttpclient import exceptions, multipart

from oracle.errors import DigestMismatch, InputInvalid, Unavailable
from oracle.ipfs.endpoint import Endpoint
from oracle.ipfs.ipfshttpclient_mends import (
    MAX_ANSWER,
    Pace,
    keep_stream_error,
    make_client,
)
from oracle.ipfs.port import CidUnresolved, Interrupted, Stalled

T = TypeVar("T")
_PIECE = 2 << 20  # bytes: no piece of a body is longer, so that the framing cuts none
_SILENCE = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
# What the library trips over when an answer is not what it expects; it asserts, too
_NONSENSE = (LookupError, TypeError, AttributeError, ValueError, AssertionError, RecursionError)


class Upload(Protocol):
    """Bytes to send, in pieces; the length is known before."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes | memoryview]: ...


class Kubo:
    """One node."""

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        """Name the node; nothing is sent yet."""
        self._where, self._timeout = f"IPFS node {endpoint.shown}", timeout
        self._client, self._sessions = make_client(endpoint, timeout)

    def ask(self, call: Callable[[ipfshttpclient.Client], T]) -> T:
        """Make a short call with the library.

        Raises:
            Stalled, Interrupted: no answer.
            CidUnresolved, DigestMismatch, InputInvalid, Unavailable: the node's own error.
        """
        with self._faults(self._where):
            return call(self._client)

    @contextmanager
    def post(
        self, command: str, options: dict[str, str], upload: Upload | None = None
    ) -> Iterator["KuboAnswer"]:
        """Send a call with a long body, or for a long answer.

        Raises:
            as `ask`.
        """
        where, headers, body = f"{self._where} ({command})", {}, None
        if upload is not None:
            framed = multipart.BytesFileStream(upload, "file", chunk_size=_PIECE)
            frame = sum(map(len, multipart.BytesFileStream(b"", "file").body()))
            headers, body = framed.headers(), _Sized(framed.body(), frame + len(upload))
        with self._faults(where):
            closables, response = self._sessions.post(
                command, options, body, headers, self._timeout
            )
        try:
            answer = KuboAnswer(response, where, self._timeout, self._faults)
            if response.status_code != 200:
                raise _refusal_of(answer, response.status_code, where)
            yield answer
        finally:
            for closable in closables:
                closable.close()

    @contextmanager
    def _faults(self, where: str) -> Iterator[None]:
        try:
            yield
        except exceptions.ErrorResponse as error:
            raise refusal(str(error), where) from error
        except (exceptions.Error, requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _fault(error, where, self._timeout) from error
        except _NONSENSE as error:
            raise Unavailable(
                f"{where} answered nonsense: {str(error)[:200]}",
                hint="is that the RPC port of an IPFS node?",
            ) from error


class KuboAnswer:
    """The answer to one call, while it arrives."""

    def __init__(
        self, response: requests.Response, where: str, timeout: float, faults: Callable[[str], Any]
    ) -> None:
        self._raw, self._where, self._faults = response.raw, where, faults
        self._pace = Pace(timeout)
        origin: Any = response.raw._original_response  # http.client's, as requests takes it too
        self._stream_error = keep_stream_error(origin)
        text = response.headers.get("X-Content-Length", "")  # Kubo's, whose answers are chunked
        kubos = int(text) if text.isdigit() and len(text) < 19 else None
        self.size: int | None = kubos if origin.chunked else origin.length  # bytes announced
        self._total = 0

    def read_into(self, view: memoryview) -> int:
        """Read what has arrived, at most `view`; 0 at the end.

        Raises:
            Stalled: slower than MIN_RATE over `timeout` seconds.
            Interrupted: it ends before the length that it announced.
            the node's own error: it met one in mid-stream and says so in a trailer.
        """
        if self.size is not None:
            view = view[: self.size - self._total]
        with self._faults(self._where):
            data = self._raw.read1(len(view), decode_content=False) if view else b""
        count = len(data)
        view[:count] = data
        self._total += count
        self._pace.saw(count)
        if count == 0 and self._stream_error:
            raise refusal(self._stream_error[0], self._where)
        if count == 0 and self.size is not None and self._total < self.size:
            raise Interrupted(f"{self._where} ended {self.size - self._total} bytes early")
        return count

    def read(self, most: int) -> bytes:
        """Return the answer: at most `most` bytes and one, so that more is noticed.

        Raises:
            Stalled, Interrupted, the node's own error: as in `read_into`.
        """
        text, room = bytearray(), memoryview(bytearray(min(64 << 10, most + 1)))
        while len(text) <= most and (count := self.read_into(room[: most + 1 - len(text)])):
            text += room[:count]
        return bytes(text)

    def lines(self) -> list[dict[str, Any]]:
        """Read an answer of JSON objects, one per line.

        Raises:
            Unavailable: it is something else, or longer than any such answer.
        """
        text = self.read(MAX_ANSWER)
        if len(text) > MAX_ANSWER:
            raise Unavailable(f"{self._where} answered with more than {MAX_ANSWER} bytes")
        try:
            items = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                f"{self._where} answered something that is not JSON: {text[:80]!r}"
            ) from error
        if not all(isinstance(item, dict) for item in items):
            raise Unavailable(f"{self._where} answered JSON of another kind: {text[:80]!r}")
        return items


class _Sized:
    """A body in pieces with the length that requests announces."""

    def __init__(self, pieces: Iterable[bytes | memoryview], length: int) -> None:
        self._pieces, self._length = pieces, length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return iter(self._pieces)


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


def _refusal_of(answer: KuboAnswer, status: int, where: str) -> Exception:
    try:
        return refusal(str(answer.lines()[0]["Message"]), where)
    except (Unavailable, LookupError):
        return Unavailable(
            f"{where} answered HTTP {status}", hint="is that the RPC port of an IPFS node?"
        )


def _fault(error: Exception, where: str, timeout: float) -> Unavailable:
    """Return the error of ours for one of the library, of requests or of urllib3."""
    causes = tuple(_causes(error))
    if any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes):
        return Unavailable(
            f"{where} refuses connections",
            hint="`tallystick up` starts a node; or name yours in TALLYSTICK_IPFS_API",
        )
    if any(isinstance(cause, _SILENCE) for cause in causes):
        return Stalled(f"{where} was silent for {timeout:g} s")
    return Interrupted(f"{where}: {str(error)[:300]}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was made from, by `from` or as an argument."""
    while error is not None:
        yield error
        inner = [part for part in error.args if isinstance(part, BaseException)]
        for part in inner:
            yield from _causes(part)
        reason = getattr(error, "reason", None)  # urllib3's, within MaxRetryError
        error = reason if isinstance(reason, BaseException) else error.__cause__
