"""Files in and out of a block store: cutting a stream into blocks, and reading a range back.

Hashing and disk work run beside the network on a few threads; at most `DEPTH` chunks are in
memory per transfer.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from oracle.errors import InputInvalid
from oracle.ipfs import car
from oracle.ipfs.blockstore import MAX_STORED, BlockStore
from oracle.ipfs.cid import RAW, Link
from oracle.ipfs.unixfs import Builder, Entry, Layout, decode, leaf_entry, leaf_frame

DEPTH = 4  # chunks
_MAX_LEVELS = 16  # of a tree; 174**3 MiB is 5 TB

ReadInto = Callable[[bytearray], int]  # fills it; less only at the end of the stream


def add(store: BlockStore, read: ReadInto, layout: Layout, *, pin: bool, keep: bool) -> Entry:
    """Store a stream as a file (or, with `keep` off, only compute its root)."""

    def leaf(view: memoryview) -> Entry:
        entry = leaf_entry(view, layout)
        if keep:
            head, tail = leaf_frame(len(view), layout)
            store.put(entry.link, head, view, tail)
        return entry

    builder = Builder(layout, store.put if keep else None)
    buffers = [bytearray(layout.chunk)]
    count = read(buffers[0])
    with store.writing(), ExitStack() as threads:
        if 0 < count < layout.chunk:  # one block, as most are: no threads for it
            builder.add(leaf(memoryview(buffers[0])[:count]))
        elif count:
            pool = threads.enter_context(ThreadPoolExecutor(2))
            running: deque[Future[Entry]] = deque()
            number = 0
            while count:
                running.append(pool.submit(leaf, memoryview(buffers[number % DEPTH])[:count]))
                if len(running) == DEPTH:  # the oldest chunk's buffer is the next one used
                    builder.add(running.popleft().result())
                number += 1
                if number < DEPTH:
                    buffers.append(bytearray(layout.chunk))
                count = read(buffers[number % DEPTH]) if count == layout.chunk else 0
            for future in running:
                builder.add(future.result())
        root = builder.finish()
        if pin and keep:
            (store.root / "pins" / root.link.text()).touch()
    return root


def take(store: BlockStore, stream: car.Reader) -> tuple[int, int]:
    """Store the blocks of a CAR stream under the CIDs that it names; return (blocks, bytes).

    Raises:
        InputInvalid: the stream is malformed, or a claim is wrong (see `BlockStore.claim`).
    """
    buffer = bytearray(MAX_STORED)  # only one, so that a block is still in the cache when written
    count = total = 0
    with store.writing():
        while found := stream.next_block(buffer):
            link, length = found
            store.claim(link, memoryview(buffer)[:length])
            count, total = count + 1, total + length
    return count, total


def size(store: BlockStore, link: Link) -> int:
    """Return the bytes of a file.

    Raises:
        InputInvalid: it is none.
    """
    return store.size(link) if link.codec == RAW else decode(store.get(link)).size


def read(
    store: BlockStore, link: Link, start: int, stop: int, *, check: bool = True
) -> Iterator[bytes]:
    """Yield the bytes [start, stop) of a file, each block verified before it is handed out.

    With `check` off, leaves that are raw are not, for a reader who has a digest of the whole.

    Raises:
        NotFound, DigestMismatch: a block is missing or damaged.
        InputInvalid: the tree is malformed.
    """
    leaves = _leaves(store, link, start, stop, 0)
    if not check:
        yield from (_part(store, *leaf, check=False) for leaf in leaves)
        return
    running: deque[Future[bytes]] = deque()
    for leaf in leaves:
        running.append(store.readers.submit(_part, store, *leaf))
        if len(running) == DEPTH:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _leaves(
    store: BlockStore, link: Link, start: int, stop: int, level: int
) -> Iterator[tuple[Link, int, int, int | None]]:
    """Yield (leaf, first, last, its whole length) in order; offsets count from this subtree."""
    if start >= stop:
        return
    if level > _MAX_LEVELS:
        raise InputInvalid("malformed UnixFS: the tree is too deep")
    node = decode(store.get(link)) if link.codec != RAW else None
    if node is None or not node.children:
        yield link, start, stop, None if node is None else node.size
        return
    at = 0
    for child, length in node.children:
        first, last = max(start - at, 0), min(stop - at, length)
        if first < last and child.codec == RAW:
            yield child, first, last, length
        elif first < last:
            yield from _leaves(store, child, first, last, level + 1)
        at += length


def _part(
    store: BlockStore, link: Link, first: int, last: int, length: int | None, *, check: bool = True
) -> bytes:
    """Return the bytes [first, last) of a leaf."""
    raw = link.codec == RAW
    block = store.get(link, check=check or not raw)
    if raw and not check and length not in (None, len(block)):
        block = store.get(link)  # says that it is damaged
    data = block if raw else decode(block).data
    if length is not None and len(data) != length:
        raise InputInvalid(f"malformed UnixFS: {link.text()} has {len(data)} bytes, not {length}")
    return data if first == 0 and last >= len(data) else data[first:last]
