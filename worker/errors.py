"""What can go wrong with somebody's model; the worker reports the class's name with the message."""

from oracle.errors import DigestMismatch, PermanentError, TransientError


class ModelRefused(PermanentError):
    """The files of a model are not what we are willing to load."""

    exit_code = 65  # EX_DATAERR


class PickleRefused(ModelRefused):
    """A file is, or holds, a pickle: loading it would run code of whoever made it."""


class ArchiveRefused(ModelRefused):
    """An archive is compressed, overlapping, oversized or damaged (a zip bomb, a truncation)."""


class WeightsInvalid(ModelRefused):
    """Weights are cut short, or their header lies about shapes, dtypes or offsets."""


class ModelUnsupported(ModelRefused):
    """The model needs an operator, architecture, option or device that we do not have."""


class ModelStuck(ModelRefused):
    """Its file is not loaded, its template not rendered, or a pass not over, in the time for it."""


class ModelFailed(PermanentError):
    """The model raised an error on an input that its manifest allows."""

    exit_code = 70  # EX_SOFTWARE


class EngineDied(TransientError):
    """The process that writes text ended in the middle; it is started anew."""


class EngineUnfit(PermanentError):
    """The operator's engine does not take the question, or tells less than the draw needs."""

    exit_code = 78  # EX_CONFIG


class OutputInvalid(ModelFailed):
    """The output does not fit the manifest: name, dtype, shape, NaN."""


class OutputTooLarge(OutputInvalid):
    """The canonical output is above `max_output_bytes`."""


class CacheTampered(DigestMismatch):
    """A cached file changed on disk, and fetching it again did not help."""


class CacheFull(TransientError):
    """Nothing can be evicted to make room: the rest is in use."""


class DeviceFull(TransientError):
    """The device has no memory left for this model or batch."""
