"""A JSON-RPC proxy in this process that can stop its caller at one method, or be two nodes.

Whoever is held at a method is at a known line of its program: the place to kill it. With a `lag`
it stands for a balancer: every second request is answered as by a node that many blocks behind.
"""

import itertools
import json
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Json = dict[str, Any]


class RpcProxy:
    """Forwards calls; `hold` picks the method whose caller waits until `close`."""

    def __init__(self, target: str) -> None:
        self.lag = 0  # blocks that the second node is behind
        self.broadcasts: Counter[str] = Counter()  # how often each signed transaction came
        self.held = threading.Event()
        self._turns = itertools.count()
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
        document = json.loads(body)
        calls = document if isinstance(document, list) else [document]
        for call in calls:
            if call["method"] == "eth_sendRawTransaction":
                self.broadcasts[call["params"][0]] += 1
        holding = self._method in {call["method"] for call in calls}
        behind = self.lag and next(self._turns) % 2
        answer = b""
        if behind:
            answers = self._behind(calls)
            answer = json.dumps(answers if isinstance(document, list) else answers[0]).encode()
        elif not holding or self._forwarded:
            answer = self._forward(body)
        if holding:
            self.held.set()
            self._closed.wait()
        return answer

    def _forward(self, body: bytes) -> bytes:
        return self._node.post("", content=body, headers=_JSON).content

    # ── The node that is behind ─────────────────────────────────────────────────────────────────

    def _behind(self, calls: list[Json]) -> list[Json]:
        head = int(self._ask("eth_blockNumber", [])["result"], 16)
        top = max(0, head - self.lag)
        return [{"jsonrpc": "2.0", **self._behind_one(c, top), "id": c["id"]} for c in calls]

    def _behind_one(self, call: Json, top: int) -> Json:
        """Answer a call as a node whose head is `top`: what is newer does not exist."""
        method, params = call["method"], list(call["params"])
        if method == "eth_blockNumber":
            return {"result": hex(top)}
        if method == "eth_getLogs":
            question = params[0]
            if "blockHash" in question:
                block = self._ask("eth_getBlockByHash", [question["blockHash"], False])["result"]
                return _UNKNOWN if _newer(block, "number", top) else self._ask(method, params)
            # As go-ethereum did (#24078): a range is answered up to the node's own head
            last = min(_height(question["toBlock"], top), top)
            if _height(question["fromBlock"], top) > last:
                return {"result": []}
            return self._ask(method, [{**question, "toBlock": hex(last)}])
        if (at := _BLOCK_AT.get(method)) is not None:
            height = _height(params[at], top)
            if height > top:
                return {"result": None} if method == "eth_getBlockByNumber" else _UNKNOWN
            params[at] = hex(height)
        answer = self._ask(method, params)
        found = answer.get("result")
        late = _newer(found, "blockNumber", top) or (
            method == "eth_getBlockByHash" and _newer(found, "number", top)
        )
        return {"result": None} if late else answer

    def _ask(self, method: str, params: list[Any]) -> Json:
        body = {"jsonrpc": "2.0", "id": 0, "method": method, "params": params}
        answer: Json = json.loads(self._forward(json.dumps(body).encode()))
        return answer

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


def _height(block: str, top: int) -> int:
    if block in ("latest", "pending", "safe", "finalized"):
        return top
    return 0 if block == "earliest" else int(block, 16)


def _newer(found: Any, key: str, top: int) -> bool:
    number = found.get(key) if isinstance(found, dict) else None
    return number is not None and int(number, 16) > top


_JSON = {"content-type": "application/json"}
_UNKNOWN = {"error": {"code": -32000, "message": "header not found"}}
_BLOCK_AT = {  # which parameter names a block
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_feeHistory": 1,
    "eth_getBalance": 1,
    "eth_getBlockByNumber": 0,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
}
