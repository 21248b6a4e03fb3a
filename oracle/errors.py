"""One error hierarchy. Whether to try again is a property of the class; what to do is in the text.

Every module raises these (or subclasses beside the code that raises them); each process catches
them in one place. `exit_code` is what the command line returns.
"""

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class TallystickError(Exception):
    """Base of every error we raise. `hint` says what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class TransientError(TallystickError):
    """May succeed when tried again: an unreachable node, a time-out, a full queue."""

    exit_code = 75  # EX_TEMPFAIL


class PermanentError(TallystickError):
    """Will fail again in the same way until something else is changed."""


class InputInvalid(PermanentError):
    """What the user gave does not fit: shape, dtype, NaN, bounds, format."""

    exit_code = 65  # EX_DATAERR


class ConfigInvalid(PermanentError):
    """A setting is missing or wrong."""

    exit_code = 78  # EX_CONFIG


class NotFound(PermanentError):
    """Something named does not exist: model, version, request, key."""

    exit_code = 66  # EX_NOINPUT


class DigestMismatch(PermanentError):
    """Bytes do not have the digest that the chain or the manifest promises."""

    exit_code = 76  # EX_PROTOCOL


class Refused(PermanentError):
    """A contract said no; the subclass or message carries the contract's error."""

    exit_code = 77  # EX_NOPERM


class Unavailable(TransientError):
    """A server (RPC, IPFS, Redis, store) cannot be reached or answered nonsense."""

    exit_code = 69  # EX_UNAVAILABLE


class DiskUnusable(Unavailable):
    """A disk is full, read-only or broken; what was promised before is kept."""

    exit_code = 74  # EX_IOERR

    @classmethod
    def of(cls, error: OSError) -> "DiskUnusable | None":
        """Return what a system's error says about a disk; None when it says something else."""
        if error.errno not in _OF_A_DISK:
            return None
        where = f"{error.filename}: " if error.filename else ""
        return cls(f"{where}{error.strerror}", hint="free or mend the disk; nothing stored is lost")


_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return the beginning of a hint: the closest known name as a question, or nothing."""
    close = get_close_matches(given, tuple(known), n=1)
    return f"did you mean {close[0]}? " if close else ""
