"""An endpoint's answer as server-sent events (docs/channels.md, "Events"), read from a stranger.

```
 queued · running · piece … ─▶ answered {receipt, output} | failed {status, code, detail, hint}
```
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oracle.protocol import channel_wire
from oracle.protocol.pieces import PieceTeller


class EventsBroken(ValueError):
    """What came is not what an endpoint says, or it ends too early."""


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """The last event of a question that was not answered; nothing was charged."""

    status: int
    content: bytes  # the problem as JSON


def answer(stream: Iterable[bytes], heard: PieceTeller) -> tuple[str, bytes] | StreamFailure:
    """Return the receipt's header and the answer, as they came; each piece is told on the way.

    Raises:
        EventsBroken: the stream is malformed or cut short.
    """
    try:
        for name, facts in _events(stream):
            if name == "piece":
                heard.piece(str(facts["text"]))
            elif name == "answered":
                receipt = channel_wire.receipt_of(facts["receipt"])
                output = base64.b64decode(facts["output"], validate=True)
                return channel_wire.receipt_header(receipt), output
            elif name == "failed":
                return StreamFailure(int(facts["status"]), json.dumps(facts).encode())
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise EventsBroken(f"the stream of events is malformed: {error}") from error
    raise EventsBroken("the stream of events ends without an answer")


def _events(stream: Iterable[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and data of events; the name is in the data, too."""
    waiting = bytearray()
    for piece in stream:
        looked = max(0, len(waiting) - 1)
        waiting += piece
        while (end := waiting.find(b"\n\n", looked)) >= 0:
            event, looked = bytes(waiting[:end]), 0
            del waiting[: end + 2]
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    facts = json.loads(line[6:])
                    yield str(facts["name"]), facts
