"""What the store is told, as values: logs with the ids they are looked up by, and failures."""

from dataclasses import dataclass
from typing import NamedTuple

from oracle.errors import PermanentError
from oracle.types import Log, RequestId


class RewindNeeded(PermanentError):
    """A log stands where another block's log is stored: the chain changed, rewind first."""


class StoredLog(NamedTuple):  # there are many: a tuple is made in a third of a dataclass's time
    """One raw log and what it is about; both ids come from `oracle.chain.logs.keys`."""

    log: Log
    request_id: RequestId | None = None
    model_id: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """One failed attempt, as a worker reported it."""

    request_id: RequestId
    error: str  # name of the class
    message: str
    permanent: bool
    recorded_at: float  # unix seconds
