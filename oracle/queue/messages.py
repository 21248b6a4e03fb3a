"""What travels on the queues, as values: JSON with bytes as 0x-hex at the border, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracle.errors import InputInvalid, TransientError
from oracle.types import Bytes32, RequestId

INFER = "tallystick.infer"
DELIVER = "tallystick.deliver"
REPORT_FAILURE = "tallystick.report_failure"
CLAIM = "tallystick.claim"
POST_OUTPUT = "tallystick.post_output"
FINALIZE = "tallystick.finalize"


@dataclass(frozen=True, slots=True)
class InferJob:
    """One request to answer."""

    request_id: RequestId
    model_id: int
    version: int
    manifest_digest: Bytes32
    model_root: Bytes32
    input_root: Bytes32
    input_cid: Bytes32  # SHA-256 of the raw block that holds the input; 0 = `input_root` is that
    params: Bytes32

    @classmethod
    def parse(cls, payload: Mapping[str, Any]) -> "InferJob":
        """Read the payload of `tallystick.infer`.

        Raises:
            InputInvalid: a field is missing or malformed.
        """
        try:
            return cls(
                request_id=RequestId(parse_bytes32(payload["request_id"])),
                model_id=int(payload["model_id"]),
                version=int(payload["version"]),
                **{
                    name: parse_bytes32(payload[name])
                    for name in (
                        "manifest_digest",
                        "model_root",
                        "input_root",
                        "input_cid",
                        "params",
                    )
                },
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputInvalid(f"malformed infer message: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Answered:
    """The canonical output is on IPFS."""

    request_id: RequestId
    output_root: Bytes32
    output_cid: Bytes32  # SHA-256 of the raw block that holds it; 0 = `output_root` is that

    def payload(self) -> dict[str, Any]:
        """Return the payload of `tallystick.deliver`."""
        return {
            "request_id": to_hex(self.request_id),
            "output_root": to_hex(self.output_root),
            "output_cid": to_hex(self.output_cid),
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer; `error` carries whether to try again."""

    request_id: RequestId
    error: Exception

    @property
    def permanent(self) -> bool:
        """Whether it would fail again in the same way."""
        return not isinstance(self.error, TransientError)

    def payload(self) -> dict[str, Any]:
        """Return the payload of `tallystick.report_failure`."""
        hint = getattr(self.error, "hint", "")
        message = f"{self.error}{f' ({hint})' if hint else ''}"
        return {
            "request_id": to_hex(self.request_id),
            "error": type(self.error).__name__,
            "message": message[:1000],
            "permanent": self.permanent,
        }


Outcome = Answered | Failed


def parse_bytes32(text: Any) -> Bytes32:
    """Read 32 bytes from 0x-hex.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(text, str) or not text.startswith("0x") or len(text) != 66:
        raise ValueError(f"{text!r:.80} is not 32 bytes of 0x-hex")
    return Bytes32(bytes.fromhex(text[2:]))


def to_hex(data: bytes) -> str:
    """Return 0x-hex."""
    return "0x" + data.hex()
