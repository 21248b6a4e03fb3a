"""What an operator remembers: chain facts that a reorg may take back, and its own promises."""

from oracle.store.facts import AttemptFailure, RewindNeeded, StoredLog
from oracle.store.store import Store
from oracle.store.transaction import Transaction

__all__ = ["AttemptFailure", "RewindNeeded", "Store", "StoredLog", "Transaction"]
