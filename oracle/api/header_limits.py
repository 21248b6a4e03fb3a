"""Bounds what a connection may send, and how long it may take, until a request's headers are there.

uvicorn bounds neither for httptools. A request line or headers without an end would fill memory; a
connection that sends nothing would keep its file open for ever.
"""

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_BYTES = 64 * 1024  # of a request line and headers
SECONDS = 10.0  # from the connection, or from a later request's first byte, to the last header


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools; answers 431 or 408 beyond the bounds, and closes."""

    _received = 0
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        waiting = self._deadline
        super().data_received(data)
        if waiting is not None and waiting is self._deadline:  # a body's end is no header
            self._received += len(data)
            if self._received > MOST_BYTES:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        self._have_headers()
        super().on_headers_complete()

    def _await_headers(self) -> None:
        self._received = 0
        self._deadline = self.loop.call_later(SECONDS, self._refuse, 408)

    def _have_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int) -> None:
        self._have_headers()
        if not self.transport.is_closing():
            end = b"connection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + end)
            self.transport.close()
