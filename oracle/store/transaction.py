"""One transaction on the store: everything in it happens, or nothing."""

from oracle.store.chain_part import ChainPart
from oracle.store.job_part import JobPart


class Transaction(ChainPart, JobPart):
    """What `Store.begin` and `Store.read` hand out; of no use after their block."""
