"""Blocks and pins in a folder, one file per block, in the layout of Kubo's flatfs.

    DIR/lock                    held by the process that serves the folder
    DIR/blocks/XX/KEY.data      KEY = base32 of the multihash, XX = its next-to-last two characters
    DIR/pins/CID                an empty file per recursive pin
    DIR/mutable                 the CID of the root of the mutable file system, which is kept
    DIR/tmp/                    writes in progress; emptied at start

A block is written aside and renamed, so it is there in full or not at all, kill -9 included. There
is no fsync: after a power failure a block may be torn, which reading finds out, because every
block is hashed whenever it is read and a wrong one is reported, never returned (but to a reader
who says that he checks for himself).
"""

import fcntl
import hashlib
import os
import threading
from base64 import b32encode
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from oracle import whole_file
from oracle.errors import ConfigInvalid, DigestMismatch, InputInvalid, NotFound
from oracle.ipfs.cid import RAW, Link, parse
from oracle.ipfs.ipld import links_of
from oracle.ipfs.unixfs import Buffer
from oracle.private_files import FILE, make_folder

MAX_STORED = 2 << 20  # bytes; what bitswap carries
_READERS = 4  # threads that read and hash blocks ahead


class BlockStore:
    """Content-addressed blocks on disk. Safe for many threads of one process."""

    def __init__(self, root: Path) -> None:
        """Open a folder, or make it.

        Raises:
            ConfigInvalid: another process serves it.
        """
        self.root = root
        for name in ("blocks", "pins", "tmp"):
            make_folder(root / name)
        self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, FILE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise ConfigInvalid(
                f"{root} is served by another process", hint="stop it, or choose another folder"
            ) from error
        for leftover in (root / "tmp").iterdir():
            leftover.unlink()
        # One pool for all who read ahead. A reader that is dropped halfway would end a pool of its
        # own in whatever thread the garbage collector runs, which may hold the locks for that.
        self.readers = ThreadPoolExecutor(_READERS, "read")
        self._shards: set[str] = set()
        self._gate = threading.Condition()
        self._writers = 0

    def close(self) -> None:
        """Let go of the folder."""
        self.readers.shutdown()
        os.close(self._lock)

    def put(self, link: Link, *parts: Buffer) -> None:
        """Store a block whose digest the caller has computed, replacing one that may be damaged.

        Raises:
            OSError: the disk does not take it; nothing is left of it then.
        """
        with self._written(link, parts) as (temporary, path):
            temporary.rename(path)

    def claim(self, link: Link, data: Buffer) -> None:
        """Store a block whose digest the caller was told; it is checked when the block is read.

        What is told fills empty places only: where a block is, and for the inner nodes of
        trees, the bytes are hashed now. So a wrong claim replaces nothing, and the right bytes
        replace a wrong claim.

        Raises:
            InputInvalid: the bytes are not those of `link`; nothing is stored then.
            OSError: the disk does not take it; nothing is left of it then.
        """
        with self._written(link, (data,)) as (temporary, path):
            if link.codec == RAW:
                with suppress(OSError):  # there is one; or this file system has no hard links
                    os.link(temporary, path)
                    temporary.unlink()
                    return
            if hashlib.sha256(data).digest() != link.digest:
                raise InputInvalid(f"malformed CAR: these are not the bytes of {link.text()}")
            temporary.rename(path)

    @contextmanager
    def _written(self, link: Link, parts: Iterable[Buffer]) -> Iterator[tuple[Path, Path]]:
        """Write a block aside; give (where it is, where it belongs)."""
        path = self._path(link)
        temporary = self.root / "tmp" / f"{path.name}.{threading.get_ident()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE)
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            if path.parent.name not in self._shards:
                make_folder(path.parent)
                self._shards.add(path.parent.name)
            yield temporary, path
        except (OSError, InputInvalid):  # a full disk, say
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def get(self, link: Link, *, check: bool = True) -> bytes:
        """Return a block, hashed (with `check` off: as it is).

        Raises:
            NotFound: it is not here.
            DigestMismatch: it is here, damaged.
        """
        try:
            data = self._path(link).read_bytes()
        except FileNotFoundError as error:
            raise _missing(link) from error
        if check and hashlib.sha256(data).digest() != link.digest:
            raise DigestMismatch(
                f"block in storage has different hash than requested: {link.text()}",
                hint="the file was changed or torn; publish the bytes again to mend it",
            )
        return data

    def size(self, link: Link) -> int:
        """Return the bytes of a block, without reading it.

        Raises:
            NotFound: it is not here.
        """
        try:
            return self._path(link).stat().st_size
        except FileNotFoundError as error:
            raise _missing(link) from error

    def walk(self, root: Link) -> Iterator[Link]:
        """Yield every block below a CID once, parents first; raw leaves are only looked up.

        Raises:
            NotFound, DigestMismatch: one is missing or damaged.
        """
        todo, seen = [root], set()
        while todo:
            link = todo.pop()
            if link.digest in seen:
                continue
            seen.add(link.digest)
            if link.codec == RAW:
                self.size(link)
            else:
                todo.extend(links_of(link, self.get(link)))
            yield link

    def pin(self, link: Link) -> None:
        """Keep a file: all its blocks must be here.

        Raises:
            NotFound, DigestMismatch: one is missing or damaged.
        """
        with self.writing():
            for _ in self.walk(link):
                pass
            (self.root / "pins" / link.text()).touch()

    def unpin(self, link: Link) -> bool:
        """Give a pin up; False when there was none."""
        try:
            (self.root / "pins" / link.text()).unlink()
        except FileNotFoundError:
            return False
        return True

    def pins(self) -> list[Link]:
        """Return the roots that are kept."""
        return sorted(
            (parse(entry.name) for entry in (self.root / "pins").iterdir()), key=Link.text
        )

    def mutable_root(self) -> str:
        """Return the CID that was kept last with `set_mutable_root`; "" when none was."""
        try:
            return (self.root / "mutable").read_text()
        except FileNotFoundError:
            return ""

    def set_mutable_root(self, cid: str) -> None:
        """Keep the blocks below a CID instead of those below the one before, durably."""
        whole_file.write(self.root / "mutable", cid)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold off garbage collection between the first block of a file and its pin."""
        with self._gate:
            self._writers += 1
        try:
            yield
        finally:
            with self._gate:
                self._writers -= 1
                self._gate.notify_all()

    def collect(self) -> list[str]:
        """Remove what no pin keeps; return the keys of the blocks that went.

        Raises:
            NotFound, DigestMismatch: a pinned tree is damaged; nothing is removed then.
        """
        with self._gate:  # writers wait at the gate while we sweep
            self._gate.wait_for(lambda: self._writers == 0)
            kept = {self._path(link) for root in self._roots() for link in self.walk(root)}
            gone = [path for path in self._files() if path not in kept]
            for path in gone:
                path.unlink()
            return [path.stem for path in gone]

    def stat(self) -> tuple[int, int]:
        """Return (blocks, bytes)."""
        sizes = [path.stat().st_size for path in self._files()]
        return len(sizes), sum(sizes)

    def _roots(self) -> list[Link]:
        mutable = self.mutable_root()
        return [*self.pins(), *([parse(mutable)] if mutable else [])]

    def _files(self) -> Iterator[Path]:
        return (self.root / "blocks").glob("*/*.data")

    def _path(self, link: Link) -> Path:
        key = b32encode(b"\x12\x20" + link.digest).decode().rstrip("=")
        return self.root / "blocks" / key[-3:-1] / f"{key}.data"


def _missing(link: Link) -> NotFound:
    return NotFound(
        f"block was not found locally (offline): ipld: could not find {link.text()}",
        hint="the embedded node asks nobody else; publish it here, or use a Kubo that is online",
    )
