"""Bounds what a connection may send until a request's headers are there, and how long it may take.

uvicorn bounds neither for httptools. A request line or headers without an end would fill memory; a
connection that sends nothing would keep its file open for ever. When files run short, whoever has
waited longest without asking anything is closed: many idle connections keep nobody out. Who asks
and does not take its answer is cut off: what it was sent would stay in memory for as long.
"""

import resource
import socket
from asyncio import TimerHandle, Transport
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_BYTES = 64 * 1024  # of a request line and headers
SECONDS = 10.0  # from the connection, or from a later request's first byte, to the last header
UNREAD_SECONDS = 30.0  # in which a client takes at least so much of what waits for it:
LEAST_READ = 16 * 1024  # bytes
_QUEUE = 4_096  # connections that wait; Linux drops those beyond: their clients try again in 1 s
_TAKEN = 32  # of them in one turn of the loop
_TURNS = 4  # from taking one until another is closed for it: task, protocol, refusal, its file
_OTHER_FILES = 256  # of the process: store, chain, IPFS, queue


class BoundedServer(uvicorn.Server):
    """uvicorn's server with these bounds, and a queue longer than what it takes at once."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app, backlog=_TAKEN, http=BoundedHttpProtocol, timeout_keep_alive=30, **options
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                with listener.dup() as same:
                    same.listen(_QUEUE)


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools; answers 431 or 408 beyond the bounds, and closes."""

    _received = 0
    _deadline: TimerHandle | None = None
    _unread: TimerHandle | None = None  # while more waits for the client than fits
    idle_since = 0.0  # when it was made, or last began a request; by the loop's clock

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._await_headers()
        if len(self.connections) > most_connections():
            others = cast("set[BoundedHttpProtocol]", self.connections)
            idle = (one for one in others if one.idle and one is not self)
            oldest = min(idle, key=lambda one: one.idle_since, default=self)
            oldest.refuse(408 if oldest is not self else 503)

    @property
    def idle(self) -> bool:
        """Whether no request is being answered here."""
        closing = self.transport.is_closing()
        return not closing and (self.cycle is None or self.cycle.response_complete)

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        self._read_on()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        self._read_on()
        super().resume_writing()

    def _expect_reading(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._see_reading, waiting)

    def _see_reading(self, waited: int) -> None:
        if waited - self.transport.get_write_buffer_size() < LEAST_READ:
            self.transport.abort()  # close() would wait until the client has taken the rest
        else:
            self._expect_reading()

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def data_received(self, data: bytes) -> None:
        waiting = self._deadline
        super().data_received(data)
        if waiting is not None and waiting is self._deadline:  # a body's end is no header
            self._received += len(data)
            if self._received > MOST_BYTES:
                self.refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.idle_since = self.loop.time()
        if self._deadline is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        self._have_headers()
        super().on_headers_complete()

    def _await_headers(self) -> None:
        self._received = 0
        self._deadline = self.loop.call_later(SECONDS, self.refuse, 408)

    def _have_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def refuse(self, status: int) -> None:
        """Answer with a status and close."""
        self._have_headers()
        if not self.transport.is_closing():
            end = b"connection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + end)
            self.transport.close()


def most_connections() -> int:
    """Return how many connections may be open under this process's limit of files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft - _OTHER_FILES - _TURNS * _TAKEN)
