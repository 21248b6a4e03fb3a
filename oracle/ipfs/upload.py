"""Files on their way to a node: hashed while they pass, whole and leaf by leaf, on a thread each.

At most `DEPTH` pieces are in memory. A piece is sent when its hashes are known, so that a node can
be told the CID of each block before its bytes.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from oracle.errors import InputInvalid
from oracle.ipfs import car
from oracle.ipfs.port import MAX_BLOCK, Progress, Published
from oracle.ipfs.unixfs import Builder, Entry, Layout, leaf_entry
from oracle.types import Bytes32

DEPTH = 4  # pieces in memory

Send = Callable[[memoryview], None]


def file_size(path: Path) -> int:
    """Return the bytes of a regular file.

    Raises:
        InputInvalid: there is none.
    """
    try:
        if not path.is_file():
            raise InputInvalid(f"{path} is not a file", hint="give the path of one")
        return path.stat().st_size
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error}") from error


def send_file(path: Path, size: int, send: Send, progress: Progress | None) -> Published:
    """Send a file piece by piece, and return what it is.

    Raises:
        InputInvalid: it cannot be read, or is no longer `size` bytes.
    """
    return _send(path, size, send, progress, builder=Builder(), before=lambda _: b"")


def send_blocks(path: Path, size: int, send: Send, progress: Progress | None) -> Published:
    """Send a file as the CAR stream of its blocks, and return what it is.

    Raises:
        InputInvalid: it cannot be read, or is no longer `size` bytes.
    """
    send(memoryview(car.HEADER))
    nodes = Builder(emit=lambda link, block: send(memoryview(car.prefix(link, len(block)) + block)))
    return _send(
        path,
        size,
        send,
        progress,
        builder=nodes,
        before=lambda leaf: car.prefix(leaf.link, leaf.size),
    )


def _send(
    path: Path,
    size: int,
    send: Send,
    progress: Progress | None,
    *,
    builder: Builder,
    before: Callable[[Entry], bytes],
) -> Published:
    """Read, hash (whole file and leaf, on a thread each) and send, with `before` every leaf."""
    whole, layout, room = hashlib.sha256(), Layout(), car.PREFIX
    buffers = [memoryview(bytearray(room + MAX_BLOCK)) for _ in range(DEPTH)]
    running: deque[tuple[memoryview, Future[None], Future[Entry]]] = deque()
    done = 0

    def settle() -> None:
        nonlocal done
        buffer, hashed, leaf = running.popleft()
        entry = leaf.result()
        head = before(entry)
        buffer[room - len(head) : room] = head  # so that one call sends both
        send(buffer[room - len(head) : room + entry.size])
        builder.add(entry)
        hashed.result()
        done += entry.size
        if progress:
            progress(done, size)

    with (
        _open(path) as file,
        ThreadPoolExecutor(1) as in_order,
        ThreadPoolExecutor(1) as leaves,
    ):
        for number, start in enumerate(range(0, size, MAX_BLOCK)):
            if len(running) == DEPTH:
                settle()
            buffer = buffers[number % DEPTH]
            view = buffer[room : room + min(MAX_BLOCK, size - start)]
            if file.readinto(view) != len(view):
                raise InputInvalid(f"{path} became shorter while it was read")
            hashing = in_order.submit(whole.update, view)
            running.append((buffer, hashing, leaves.submit(leaf_entry, view, layout)))
        while running:
            settle()
        if file.read(1):
            raise InputInvalid(f"{path} became longer while it was read")
        root = builder.finish()
    return Published(root.link.text(), Bytes32(whole.digest()), size)


def _open(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error}") from error
