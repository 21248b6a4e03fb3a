"""IPFS in a dictionary: the port without a node, for tests and for trying things out.

The same CIDs and the same errors as the real client; `forget` and `tamper` make it misbehave.
"""

import hashlib
from pathlib import Path

from oracle.errors import DigestMismatch, InputInvalid
from oracle.ipfs.port import MAX_BLOCK, CidUnresolved, Progress, Published
from oracle.ipfs.unixfs import file_cid
from oracle.private_files import make_folder
from oracle.protocol.cid import parse
from oracle.types import Bytes32, Cid


class MemoryIpfs:
    """Implements `port.Ipfs`."""

    def __init__(self) -> None:
        self._files: dict[Cid, bytes] = {}
        self.pinned: set[Cid] = set()

    def publish_file(self, path: Path, progress: Progress | None = None) -> Published:
        """Publish and pin a file (see `port.Ipfs`)."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputInvalid(f"{path} cannot be read: {error}") from error
        if progress:
            progress(len(data), len(data))
        return self._keep(data)

    def publish_bytes(self, data: bytes) -> Published:
        """Publish and pin one raw block (see `port.Ipfs`)."""
        if len(data) > MAX_BLOCK:
            raise InputInvalid(
                f"{len(data)} bytes do not fit into one block of {MAX_BLOCK}",
                hint="publish them as a file",
            )
        return self._keep(data)

    def fetch_file(
        self, cid: Cid, target: Path, sha256: Bytes32, size: int, progress: Progress | None = None
    ) -> None:
        """Put verified bytes at `target` (see `port.Ipfs`)."""
        data = self._read(cid)
        if len(data) != size or hashlib.sha256(data).digest() != sha256:
            raise DigestMismatch(
                f"{target.name}: {cid} is not the {size} bytes with SHA-256 {sha256.hex()}"
            )
        make_folder(target.parent)
        part = target.with_name(target.name + ".part")
        part.write_bytes(data)
        part.rename(target)
        if progress:
            progress(size, size)

    def fetch_bytes(self, cid: Cid, max_bytes: int) -> bytes:
        """Return verified bytes (see `port.Ipfs`)."""
        data = self._read(cid)
        if len(data) > max_bytes:
            raise InputInvalid(f"{cid} has more than the {max_bytes} bytes that are allowed here")
        if file_cid(data).text() != cid:
            raise DigestMismatch(f"{len(data)} bytes are not those of {cid}")
        return data

    def pin(self, cid: Cid) -> None:
        """Keep `cid` (see `port.Ipfs`)."""
        self._read(cid)
        self.pinned.add(cid)

    def unpin(self, cid: Cid) -> None:
        """Give a pin up (see `port.Ipfs`)."""
        parse(cid)
        self.pinned.discard(cid)

    def version(self) -> str:
        """Return what answers."""
        return "memory"

    def forget(self, cid: Cid) -> None:
        """Lose the bytes, as when nobody serves them any more."""
        self._files.pop(cid, None)
        self.pinned.discard(cid)

    def tamper(self, cid: Cid, data: bytes) -> None:
        """Serve other bytes under a CID, as a node that lies."""
        self._files[cid] = data

    def _keep(self, data: bytes) -> Published:
        cid = file_cid(data).text()
        self._files[cid] = data
        self.pinned.add(cid)
        return Published(cid, Bytes32(hashlib.sha256(data).digest()), len(data))

    def _read(self, cid: Cid) -> bytes:
        parse(cid)
        if cid not in self._files:
            raise CidUnresolved(f"could not find {cid}", hint="nobody published it here")
        return self._files[cid]
