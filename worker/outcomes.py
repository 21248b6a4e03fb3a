"""What became of a job: an answer whose output is on IPFS, or an error."""

from dataclasses import dataclass

from oracle.errors import TransientError
from oracle.queue.messages import DeliverMessage, ReportFailureMessage
from oracle.types import Bytes32, RequestId

MAX_MESSAGE = 1000  # characters of a report


@dataclass(frozen=True, slots=True)
class Answered:
    """The canonical output is on IPFS."""

    request_id: RequestId
    output_root: Bytes32
    output_cid: Bytes32  # SHA-256 of the raw block that holds it; 0 = `output_root` is that
    units: int = 0  # of it, where the manifest names a unit

    def message(self) -> DeliverMessage:
        """Return what tells the submitter."""
        return DeliverMessage(self.request_id, self.output_root, self.output_cid, self.units)


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer; `error` carries whether to try again."""

    request_id: RequestId
    error: Exception

    @property
    def permanent(self) -> bool:
        """Whether it would fail again in the same way."""
        return not isinstance(self.error, TransientError)

    @property
    def reason(self) -> str:
        """What was wrong and what to do, in words."""
        hint = getattr(self.error, "hint", "")
        return f"{self.error}{f' ({hint})' if hint else ''}"[:MAX_MESSAGE]

    def message(self) -> ReportFailureMessage:
        """Return what tells the submitter."""
        name = type(self.error).__name__
        return ReportFailureMessage(self.request_id, name, self.reason, self.permanent)


Outcome = Answered | Failed
