"""What an operator remembers: chain facts that a reorg may take back, and its own promises."""

from oracle.store.chain_repository import RewindNeeded, StoredLog
from oracle.store.job import AttemptFailure
from oracle.store.store import Store, Transaction

__all__ = ["AttemptFailure", "RewindNeeded", "Store", "StoredLog", "Transaction"]
