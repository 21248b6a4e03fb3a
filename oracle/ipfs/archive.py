"""A file or folder of the block store as a tar stream, which `get` of Kubo answers."""

import tarfile
import zlib
from collections.abc import Iterator

from oracle.ipfs import files
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.cid import Link
from oracle.ipfs.folders import check_name, read_folder

_GZIP = 31  # zlib's window bits for gzip


def tar(store: BlockStore, link: Link, name: str, *, compress: bool) -> Iterator[bytes]:
    """Yield the archive of what is at `link`, each block verified; `name` is that of its root.

    Raises:
        NotFound, DigestMismatch: a block is missing or damaged.
        InputInvalid: the tree is malformed.
    """
    plain = _pieces(store, link, name)
    if not compress:
        yield from plain
        return
    packer = zlib.compressobj(wbits=_GZIP)
    for piece in plain:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _pieces(store: BlockStore, link: Link, name: str) -> Iterator[bytes]:
    yield from _entry(store, link, name)
    yield bytes(tarfile.RECORDSIZE)


def _entry(store: BlockStore, link: Link, path: str) -> Iterator[bytes]:
    items = read_folder(store, link)
    header = tarfile.TarInfo(path)
    header.mode, header.type = (0o644, tarfile.REGTYPE) if items is None else (0o755, b"5")
    header.size = files.size(store, link) if items is None else 0
    yield header.tobuf(tarfile.PAX_FORMAT)
    for name, item in (items or {}).items():
        check_name(name)  # whoever unpacks it must not be led out of the folder
        yield from _entry(store, item.link, f"{path}/{name}")
    if items is None and header.size:
        yield from files.read(store, link, 0, header.size)
        yield bytes(-header.size % tarfile.BLOCKSIZE)
