"""The body of a request: taken from the event loop, parsed and read by a thread.

event loop   feed():  receive ─► at most DEPTH pieces in a queue
thread       Parts:   queue ─► python-multipart ─► the bytes of one part after the other
"""

import asyncio
import queue
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from oracle.errors import InputInvalid

DEPTH = 16  # pieces that wait; uvicorn makes them of at most 320 KiB
SILENCE = 120.0  # seconds without a byte until a request is given up
_DRAINED = 64  # pieces
_MAX_HEADERS, _MAX_HEADER = 16, 16 << 10  # of one part; bytes

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Body:
    """The bytes of one request, on their way to a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # None = broken off
        self._room = asyncio.Event()
        self._ended = False

    async def feed(self, receive: Receive) -> None:
        """Take what arrives until it ends; to be run beside the thread that reads."""
        try:
            more = True
            while more:
                async with asyncio.timeout(SILENCE):
                    message = await receive()
                if message["type"] != "http.request":
                    break
                more = message.get("more_body", False)
                if piece := message.get("body", b""):
                    self._pieces.put(piece)
                if self._pieces.qsize() >= DEPTH:
                    self._room.clear()
                    if self._pieces.qsize() >= DEPTH:
                        await self._room.wait()
            if not more:
                self._pieces.put(b"")
        finally:
            self._pieces.put(None)  # behind the end nobody reads it

    def next(self) -> bytes:
        """Return the next piece; b"" at the end.

        Raises:
            InputInvalid: the client broke off, or fell silent.
        """
        if self._ended:
            return b""
        piece = self._pieces.get()
        if piece is None:
            raise InputInvalid("the request body ends early", hint="send it again")
        if self._pieces.qsize() < DEPTH // 2 and not self._room.is_set():
            self._loop.call_soon_threadsafe(self._room.set)
        self._ended = not piece
        return piece

    def drain(self) -> None:
        """Read on, within reason: who still sends does not hear why it was refused."""
        with suppress(InputInvalid):
            for _ in range(_DRAINED):
                if not self.next():
                    return


class Parts:
    """The parts of a multipart body, one after the other, in constant memory."""

    def __init__(self, content_type: str, body: Callable[[], bytes]) -> None:
        """Take the request's Content-Type, and what returns its next bytes; b"" = the end.

        Raises:
            InputInvalid: not multipart.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not kind.startswith(b"multipart/") or not 0 < len(boundary) <= 70:
            raise InputInvalid(
                f"Content-Type {content_type[:80]!r} is not multipart with a boundary"
            )
        self.headers: dict[str, str] = {}  # of the present part, names in lower case
        self._body, self._over = body, False
        self._found: deque[memoryview | dict[str, str] | None] = deque()  # None = end of a part
        self._name, self._value, self._headers = b"", b"", dict[str, str]()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._text,
                "on_header_end": self._header,
                "on_headers_finished": lambda: self._found.append(self._headers),
                "on_part_data": lambda data, start, end: self._found.append(
                    memoryview(data)[start:end]
                ),
                "on_part_end": lambda: self._found.append(None),
                "on_end": self._finish,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER,
        )

    def next_part(self) -> bool:
        """Go to the next part, past its headers; False when there is none.

        Raises:
            InputInvalid: the body is malformed, or ends where it must not.
        """
        while self._more():
            found = self._found.popleft()
            if isinstance(found, dict):
                self.headers = found
                return True
        return False

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer` from this part; less than its length only at the part's end.

        Raises:
            InputInvalid: as in `next_part`.
        """
        view, got = memoryview(buffer), 0
        while got < len(view) and self._more():
            found = self._found[0]
            if not isinstance(found, memoryview):
                break  # the end of this part, which stays there
            count = min(len(found), len(view) - got)
            view[got : got + count] = found[:count]
            got += count
            if count < len(found):
                self._found[0] = found[count:]
            else:
                self._found.popleft()
        return got

    def read(self, most: int) -> bytes:
        """Return this part whole.

        Raises:
            InputInvalid: over `most` bytes; or as in `next_part`.
        """
        buffer = bytearray(most + 1)
        count = self.read_into(buffer)
        if count > most:
            raise InputInvalid(f"over {most} bytes")
        return bytes(memoryview(buffer)[:count])

    def _more(self) -> bool:
        """Parse on until something is found; False when the last part is over."""
        while not self._found and not self._over:
            piece = self._body()
            if not piece:
                raise InputInvalid("the request ends inside a part", hint="send it again")
            try:
                self._parser.write(piece)
            except MultipartParseError as error:
                raise InputInvalid(f"malformed multipart body: {error}") from error
        return bool(self._found)

    def _begin(self) -> None:
        self._headers = {}

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        name = self._name.decode("latin-1").lower()
        self._headers[name] = self._value.decode(errors="replace")
        self._name = self._value = b""

    def _finish(self) -> None:
        self._over = True
