"""Finds a version's record among a model's logs: whoever answers for a request must bring it."""

from collections.abc import Iterable

from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.logs import decode_all
from oracle.errors import NotFound
from oracle.types import Log, VersionRecord


def record_of(logs: Iterable[Log], version: int) -> VersionRecord:
    """Return the record of one version.

    Args:
        logs: of one model, `VersionPublished` among them.
        version: its number.

    Raises:
        NotFound: no log publishes it.
    """
    for event in decode_all(logs):
        if isinstance(event, VersionPublished) and event.record.version == version:
            return event.record
    raise NotFound(
        f"the store knows no version {version} of this model, but a request of it",
        hint="move the store's file away: the watcher rebuilds it from the chain",
    )
