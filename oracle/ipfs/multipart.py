"""Multipart bodies, streamed: one side that frames a file, one that reads it back in place.

Constant memory on both. The reader keeps a look-ahead as long as the delimiter, so that a
delimiter is found wherever the pieces are cut; it never copies what it reads more than once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from oracle.errors import InputInvalid

Source = Callable[[memoryview], int]  # may return less than asked; 0 at the end
_MAX_HEADERS = 16 << 10  # bytes of one part's headers
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,70})"?')


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the bytes of the only file of a request."""

    content_type: str
    head: bytes
    tail: bytes


def frame(boundary: str) -> Frame:
    """Return the frame of one file; `boundary` must not occur in it (take a random one)."""
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return Frame(
        f"multipart/form-data; boundary={boundary}",
        head.encode(),
        f"\r\n--{boundary}--\r\n".encode(),
    )


class Reader:
    """Reads the parts of a body, one after the other."""

    def __init__(self, content_type: str, source: Source) -> None:
        """Take the request's Content-Type and its body.

        Raises:
            InputInvalid: not multipart.
        """
        match = _BOUNDARY.search(content_type)
        if not content_type.startswith("multipart/") or not match:
            raise InputInvalid(
                f"Content-Type {content_type[:80]!r} is not multipart with a boundary"
            )
        self._delimiter = b"\r\n--" + match[1].encode()
        self._source = source
        self._ahead = b"\r\n"  # read, not yet handed out; the first delimiter may lack its CRLF
        self._done = False

    def next_part(self) -> bool:
        """Go to the next part, past its headers; False when there is none.

        Raises:
            InputInvalid: the body ends where it must not, or headers have no end.
        """
        sink = bytearray(64 << 10)
        while self.read_into(sink):  # what is left of the part before, or the preamble
            pass
        self._ahead = self._ahead[len(self._delimiter) :]
        self._ahead += self._take(max(0, 2 - len(self._ahead)))
        if self._ahead.startswith(b"--"):
            return False
        self._line()  # what follows the delimiter: nothing, or padding
        while self._line():
            pass
        self._done = False
        return True

    def read_into(self, buffer: bytearray) -> int:
        """Fill `buffer` from this part; less than its length only at the part's end.

        Raises:
            InputInvalid: the body ends inside the part.
        """
        if self._done:
            return 0
        width = len(self._delimiter)
        got = min(len(self._ahead), len(buffer))
        buffer[:got] = self._ahead[:got]
        rest = self._ahead[got:]
        got += self._fill(memoryview(buffer)[got:])
        rest += self._take(max(0, width - 1 - len(rest)))
        at = buffer.find(self._delimiter, 0, got)
        if at < 0:  # one that starts in the buffer may end in the look-ahead
            edge = max(0, got - width + 1)
            inside = (bytes(buffer[edge:got]) + rest[: width - 1]).find(self._delimiter)
            at = edge + inside if inside >= 0 else -1
        if at >= 0:
            self._ahead = bytes(buffer[at:got]) + rest
            self._done = True
            return at
        if got < len(buffer):
            raise InputInvalid("the request ends inside a part", hint="send it again")
        self._ahead = rest
        return got

    def read_known(self, view: memoryview) -> int:
        """Fill `view` with bytes that must be this part's, by a length that its content tells.

        No delimiter is looked for, which a well-formed part does not contain.

        Raises:
            InputInvalid: the body ends here.
        """
        if self._done:
            return 0
        got = min(len(self._ahead), len(view))
        view[:got], self._ahead = self._ahead[:got], self._ahead[got:]
        return got + self._fill(view[got:])

    def _line(self) -> bytes:
        """Take one line of headers, without its CRLF."""
        while (at := self._ahead.find(b"\r\n")) < 0:
            more = self._take(1024) if len(self._ahead) < _MAX_HEADERS else b""
            if not more:
                raise InputInvalid("the headers of a part have no end")
            self._ahead += more
        line, self._ahead = self._ahead[:at], self._ahead[at + 2 :]
        return line

    def _take(self, count: int) -> bytes:
        data = bytearray(count)
        return bytes(data[: self._fill(memoryview(data))])

    def _fill(self, view: memoryview) -> int:
        got = 0
        while got < len(view) and (count := self._source(view[got:])):
            got += count
        return got
