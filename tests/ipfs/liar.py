"""A node that misbehaves as it is told: reads each request and hands the connection to a script."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What came in."""

    path: str
    options: dict[str, str]
    headers: dict[str, str]
    body: bytes


Script = Callable[[socket.socket, Request], None]


class Liar:
    """Runs the scripts in turn, the last one for ever; `requests` are those that came."""

    def __init__(self, *scripts: Script, read_body: bool = True) -> None:
        self.requests: list[Request] = []
        self._scripts, self._read_body = list(scripts), read_body
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(120)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            with connection:
                connection.settimeout(120)
                try:
                    self.requests.append(self._read(connection))
                    script(connection, self.requests[-1])
                except OSError:
                    pass  # the client hung up, as it should

    def _read(self, connection: socket.socket) -> Request:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        while self._read_body and len(body) < int(headers.get("content-length", "0")):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError
            body += piece
        url = urlsplit(lines[0].split(" ")[1])
        options = {key: values[-1] for key, values in parse_qs(url.query).items()}
        return Request(url.path, options, headers, body)


@contextmanager
def lying(*scripts: Script, read_body: bool = True) -> Iterator[Liar]:
    """Run such a node."""
    liar = Liar(*scripts, read_body=read_body)
    try:
        yield liar
    finally:
        liar.close()


def says(body: bytes, *, status: str = "200 OK", length: int | None = None) -> Script:
    """Answer with a body, and any Content-Length; then hang up."""

    def script(connection: socket.socket, _: Request) -> None:
        size = len(body) if length is None else length
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body)

    return script


def says_chunked(
    *pieces: bytes, announced: int | None = None, end: bool = True, trailer: str = ""
) -> Script:
    """Answer as Kubo does, chunked; `trailer` is an error that it met in mid-stream."""

    def script(connection: socket.socket, _: Request) -> None:
        extra = "" if announced is None else f"X-Content-Length: {announced}\r\n"
        connection.sendall(f"HTTP/1.1 200 OK\r\n{extra}Transfer-Encoding: chunked\r\n\r\n".encode())
        for piece in filter(None, pieces):  # an empty chunk would be the end
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if end:
            told = f"X-Stream-Error: {trailer}\r\n" if trailer else ""
            connection.sendall(f"0\r\n{told}\r\n".encode())

    return script


def serves(data: bytes, *, cut: int | None = None) -> Script:
    """Answer `cat` from its offset, truthfully, but hang up after `cut` bytes."""

    def script(connection: socket.socket, request: Request) -> None:
        rest = data[int(request.options["offset"]) :]
        says(rest[:cut], length=len(rest))(connection, request)

    return script


def endless(connection: socket.socket, _: Request) -> None:
    """Answer without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def silent(connection: socket.socket, _: Request) -> None:
    """Say nothing until the client hangs up."""
    connection.recv(1)


def dripping(size: int) -> Script:
    """Announce `size` bytes and send one now and then."""

    def script(connection: socket.socket, _: Request) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(2400):  # until the client hangs up
            connection.sendall(b"x")
            time.sleep(0.05)

    return script


def hangs_up(connection: socket.socket, _: Request) -> None:
    """Close without a word."""
