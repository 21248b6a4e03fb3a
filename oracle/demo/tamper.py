"""Changes one byte of a file in the store of an IPFS node on this machine, and changes it back.

Both the embedded node and Kubo keep a block as a file named after its multihash (flatfs):
`blocks/XX/<base32 of 0x12 0x20 sha256>.data`, XX being the name's next-to-last two characters.
"""

import hashlib
from base64 import b32encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oracle.errors import NotFound
from oracle.ipfs.port import MAX_BLOCK

_SHA256_OF_32 = b"\x12\x20"  # multihash prefix


@contextmanager
def one_byte_changed(repo: Path, source: Path) -> Iterator[Path]:
    """Flip a bit in the middle of a published file's first block while the body runs.

    Args:
        repo: of the node, as `daemon.prepare` got it.
        source: the file that was published.

    Raises:
        NotFound: the block is not in the store.
    """
    with source.open("rb") as file:
        block = block_path(repo, file.read(MAX_BLOCK))
    original = block.read_bytes()
    middle = len(original) // 2
    changed = original[:middle] + bytes([original[middle] ^ 1]) + original[middle + 1 :]
    _replace(block, changed)
    try:
        yield block
    finally:
        _replace(block, original)


def block_path(repo: Path, leaf: bytes) -> Path:
    """Return where the node keeps a leaf.

    Raises:
        NotFound: it does not.
    """
    digest = hashlib.sha256(leaf).digest()
    key = b32encode(_SHA256_OF_32 + digest).decode().rstrip("=")
    for blocks in repo.glob("*/blocks"):
        path = blocks / key[-3:-1] / f"{key}.data"
        if path.exists():
            return path
    raise NotFound(f"no block {key} below {repo}", hint="was the file published to this node?")


def _replace(path: Path, data: bytes) -> None:
    """Write beside and rename: blocks are read-only and may be shared."""
    temporary = path.with_suffix(".changed")
    temporary.write_bytes(data)
    temporary.replace(path)
