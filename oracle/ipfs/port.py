"""What the rest of the system asks of IPFS: publish bytes, fetch them back, verified.

Knows nothing of HTTP or nodes. `client.IpfsClient` is the real one, `memory.MemoryIpfs` the one
that lives in a dictionary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oracle.errors import TransientError, Unavailable
from oracle.types import Bytes32, Cid

Progress = Callable[[int, int], None]  # (bytes done, bytes in total)

MAX_BLOCK = 1 << 20  # bytes: what `publish_bytes` takes, and the size of a leaf of a file


class CidUnresolved(TransientError):
    """Nobody who could be asked has the bytes of a CID (in time); someone may have them later."""

    exit_code = 66  # EX_NOINPUT


class Stalled(Unavailable):
    """The node is silent, or so slow that it might as well be."""


class Interrupted(Unavailable):
    """The connection broke or ended before everything was said."""


@dataclass(frozen=True, slots=True)
class Published:
    """Bytes that are on IPFS under `cid`."""

    cid: Cid
    sha256: Bytes32  # of the bytes themselves, not of the CID's tree
    size: int  # bytes


class Ipfs(Protocol):
    """The port. Every implementation verifies what it hands out."""

    def publish_file(self, path: Path, progress: Progress | None = None) -> Published:
        """Publish and pin a file of any size, streaming.

        Raises:
            DigestMismatch: the node names another CID than the bytes have.
            Unavailable: the node cannot be reached, stalls, or answers nonsense.
            InputInvalid: the file cannot be read, or changed while it was read.
        """
        ...

    def publish_bytes(self, data: bytes) -> Published:
        """Publish and pin one raw block of at most MAX_BLOCK bytes: its CID is its SHA-256.

        Raises:
            InputInvalid: longer than MAX_BLOCK.
            DigestMismatch, Unavailable: as in `publish_file`.
        """
        ...

    def fetch_file(
        self, cid: Cid, target: Path, sha256: Bytes32, size: int, progress: Progress | None = None
    ) -> None:
        """Put the bytes of `cid` at `target`, which appears only when complete and verified.

        Never writes more than `size` bytes. An interrupted transfer leaves `target.part` and
        goes on from there.

        Raises:
            CidUnresolved: nobody has the bytes (in time).
            DigestMismatch: the bytes are not those promised (digest, or longer or shorter).
            Unavailable: the node cannot be reached, stalls, or answers nonsense.
        """
        ...

    def fetch_bytes(self, cid: Cid, max_bytes: int) -> bytes:
        """Return the bytes of `cid`, verified against the CID itself.

        Raises:
            InputInvalid: there are more than `max_bytes` of them, or `cid` is not a CID.
            CidUnresolved, DigestMismatch, Unavailable: as in `fetch_file`.
        """
        ...

    def pin(self, cid: Cid) -> None:
        """Keep the bytes of `cid` on the node.

        Raises:
            CidUnresolved, Unavailable: as in `fetch_file`.
        """
        ...

    def unpin(self, cid: Cid) -> None:
        """Let the node forget `cid` when it collects garbage; not pinned is fine.

        Raises:
            Unavailable: as in `fetch_file`.
        """
        ...

    def version(self) -> str:
        """Name and version of what answers.

        Raises:
            Unavailable: nothing does.
        """
        ...
