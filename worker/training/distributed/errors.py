"""What can go wrong in a training run; a run's last good checkpoint is kept in every case."""

from oracle.errors import DigestMismatch, InputInvalid, PermanentError, TransientError


class RanksDiffer(DigestMismatch):
    """Ranks hold other parameters, optimizer states or data orders than they must."""


class CheckpointDamaged(InputInvalid):
    """A checkpoint is cut short, or holds other bytes than were written."""


class CheckpointForeign(InputInvalid):
    """A checkpoint was written by another job, or by another division of its data."""


class RankVanished(TransientError):
    """A rank ended, or did not answer in time."""


class RunDiverged(PermanentError):
    """The loss is no finite number any more."""

    exit_code = 70  # EX_SOFTWARE
