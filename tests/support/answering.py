"""The network of an `Rpc` as a function: from the JSON that was posted to an HTTP answer."""

import json
from collections.abc import Callable
from typing import Any

from oracle.chain.rpc import RpcError

Response = tuple[int, bytes]  # HTTP status, body

# What nodes say to a question that is too large: HTTP status, JSON-RPC code, message
REFUSALS = (
    (200, -32005, "query returned more than 10000 results. Try with this block range"),
    (200, -32005, "limit exceeded"),
    (200, -32602, "Log response size exceeded"),
    (200, -32600, "query exceeds max block range 10"),
    (200, -32614, "eth_getLogs is limited to a 10 range"),
    (200, 429, "compute units per second capacity"),
    (200, -32000, "anything else"),
    (400, 0, "bad request"),
    (413, 0, "<html>Request Entity Too Large</html>"),
    (429, 0, "slow down"),
    (503, 0, "<html>Service Unavailable</html>"),
    (504, 0, "<html>Gateway Time-out</html>"),
)


class Refused(Exception):
    """A node refuses all that was posted: one of `REFUSALS`."""


class Answering:
    """Answers by a function, which may raise urllib3's errors; remembers what was posted."""

    def __init__(self, answer: Callable[[Any], Response]) -> None:
        self.posted: list[Any] = []
        self._answer = answer

    def post(self, body: bytes) -> Response:
        self.posted.append(json.loads(body))
        return self._answer(self.posted[-1])

    def close(self) -> None:
        """There is nothing to close."""


def answered(document: Any, status: int = 200) -> Response:
    """Return a document as a server answers it."""
    return status, json.dumps(document).encode()


def answered_each(body: Any, result: Callable[[str, list[Any]], Any]) -> Response:
    """Answer a call, or each of a batch, by `result(method, params)`.

    An `RpcError` that it raises is the answer to that call, a `Refused` to all of them.
    """

    def one(call: Any) -> Any:
        try:
            return {"id": call["id"], "result": result(call["method"], call["params"])}
        except RpcError as error:
            return {"id": call["id"], "error": {"code": error.code, "message": error.message}}

    try:
        return answered([one(c) for c in body] if isinstance(body, list) else one(body))
    except Refused as refused:
        status, code, message = refused.args
        if status != 200:
            return status, message.encode()
        name = None if isinstance(body, list) else body["id"]
        return answered({"id": name, "error": {"code": code, "message": message}})
