"""Fetches inputs by digest; one that is slow to be found is looked for in the background.

```
 quick (1 s) ──found──▶ bytes
     └──not yet──▶ InputLate: the job goes back to the queue … comes again ──▶ bytes
                   patient (ipfs_timeout), in the background ───────────────▶ or CidUnresolved
```
Anybody can ask about an input that nobody serves, and has the fee back later: it must not hold up
the requests beside it.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

from oracle.ipfs.port import MAX_BLOCK, CidUnresolved, Ipfs
from oracle.protocol import cid
from oracle.types import Bytes32

QUICK = 1.0  # seconds that a batch waits for an input
SEARCHES = 32  # in the background at a time
_KEEP = 1024  # searches whose outcome nobody asked for yet


class InputLate(CidUnresolved):
    """The input is not found yet; it is being looked for."""


class InputSource:
    """Where a process gets inputs from. Safe for threads."""

    def __init__(self, quick: Ipfs, patient: Ipfs, searches: ThreadPoolExecutor) -> None:
        """Take a client that gives up soon, one that does not, and threads for the second."""
        self._quick = quick
        self._patient = patient
        self._threads = searches
        self._found: OrderedDict[Bytes32, Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, block: Bytes32) -> bytes:
        """Return the bytes of a raw block.

        Raises:
            InputLate: not found quickly; ask again later.
            CidUnresolved: not found at all.
            InputInvalid: above 1 MiB. DigestMismatch, Unavailable: see `Ipfs.fetch_bytes`.
        """
        with self._lock:
            search = self._found.get(block)
            if search is not None and search.done():
                del self._found[block]
        if search is not None and search.done():
            return search.result()
        if search is None:
            try:
                return self._quick.fetch_bytes(cid.raw_cid(block), MAX_BLOCK)
            except CidUnresolved:
                self._search(block)
        raise InputLate(
            f"the input {cid.raw_cid(block)} is not found yet", hint="it is being looked for"
        )

    def _search(self, block: Bytes32) -> None:
        with self._lock:
            if block not in self._found:
                self._found[block] = self._threads.submit(
                    self._patient.fetch_bytes, cid.raw_cid(block), MAX_BLOCK
                )
            while len(self._found) > _KEEP:
                self._found.popitem(last=False)[1].cancel()
