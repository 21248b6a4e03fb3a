"""What an operator remembers: chain facts that a reorg may take back, and its own promises."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracle.store.chain_repository import RewindNeeded, StoredLog
    from oracle.store.job import AttemptFailure
    from oracle.store.store import Store, Transaction

__all__ = ["AttemptFailure", "RewindNeeded", "Store", "StoredLog", "Transaction"]
_PLACES = {
    "AttemptFailure": "job",
    "RewindNeeded": "chain_repository",
    "StoredLog": "chain_repository",
}


def __getattr__(name: str) -> Any:
    """Import a name at first use: SQLAlchemy takes 0.25 s, `oracle.store.job` nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'store')}"), name)
