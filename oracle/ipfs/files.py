"""Files in and out of a block store: cutting a stream into blocks, and reading a range back.

Hashing and disk work run beside the network on a few threads; at most `DEPTH` chunks are in
memory per transfer.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

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
    buffers = [bytearray(layout.chunk) for _ in range(DEPTH)]
    running: deque[Future[Entry]] = deque()
    with store.writing(), ThreadPoolExecutor(2) as pool:
        number = 0
        while True:
            if len(running) == DEPTH:  # the oldest chunk's buffer is the next one used
                builder.add(running.popleft().result())
            buffer = buffers[number % DEPTH]
            count = read(buffer)
            if count:
                running.append(pool.submit(leaf, memoryview(buffer)[:count]))
            if count < layout.chunk:
                break
            number += 1
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
    buffers = [bytearray(MAX_STORED) for _ in range(DEPTH)]
    running: deque[Future[None]] = deque()
    count = total = 0
    with store.writing(), ThreadPoolExecutor(2) as pool:
        while True:
            if len(running) == DEPTH:  # the oldest block's buffer is the next one used
                running.popleft().result()
            buffer = buffers[count % DEPTH]
            found = stream.next_block(buffer)
            if found is None:
                break
            link, length = found
            running.append(pool.submit(store.claim, link, memoryview(buffer)[:length]))
            count, total = count + 1, total + length
        for future in running:
            future.result()
    return count, total


def size(store: BlockStore, link: Link) -> int:
    """Return the bytes of a file."""
    return store.size(link) if link.codec == RAW else decode(store.get(link)).size


def read(store: BlockStore, link: Link, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes [start, stop) of a file, each block verified before it is handed out.

    Raises:
        NotFound, DigestMismatch: a block is missing or damaged.
        InputInvalid: the tree is malformed.
    """
    leaves = _leaves(store, link, start, stop, 0)
    running: deque[tuple[int, int, Future[bytes]]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for leaf, first, last, length in leaves:
            running.append((first, last, pool.submit(_leaf, store, leaf, length)))
            if len(running) == DEPTH:
                yield _cut(*running.popleft())
        while running:
            yield _cut(*running.popleft())


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


def _leaf(store: BlockStore, link: Link, length: int | None) -> bytes:
    block = store.get(link)
    data = block if link.codec == RAW else decode(block).data
    if length is not None and len(data) != length:
        raise InputInvalid(f"malformed UnixFS: {link.text()} has {len(data)} bytes, not {length}")
    return data


def _cut(first: int, last: int, future: Future[bytes]) -> bytes:
    data = future.result()
    return data if first == 0 and last >= len(data) else data[first:last]
