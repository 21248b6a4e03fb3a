"""Every message of every task. Who sends which is told in docs/operator.md, with this table.

```
 watcher ─▶ infer, claim, deliver, post_output, finalize, respond     beat ─▶ watch
 infer ─▶ deliver, report_failure     respond ─▶ play, receipt        auditor ─▶ audit
                                                                      valuator ─▶ value
```
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from eth_utils.address import is_checksum_address
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from oracle.protocol.border import HexBytes32, HexRequestId
from oracle.queue.message import Message
from oracle.store.reply_repository import GameTurn


@dataclass(frozen=True, slots=True)
class InferMessage(Message):
    """Answer a request."""

    name: ClassVar[str] = "tallystick.infer"
    queue: ClassVar[str] = "infer"

    request_id: HexRequestId
    model_id: int
    version: int
    manifest_digest: HexBytes32
    model_root: HexBytes32
    input_root: HexBytes32
    input_cid: HexBytes32  # SHA-256 of the raw block that holds the input; 0 = `input_root` is that
    params: HexBytes32
    attempt: int = 0  # that failed on this machine before, and may succeed now


@dataclass(frozen=True, slots=True)
class DeliverMessage(Message):
    """Record the first answer whose output is on IPFS, and deliver it."""

    name: ClassVar[str] = "tallystick.deliver"
    queue: ClassVar[str] = "submit"

    request_id: HexRequestId
    output_root: HexBytes32
    output_cid: HexBytes32  # SHA-256 of the raw block that holds it; 0 = `output_root` is that
    units: int = 0  # of it, where the manifest names a unit
    attempt: int = 0  # to fetch the output's bytes that failed before


@dataclass(frozen=True, slots=True)
class ReportFailureMessage(Message):
    """Record that a request could not be answered."""

    name: ClassVar[str] = "tallystick.report_failure"
    queue: ClassVar[str] = "submit"

    request_id: HexRequestId
    error: str  # name of its class
    message: Annotated[str, Field(max_length=1000)]
    permanent: bool  # it would fail again in the same way


@dataclass(frozen=True, slots=True)
class ClaimMessage(Message):
    """Take the exclusive right to answer a request."""

    name: ClassVar[str] = "tallystick.claim"
    queue: ClassVar[str] = "submit"

    request_id: HexRequestId


@dataclass(frozen=True, slots=True)
class PostOutputMessage(Message):
    """Post the output's bytes on chain: somebody demanded them."""

    name: ClassVar[str] = "tallystick.post_output"
    queue: ClassVar[str] = "submit"

    request_id: HexRequestId


@dataclass(frozen=True, slots=True)
class FinalizeMessage(Message):
    """Settle deliveries, several in one transaction."""

    name: ClassVar[str] = "tallystick.finalize"
    queue: ClassVar[str] = "submit"

    request_ids: tuple[HexRequestId, ...]


# ── Disputes and audits ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class TraceJob:
    """A delivered request whose trace is to be made again."""

    request_id: HexRequestId
    manifest_digest: HexBytes32
    model_root: HexBytes32
    input_root: HexBytes32
    input_cid: HexBytes32  # SHA-256 of the raw block that holds the input; 0 = `input_root` is that
    output_root: HexBytes32  # as delivered


def _checked(demand: GameTurn) -> GameTurn:
    if not is_checksum_address(demand.challenger):
        raise ValueError(f"{demand.challenger!r:.80} is not an address")
    return demand


CheckedTurn = Annotated[GameTurn, AfterValidator(_checked)]


@dataclass(frozen=True, slots=True)
class RespondMessage(Message):
    """Make the answer to a demand about a delivery of ours."""

    name: ClassVar[str] = "tallystick.respond"
    queue: ClassVar[str] = "respond"

    trace: TraceJob
    demand: CheckedTurn


def _to_json(value: Any) -> Any:
    """Bytes as 0x-hex; integers of any size stay integers, which Python's JSON can hold."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return [_to_json(item) for item in value] if isinstance(value, Sequence) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, str):
        if not value.startswith("0x"):
            raise ValueError(f"{value!r:.80} is not 0x-hex")
        return bytes.fromhex(value[2:])
    if isinstance(value, list | tuple):
        return tuple(_from_json(item) for item in value)
    if not isinstance(value, int | bytes):
        raise ValueError(f"{value!r:.80} is neither a number, nor bytes, nor a list")
    return value


@dataclass(frozen=True, slots=True)
class PlayMessage(Message):
    """Send the answer to a demand: its arguments, never calldata."""

    name: ClassVar[str] = "tallystick.play"
    queue: ClassVar[str] = "submit"

    request_id: HexRequestId
    demand: CheckedTurn  # that it answers
    function: str  # commitTrace, openNode, revealLeaves or answerStep
    # After request and record: nested lists of integers and bytes, as eth_abi takes them
    arguments: Annotated[tuple[Any, ...], BeforeValidator(_from_json), PlainSerializer(_to_json)]


@dataclass(frozen=True, slots=True)
class ReceiptMessage(Message):
    """Sign what was delivered and the trace behind it."""

    name: ClassVar[str] = "tallystick.receipt"
    queue: ClassVar[str] = "submit"

    request_id: HexRequestId
    trace_root: HexBytes32


@dataclass(frozen=True, slots=True)
class AuditMessage(Message):
    """Re-execute another operator's delivery and note whether it is right."""

    name: ClassVar[str] = "tallystick.audit"
    queue: ClassVar[str] = "audit"

    trace: TraceJob


# ── The rest ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ValueMessage(Message):
    """Compute what the data of a sealed round is worth."""

    name: ClassVar[str] = "tallystick.value"
    queue: ClassVar[str] = "value"

    # Of the job's folder, which both processes share: nothing that leads out of it
    job: Annotated[str, Field(pattern=r"^[0-9]{1,20}-[0-9a-f]{16}$")]


@dataclass(frozen=True, slots=True)
class WatchMessage(Message):
    """Look at the chain once and put on the queues what is due."""

    name: ClassVar[str] = "tallystick.watch"
    queue: ClassVar[str] = "watch"


MESSAGES: tuple[type[Message], ...] = (
    InferMessage,
    DeliverMessage,
    ReportFailureMessage,
    ClaimMessage,
    PostOutputMessage,
    FinalizeMessage,
    RespondMessage,
    PlayMessage,
    ReceiptMessage,
    AuditMessage,
    ValueMessage,
    WatchMessage,
)
QUEUES: tuple[str, ...] = tuple(dict.fromkeys(message.queue for message in MESSAGES))
