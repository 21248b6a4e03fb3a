"""What travels on the queues in a dispute, as values: demands in, arguments of answers out.

```
 watcher ─respond─▶ responder ─play─▶ submitter          responder ─receipt─▶ submitter
```
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.address import is_checksum_address

from oracle.chain.codec import plain
from oracle.errors import InputInvalid
from oracle.queue.messages import parse_bytes32, to_hex
from oracle.store.reply_repository import GameTurn, ReplyKind
from oracle.types import Address, Bytes32, RequestId, Timestamp

RESPOND = "tallystick.respond"
PLAY = "tallystick.play"
RECEIPT = "tallystick.receipt"


@dataclass(frozen=True, slots=True)
class TraceJob:
    """A delivered request whose trace is to be made again."""

    request_id: RequestId
    manifest_digest: Bytes32
    model_root: Bytes32
    input_root: Bytes32
    input_cid: Bytes32  # SHA-256 of the raw block that holds the input; 0 = `input_root` is that
    output_root: Bytes32  # as delivered


@dataclass(frozen=True, slots=True)
class RespondJob:
    """One demand about a delivery of ours."""

    trace: TraceJob
    demand: GameTurn

    @classmethod
    def parse(cls, payload: Mapping[str, Any]) -> "RespondJob":
        """Read the payload of `tallystick.respond`.

        Raises:
            InputInvalid: a field is missing or malformed.
        """
        try:
            names = ("manifest_digest", "model_root", "input_root", "input_cid", "output_root")
            digests = [parse_bytes32(payload[name]) for name in names]
            trace = TraceJob(RequestId(parse_bytes32(payload["request_id"])), *digests)
            return cls(trace, _demand(payload))
        except (KeyError, TypeError, ValueError) as error:
            raise InputInvalid(f"malformed respond message: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Move:
    """An answer: which function of the game, and its arguments after request and record."""

    request_id: RequestId
    demand: GameTurn  # that it answers
    function: str  # commitTrace, openNode, revealLeaves or answerStep
    arguments: tuple[Any, ...]  # nested sequences of integers and bytes, as eth_abi takes them

    def payload(self) -> dict[str, Any]:
        """Return the payload of `tallystick.play`."""
        demand = self.demand
        return {
            "request_id": to_hex(self.request_id),
            "challenger": demand.challenger,
            "ask": demand.ask.value,
            "place": [demand.op, demand.first, demand.second],
            "deadline": demand.deadline,
            "function": self.function,
            "arguments": _to_json(plain(self.arguments)),
        }

    @classmethod
    def parse(cls, payload: Mapping[str, Any]) -> "Move":
        """Read the payload of `tallystick.play`.

        Raises:
            InputInvalid: a field is missing or malformed.
        """
        try:
            request_id = RequestId(parse_bytes32(payload["request_id"]))
            arguments = tuple(_from_json(value) for value in payload["arguments"])
            return cls(request_id, _demand(payload), str(payload["function"]), arguments)
        except (KeyError, TypeError, ValueError) as error:
            raise InputInvalid(f"malformed play message: {error!r}") from error


def _demand(payload: Mapping[str, Any]) -> GameTurn:
    op, first, second = (int(number) for number in payload["place"])
    challenger = payload["challenger"]
    if not isinstance(challenger, str) or not is_checksum_address(challenger):
        raise ValueError(f"{challenger!r:.80} is not an address")
    deadline = Timestamp(int(payload["deadline"]))
    return GameTurn(Address(challenger), ReplyKind(payload["ask"]), deadline, op, first, second)


def _to_json(value: Any) -> Any:
    """Bytes as 0x-hex; integers of any size stay integers, which Python's JSON can hold."""
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_to_json(item) for item in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, str):
        if not value.startswith("0x"):
            raise ValueError(f"{value!r:.80} is not 0x-hex")
        return bytes.fromhex(value[2:])
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, int):
        raise TypeError(f"{value!r:.80} is neither a number, nor bytes, nor a list")
    return value
