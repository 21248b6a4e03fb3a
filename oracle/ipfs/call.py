"""One call of the RPC, taken apart, and its answer. Knows nothing of HTTP or of commands."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oracle.errors import InputInvalid
from oracle.ipfs.request_body import Parts


@dataclass(frozen=True, slots=True)
class Bytes:
    """An answer of `size` bytes, streamed."""

    size: int  # -1 = not known before
    pieces: Iterator[bytes]
    media_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request, taken apart."""

    command: str  # its path, such as `block/get`
    args: tuple[str, ...]
    options: Mapping[str, str]  # what else the query says
    body: Parts | None

    def flag(self, name: str, default: bool) -> bool:
        """Return an option that is true or false (as Kubo or as Python spells it).

        Raises:
            InputInvalid: it is neither.
        """
        value = self.options.get(name, "true" if default else "false").lower()
        if value not in ("true", "false"):
            raise InputInvalid(f"{name}={value[:40]} is not true or false")
        return value == "true"

    def number(self, name: str, default: int) -> int:
        """Return an option that is a number of bytes.

        Raises:
            InputInvalid: it is not.
        """
        value = self.options.get(name, str(default))
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise InputInvalid(f"{name}={value[:40]} is not a number of bytes")
        return int(value)

    def parts(self) -> Iterator[Parts]:
        """Yield the parts of the body, of which there must be one.

        Raises:
            InputInvalid: there is none.
        """
        found = False
        while self.body is not None and self.body.next_part():
            found = True
            yield self.body
        if not found:
            raise InputInvalid("file argument is required", hint="send it as multipart/form-data")

    def arg(self, at: int = 0) -> str:
        """Return an argument.

        Raises:
            InputInvalid: it is missing.
        """
        if len(self.args) <= at or not self.args[at]:
            raise InputInvalid('argument "ipfs-path" is required')
        return self.args[at]


Answer = list[dict[str, Any]] | Bytes


def encode(answer: list[dict[str, Any]]) -> bytes:
    """Return the lines of JSON that Kubo would send."""
    return b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in answer)
