"""A JSON-RPC proxy in this process that can stop its caller at one method.

Whoever is held there is at a known line of its program: the place to kill it.
"""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class RpcProxy:
    """Forwards calls; `hold` picks the method whose caller waits until `close`."""

    def __init__(self, target: str) -> None:
        self.held = threading.Event()
        self._method = ""
        self._forwarded = False
        self._closed = threading.Event()
        self._node = httpx.Client(base_url=target, trust_env=False, timeout=120)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hold(self, method: str, *, forwarded: bool) -> None:
        """Let nobody past a method; `forwarded`: the node gets the call, the caller no answer."""
        self._method, self._forwarded = method, forwarded

    def close(self) -> None:
        """Stop; whoever is held is cut off."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._node.close()

    def _answer(self, body: bytes) -> bytes:
        calls = json.loads(body)
        methods = {call["method"] for call in (calls if isinstance(calls, list) else [calls])}
        holding = self._method in methods
        answer = b"" if holding and not self._forwarded else self._forward(body)
        if holding:
            self.held.set()
            self._closed.wait()
        return answer

    def _forward(self, body: bytes) -> bytes:
        return self._node.post("", content=body, headers=_JSON).content

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = proxy._answer(body)
                with suppress(OSError):  # whoever was held has been killed
                    self.send_response(200)
                    self.send_header("content-type", _JSON["content-type"])
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


_JSON = {"content-type": "application/json"}
