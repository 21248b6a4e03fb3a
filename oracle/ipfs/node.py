"""The embedded IPFS node: `python -m oracle.ipfs.node --repo DIR --port N`, the RPC over HTTP.

It listens on 127.0.0.1 only and talks to no other node. Like Kubo it answers POST alone and no
request that a web page could have made (a foreign Origin, Referer or Host), since whoever
reaches it may write to the disk. Prints `ready http://127.0.0.1:PORT` when it listens.
"""

import argparse
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from oracle.errors import ConfigInvalid, InputInvalid, TallystickError
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.multipart import Reader
from oracle.ipfs.rpc import AGENT, Bytes, Commands, encode

PREFIX = "/api/v0/"
_LOCAL_NAMES = {"127.0.0.1", "localhost"}
_SILENCE = 120.0  # seconds without a byte until a connection is dropped


class Server(ThreadingHTTPServer):
    """One thread per connection; `commands` is what the handlers run."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, commands: Commands) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.commands = commands

    @property
    def url(self) -> str:
        """Where the RPC is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Drop a connection that broke; the client sees that its answer is incomplete."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError):
            return  # the other side went away, which is its right
        print(f"connection dropped: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = AGENT
    sys_version = ""
    timeout = _SILENCE
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        """Run a command."""
        url = urlsplit(self.path)
        body = _Body(self)
        if not self._is_local():
            self.close_connection = True
            return self._text(403, "403 - Forbidden")
        if not url.path.startswith(PREFIX):
            self.close_connection = True
            return self._text(404, "404 page not found")
        options = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            kind = self.headers.get("Content-Type", "")
            reader = Reader(kind, body.read_into) if kind.startswith("multipart/") else None
            answer = self.server.commands.run(url.path.removeprefix(PREFIX), options, reader)
            if isinstance(answer, Bytes):
                self._stream(answer)
            else:
                body.drain()
                self._json(200, encode(answer))
        except TallystickError as error:
            self._fail(error)
        except ConnectionError:
            raise
        except OSError as error:  # a full disk, say
            self._fail(ConfigInvalid(f"the node cannot go on: {error}"))
        return None

    def do_GET(self) -> None:
        """Refuse: Kubo's RPC is POST only, so that a link on a page cannot call it."""
        self.close_connection = True
        self._text(405, "405 - Method Not Allowed", ("Allow", "POST"))

    do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_GET

    def _is_local(self) -> bool:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in _LOCAL_NAMES and host not in _LOCAL_NAMES:
            return False  # a name that a hostile DNS server pointed at us
        port = self.server.server_address[1]
        own = {f"http://{name}:{port}" for name in _LOCAL_NAMES}
        origin, referer = self.headers.get("Origin"), self.headers.get("Referer")
        if referer is not None:
            parts = urlsplit(referer)
            if f"{parts.scheme}://{parts.netloc}" not in own:
                return False
        return origin is None or origin in own

    def _stream(self, answer: Bytes) -> None:
        first = next(answer.pieces, b"")  # a damaged or missing block is an error while it can be
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(answer.size))
        self.send_header("X-Content-Length", str(answer.size))
        self.end_headers()
        try:
            self.wfile.write(first)
            for piece in answer.pieces:
                self.wfile.write(piece)
        except TallystickError as error:
            # Too late for a status: a short answer tells the client, a retry gets the message
            self.close_connection = True
            self.log_error("%s", error)

    def _fail(self, error: TallystickError) -> None:
        self.close_connection = True  # what is left of the body is not read
        answer = {"Message": str(error), "Code": 0, "Type": "error"}
        self._json(400 if isinstance(error, InputInvalid) else 500, encode([answer]))

    def _json(self, status: int, body: bytes) -> None:
        self._reply(status, "application/json", body)

    def _text(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        self._reply(status, "text/plain", text.encode() + b"\n", *headers)

    def _reply(self, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Type", kind), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing about what went well."""

    def log_message(self, format: str, *args: Any) -> None:
        """Write one line to stderr."""
        print(format % args, file=sys.stderr, flush=True)


class _Body:
    """The bytes of one request, by Content-Length or chunked."""

    def __init__(self, handler: Handler) -> None:
        self._file = handler.rfile
        self._chunked = "chunked" in handler.headers.get("Transfer-Encoding", "").lower()
        length = handler.headers.get("Content-Length", "0")
        self._left = int(length) if length.isdigit() and not self._chunked else 0
        self._open = self._chunked

    def read_into(self, view: memoryview) -> int:
        """Read what there is, at most `view`; 0 at the end.

        Raises:
            InputInvalid: the chunks are malformed.
        """
        if self._left == 0 and self._open:
            self._left = self._next_chunk()
        if self._left == 0 or not view:
            return 0
        count: int = self._file.readinto(view[: self._left])
        if count == 0:
            raise InputInvalid("the request body ends early")
        self._left -= count
        if self._left == 0 and self._chunked:
            self._file.readline(8)  # the CRLF after a chunk
        return count

    def drain(self) -> None:
        """Read the epilogue, so that the connection can go on with the next request."""
        sink = memoryview(bytearray(4096))
        while self.read_into(sink):
            pass

    def _next_chunk(self) -> int:
        line = self._file.readline(1024)
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError as error:
            raise InputInvalid("malformed chunked request body") from error
        if size == 0:
            self._open = False
            while self._file.readline(4096).strip():  # trailers
                pass
        return size


def _follow(server: Server) -> None:
    """Stop when who started us is gone, kill -9 included: our standard input ends then."""
    sys.stdin.buffer.read()
    server.shutdown()


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, SIGINT, or (with --follow) the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m oracle.ipfs.node", description=__doc__)
    parser.add_argument("--repo", type=Path, required=True, help="folder of the blocks")
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1; 0 = free")
    parser.add_argument("--follow", action="store_true", help="stop when standard input ends")
    parsed = parser.parse_args(arguments)
    try:
        store = BlockStore(parsed.repo)
        server = Server(parsed.port, Commands(store))
    except (ConfigInvalid, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return ConfigInvalid.exit_code
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    if parsed.follow:
        threading.Thread(target=_follow, args=(server,), daemon=True).start()
    print(f"ready {server.url}", flush=True)
    server.serve_forever(poll_interval=0.2)
    server.server_close()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
