"""Manifests by their digests, remembered: what a digest names never changes."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from oracle.errors import DigestMismatch, InputInvalid
from oracle.ipfs.port import CidUnresolved, Ipfs
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import MAX_BYTES, Manifest
from oracle.types import Bytes32

_Kept = TypeVar("_Kept")
KEPT = 512
ASKED_AGAIN = 30.0  # seconds after nobody had one


class Manifests:
    """Fetches manifests; safe to share between threads."""

    def __init__(self, ipfs: Ipfs, clock: Callable[[], float] = time.monotonic) -> None:
        self._ipfs = ipfs
        self._clock = clock
        self._kept: OrderedDict[Bytes32, Manifest] = OrderedDict()
        self._missing: OrderedDict[Bytes32, float] = OrderedDict()  # when it was asked for
        self._lock = threading.Lock()

    def get(self, digest: Bytes32) -> Manifest | None:
        """Return the manifest of this digest, or None when nobody has (right) bytes."""
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return self._kept[digest]
            asked = self._missing.get(digest)
        if asked is not None and self._clock() - asked < ASKED_AGAIN:
            return None
        try:
            found = Manifest.parse(self._ipfs.fetch_bytes(raw_cid(digest), MAX_BYTES))
        except (CidUnresolved, DigestMismatch, InputInvalid):
            with self._lock:
                _keep(self._missing, digest, self._clock())
            return None
        with self._lock:
            self._missing.pop(digest, None)
            _keep(self._kept, digest, found)
        return found


def _keep(kept: OrderedDict[Bytes32, _Kept], digest: Bytes32, value: _Kept) -> None:
    kept[digest] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
