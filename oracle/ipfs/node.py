"""The embedded IPFS node: `python -m oracle.ipfs.node --repo DIR --port N`, the RPC over HTTP.

It listens on 127.0.0.1 only and talks to no other node. Like Kubo it answers POST alone and no
request that a web page could have made (a foreign Origin, Referer or Host), since whoever
reaches it may write to the disk. Prints `ready http://127.0.0.1:PORT` when it listens.
"""

import argparse
import asyncio
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from oracle.errors import ConfigInvalid, InputInvalid, TallystickError
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.call import ApiCall, Bytes, encode
from oracle.ipfs.commands import Commands
from oracle.ipfs.request_body import SILENCE, Body, Parts

T = TypeVar("T")
_LOCAL_NAMES = {"127.0.0.1", "localhost"}
_THREADS = 256  # commands at once
_GRACE = 2  # seconds that running commands get at the end


def require_local(request: Request) -> None:
    """Refuse what a web page could have sent.

    Raises:
        HTTPException: 403.
    """
    host = request.headers.get("host", "")
    port = request.scope["server"][1]
    own = {f"http://{name}:{port}" for name in _LOCAL_NAMES}
    origin, referer = request.headers.get("origin"), request.headers.get("referer")
    parts = urlsplit(referer or "")
    if (
        # a name that a hostile DNS server pointed at us
        (host.rpartition(":")[0] not in _LOCAL_NAMES and host not in _LOCAL_NAMES)
        or (referer is not None and f"{parts.scheme}://{parts.netloc}" not in own)
        or (origin is not None and origin not in own)
    ):
        raise HTTPException(403, "403 - Forbidden")


def create_app(commands: Commands) -> Starlette:
    """Return the RPC."""
    pool = ThreadPoolExecutor(_THREADS, "command")

    async def in_thread(function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, function)

    async def stream(first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        try:
            while piece := await in_thread(lambda: next(pieces, b"")):
                yield piece
        except TallystickError as error:
            # Too late for a status: a short answer tells the client, a retry gets the message
            print(error, file=sys.stderr, flush=True)
            raise

    async def run(command: str, request: Request) -> Response:
        options, args = {}, []
        for name, value in parse_qsl(request.url.query, keep_blank_values=True):
            options[name] = value
            if name == "arg":
                args.append(value)
        kind = request.headers.get("content-type", "")
        if not kind.startswith("multipart/"):
            call = ApiCall(command, tuple(args), options, None)
            return await answer(call)
        body = Body()
        feeding = asyncio.create_task(body.feed(request.receive))
        try:
            return await answer(ApiCall(command, tuple(args), options, Parts(kind, body.next)))
        except TallystickError:
            await in_thread(body.drain)
            raise
        finally:
            feeding.cancel()

    async def answer(call: ApiCall) -> Response:
        found = await in_thread(lambda: commands.run(call))
        if not isinstance(found, Bytes):
            return Response(encode(found), media_type="application/json")
        # A damaged or missing block is an error while it can be
        first = await in_thread(lambda: next(found.pieces, b""))
        size = str(found.size)
        length = {"X-Content-Length": size, "Content-Length": size} if found.size >= 0 else {}
        return StreamingResponse(
            stream(first, found.pieces), headers=length, media_type=found.media_type
        )

    async def call(request: Request) -> Response:
        require_local(request)
        try:
            return await run(request.path_params["command"], request)
        except TallystickError as error:
            return fail(error)
        except OSError as error:  # a full disk, say
            return fail(ConfigInvalid(f"the node cannot go on: {error}"))

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "registered for those alone"
        headers = {**(error.headers or {}), "Connection": "close"}
        return PlainTextResponse(f"{error.detail}\n", error.status_code, headers)

    return Starlette(
        routes=[Route("/api/v0/{command:path}", call, methods=["POST"])],
        exception_handlers={HTTPException: refuse},
    )


def fail(error: TallystickError) -> Response:
    """Return an error as Kubo tells it."""
    answer = {"Message": str(error), "Code": 0, "Type": "error"}
    return Response(
        encode([answer]),
        400 if isinstance(error, InputInvalid) else 500,
        {"Connection": "close"},  # what is left of the body is not read
        "application/json",
    )


class Server:
    """The node on a port of loopback."""

    def __init__(self, port: int, commands: Commands) -> None:
        """Listen; 0 = a free port.

        Raises:
            OSError: the port is taken.
        """
        self.commands = commands
        self._socket = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            create_app(commands),
            http="httptools",
            log_config=None,
            log_level="error",  # what the client is told is no error; what nobody foresaw is
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            timeout_keep_alive=int(SILENCE),
            timeout_graceful_shutdown=_GRACE,
        )
        self._server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        """Where the RPC is."""
        return f"http://127.0.0.1:{self.port}"

    def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Make `run` return."""
        self._server.should_exit = True


def _follow(server: Server) -> None:
    """Stop when who started us is gone, kill -9 included: our standard input ends then."""
    sys.stdin.buffer.read()
    server.stop()


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
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when it has stopped
        signal.signal(number, lambda *_: server.stop())
    if parsed.follow:
        threading.Thread(target=_follow, args=(server,), daemon=True).start()
    print(f"ready {server.url}", flush=True)
    server.run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
