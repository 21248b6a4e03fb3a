"""ipfshttpclient 0.7.0 with its faults mended, by subclassing the half of it that speaks HTTP.

- `connect()` refuses daemons from 0.8 on, although the calls used here never changed: `Client` is
  made directly, which skips that check.
- Its sessions patch requests for address families with an option that urllib3 is about to drop,
  take a proxy from the environment even for loopback, and follow redirects: plain ones instead.
- It reads answers whole, of any length and at any pace: they are bounded.
- http.client (Python 3.11 to 3.13) forgets trailers, where Kubo reports an error in mid-stream.
"""

import http.client
import time
from collections.abc import Iterable, Iterator
from typing import Any

import ipfshttpclient  # type: ignore[import-untyped]  # it has no types
import requests
from ipfshttpclient import exceptions
from ipfshttpclient import http as library

from oracle.ipfs.endpoint import Endpoint
from oracle.ipfs.port import Stalled

MAX_ANSWER = 1 << 20  # bytes of JSON
MIN_RATE = 1024  # bytes per second, averaged over the timeout
_PIECE = 64 << 10  # bytes read at once
_MAX_TRAILERS, _MAX_TRAILER = 16, 4096  # lines, bytes of one


class Pace:
    """Watches that an answer does not come slower than MIN_RATE."""

    def __init__(self, timeout: float) -> None:
        self._timeout, self._seen, self._since = timeout, 0, time.monotonic()

    def saw(self, count: int) -> None:
        """Note that so many bytes came.

        Raises:
            Stalled: too few in `timeout` seconds.
        """
        self._seen += count
        if self._seen >= MIN_RATE * self._timeout:
            self._since, self._seen = time.monotonic(), 0
        elif time.monotonic() - self._since > self._timeout:
            raise Stalled(f"the IPFS node sent {self._seen} bytes in {self._timeout:g} s")


class Sessions(library.ClientSync):  # type: ignore[misc]  # the library has no types
    """The library's HTTP client: plain sessions, bounded answers."""

    def post(
        self,
        path: str,
        options: dict[str, str],
        data: Iterable[bytes | memoryview] | None,
        headers: dict[str, str],
        timeout: float,
    ) -> tuple[list[Any], requests.Response]:
        """Send a call whose body or answer is streamed; return what to close, and the answer."""
        closables, session = self._access_session()
        try:
            response: requests.Response = session.post(
                self._base_url + path,
                params=options,
                data=data,
                headers=headers,
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            )
        except BaseException:
            for closable in closables:
                closable.close()
            raise
        return [response, *closables], response

    def _make_session(self) -> requests.Session:
        session = requests.Session()
        for name, value in self._session_props.items():
            setattr(session, name, value)
        session.trust_env = False
        session.max_redirects = 0
        session.headers["Accept-Encoding"] = "identity"
        return session

    def _request(self, *args: Any, **options: Any) -> tuple[list[Any], Iterator[bytes]]:
        options["chunk_size"] = options.get("chunk_size") or _PIECE
        closables, pieces = super()._request(*args, **options)
        return closables, self._bounded(pieces)

    def _do_raise_for_status(self, response: requests.Response) -> None:
        # The library would read the reason whole
        reason = b"".join(self._bounded(response.iter_content(_PIECE))) if not response.ok else b""
        response._content = reason if not response.ok else response._content
        super()._do_raise_for_status(response)

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        pace, total = Pace(self._default_timeout), 0
        for piece in pieces:
            total += len(piece)
            if total > MAX_ANSWER:
                raise exceptions.ProtocolError(ValueError(f"over {MAX_ANSWER} bytes"))
            pace.saw(len(piece))
            yield piece


def make_client(endpoint: Endpoint, timeout: float) -> tuple[ipfshttpclient.Client, Sessions]:
    """Return the library's client, not connected, and the sessions that it uses."""
    headers = {"Authorization": endpoint.authorization} if endpoint.authorization else {}
    address, base = endpoint.multiaddr, f"{endpoint.prefix}/api/v0".lstrip("/")
    client = ipfshttpclient.Client(address, base, chunk_size=MAX_ANSWER)
    client._client = Sessions(address, base, headers=headers, timeout=timeout)
    return client, client._client


def keep_stream_error(response: http.client.HTTPResponse) -> list[str]:
    """Return a list that gets what the trailer of this answer says, when it has been read.

    http.client reads trailers with a method of its own; should it be renamed, such an answer counts
    as interrupted, without the reason.
    """
    told: list[str] = []

    def read_trailer() -> None:
        for _ in range(_MAX_TRAILERS):
            line = response.fp.readline(_MAX_TRAILER)
            if not line.strip():
                return
            name, _, value = line.partition(b":")
            if name.lower() == b"x-stream-error":
                told.append(value.strip().decode(errors="replace"))

    response._read_and_discard_trailer = read_trailer  # type: ignore[attr-defined]  # see above
    return told
