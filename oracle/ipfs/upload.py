"""A file on its way to a node: hashed while it passes, whole and leaf by leaf, on a thread each.

At most `DEPTH` pieces are in memory. A piece is handed out when its hashes are known, so that a
node can be told the CID of each block before its bytes.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from oracle.errors import InputInvalid
from oracle.ipfs import car
from oracle.ipfs.cid import Link
from oracle.ipfs.port import MAX_BLOCK, Progress, Published
from oracle.ipfs.unixfs import Builder, Entry, Layout, leaf_entry
from oracle.types import Bytes32

DEPTH = 4  # pieces in memory


class FileUpload:
    """The pieces of a file, or of the CAR stream of its blocks; to be gone through once."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        """Look how long the file is.

        Raises:
            InputInvalid: there is none.
        """
        try:
            if not path.is_file():
                raise InputInvalid(f"{path} is not a file", hint="give the path of one")
            self.size = path.stat().st_size  # bytes of the file
        except OSError as error:
            raise InputInvalid(f"{path} cannot be read: {error}") from error
        self.as_blocks = False  # as a CAR stream
        self._path, self._progress = path, progress
        self._published: Published | None = None

    @property
    def published(self) -> Published:
        """What the file is; known when all pieces are handed out."""
        assert self._published is not None
        return self._published

    def __len__(self) -> int:
        return car.length(self.size, Layout()) if self.as_blocks else self.size

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the pieces, each valid until the next is asked for.

        Raises:
            InputInvalid: the file cannot be read, or is no longer `size` bytes.
        """
        nodes: list[bytes] = []  # of the tree, as they stand in the stream
        emit = None
        if self.as_blocks:
            yield car.HEADER

            def emit(link: Link, block: bytes) -> None:
                nodes.append(car.prefix(link, len(block)) + block)

        whole, room, builder = hashlib.sha256(), car.PREFIX, Builder(Layout(), emit)
        done = 0
        for buffer, entry in self._leaves(whole):
            head = car.prefix(entry.link, entry.size) if self.as_blocks else b""
            buffer[room - len(head) : room] = head  # so that one piece is both
            yield buffer[room - len(head) : room + entry.size]
            builder.add(entry)
            yield from nodes
            nodes.clear()
            done += entry.size
            if self._progress:
                self._progress(done, self.size)
        root = builder.finish()
        yield from nodes
        self._published = Published(root.link.text(), Bytes32(whole.digest()), self.size)

    def _leaves(self, whole: "hashlib._Hash") -> Iterator[tuple[memoryview, Entry]]:
        """Read and hash; yield (a buffer with `car.PREFIX` bytes of room before, the leaf)."""
        layout, room = Layout(), car.PREFIX
        buffers = [memoryview(bytearray(room + MAX_BLOCK)) for _ in range(DEPTH)]
        running: deque[tuple[memoryview, Future[None], Future[Entry]]] = deque()

        def settled() -> tuple[memoryview, Entry]:
            buffer, hashed, leaf = running.popleft()
            hashed.result()
            return buffer, leaf.result()

        with (
            _open(self._path) as file,
            ThreadPoolExecutor(1) as in_order,
            ThreadPoolExecutor(1) as leaves,
        ):
            for number, start in enumerate(range(0, self.size, MAX_BLOCK)):
                if len(running) == DEPTH:
                    yield settled()
                buffer = buffers[number % DEPTH]
                view = buffer[room : room + min(MAX_BLOCK, self.size - start)]
                if file.readinto(view) != len(view):
                    raise InputInvalid(f"{self._path} became shorter while it was read")
                hashing = in_order.submit(whole.update, view)
                running.append((buffer, hashing, leaves.submit(leaf_entry, view, layout)))
            while running:
                yield settled()
            if file.read(1):
                raise InputInvalid(f"{self._path} became longer while it was read")


def _open(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error}") from error
