"""The network of an `Rpc` as a function: from the JSON that was posted to an HTTP answer."""

import json
from collections.abc import Callable
from typing import Any

Response = tuple[int, bytes]  # HTTP status, body


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
