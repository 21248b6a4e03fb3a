"""Blocks on disk: damage, crashes, garbage, ranges. No sockets."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.errors import ConfigInvalid, DigestMismatch, InputInvalid, NotFound
from oracle.ipfs import files
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.cid import DAG_PB, RAW, Link
from oracle.ipfs.unixfs import Builder, Entry, Layout, file_cid
from tests.ipfs.conftest import sample

SMALL = Layout(chunk=100, width=3)


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "repo")


def link_of(data: bytes) -> Link:
    return Link(RAW, hashlib.sha256(data).digest())


def stream(data: bytes):
    at = 0

    def read(buffer: bytearray) -> int:
        nonlocal at
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        at += len(piece)
        return len(piece)

    return read


def add(store: BlockStore, data: bytes, *, pin: bool = True, keep: bool = True) -> Link:
    return files.add(store, stream(data), SMALL, pin=pin, keep=keep).link


def file_of(store: BlockStore, data: bytes) -> Path:
    """Return the file that holds a raw block."""
    (path,) = [p for p in (store.root / "blocks").rglob("*.data") if p.read_bytes() == data]
    return path


def test_get__unknown__is_not_found_in_kubos_words(store: BlockStore) -> None:
    with pytest.raises(NotFound, match=r"\(offline\): ipld: could not find bafkrei"):
        store.get(link_of(b"nothing"))


@pytest.mark.parametrize("damage", [b"", b"Bytes", b"bytes "])
def test_get__damaged__is_reported(store: BlockStore, damage: bytes) -> None:
    store.put(link_of(b"bytes"), b"bytes")
    file_of(store, b"bytes").write_bytes(damage)
    with pytest.raises(DigestMismatch, match="different hash than requested: bafkrei"):
        store.get(link_of(b"bytes"))


def test_put__over_a_damaged_block__mends_it(store: BlockStore) -> None:
    store.put(link_of(b"bytes"), b"bytes")
    file_of(store, b"bytes").write_bytes(b"Bytes")
    store.put(link_of(b"bytes"), b"by", b"tes")
    assert store.get(link_of(b"bytes")) == b"bytes"


def test_claim__of_other_bytes__is_found_out_when_they_are_read(store: BlockStore) -> None:
    store.claim(link_of(b"bytes"), b"Bytes")
    with pytest.raises(DigestMismatch, match="different hash than requested: bafkrei"):
        store.get(link_of(b"bytes"))


def test_claim__of_other_bytes_where_a_block_is__replaces_nothing(store: BlockStore) -> None:
    store.put(link_of(b"bytes"), b"bytes")
    with pytest.raises(InputInvalid, match="not the bytes of bafkrei"):
        store.claim(link_of(b"bytes"), b"Bytes")
    assert store.get(link_of(b"bytes")) == b"bytes"
    assert list((store.root / "tmp").iterdir()) == []


def test_claim__of_the_right_bytes__replaces_a_wrong_claim(store: BlockStore) -> None:
    store.claim(link_of(b"bytes"), b"Bytes")
    store.claim(link_of(b"bytes"), b"bytes")
    assert store.get(link_of(b"bytes")) == b"bytes"
    assert list((store.root / "tmp").iterdir()) == []


def test_claim__of_a_wrong_inner_node__is_refused(store: BlockStore) -> None:
    link = Link(DAG_PB, hashlib.sha256(b"node").digest())
    with pytest.raises(InputInvalid, match="not the bytes of bafybei"):
        store.claim(link, b"Node")
    assert store.stat() == (0, 0)
    assert list((store.root / "tmp").iterdir()) == []


def test_claim__no_hard_links_here__is_checked_and_renamed(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError("this file system has none")

    monkeypatch.setattr(os, "link", link)
    store.claim(link_of(b"bytes"), b"bytes")
    with pytest.raises(InputInvalid):
        store.claim(link_of(b"other"), b"Other")
    assert store.get(link_of(b"bytes")) == b"bytes"
    assert store.stat() == (1, 5)


def test_open__served_by_another__is_refused(store: BlockStore) -> None:
    with pytest.raises(ConfigInvalid, match="served by another process"):
        BlockStore(store.root)
    store.close()
    BlockStore(store.root).close()


def test_open__after_a_crash__has_no_torn_block(store: BlockStore) -> None:
    (store.root / "tmp" / "TORN.data.1").write_bytes(b"half of a bl")
    store.close()
    again = BlockStore(store.root)
    assert list((again.root / "tmp").iterdir()) == []
    assert again.stat() == (0, 0)


def test_pin__incomplete_tree__is_not_found(store: BlockStore) -> None:
    root = add(store, sample(1000), pin=False)
    file_of(store, sample(1000)[300:400]).unlink()
    with pytest.raises(NotFound):
        store.pin(root)
    assert store.pins() == []


def test_collect__with_a_pinned_tree_damaged__removes_nothing(store: BlockStore) -> None:
    add(store, sample(1000))
    add(store, b"loose", pin=False)
    file_of(store, sample(1000)[300:400]).unlink()
    before = store.stat()
    with pytest.raises(NotFound):
        store.collect()
    assert store.stat() == before


def test_collect__keeps_what_is_pinned(store: BlockStore) -> None:
    kept, lost = sample(1000), sample(2000)[1000:]
    root, other = add(store, kept), add(store, lost)
    assert store.unpin(other)
    assert not store.unpin(other)
    assert len(store.collect()) == 10 + 4 + 2 + 1  # leaves, and the nodes above them
    assert b"".join(files.read(store, root, 0, 1000)) == kept
    with pytest.raises(NotFound):
        store.get(other)


def test_collect__while_a_file_is_added__waits(store: BlockStore) -> None:
    started, go_on, events = threading.Event(), threading.Event(), []

    def slow(buffer: bytearray) -> int:
        if started.is_set():
            assert go_on.wait(120)
            return 0
        started.set()
        buffer[:] = bytes(100)
        return 100

    def adding() -> None:
        files.add(store, slow, SMALL, pin=True, keep=True)
        events.append("added")

    def collecting() -> None:
        assert store.collect() == []
        events.append("collected")

    writer = threading.Thread(target=adding)
    writer.start()
    assert started.wait(120)
    sweeper = threading.Thread(target=collecting)
    sweeper.start()
    sweeper.join(0.1)
    go_on.set()
    writer.join(5)
    sweeper.join(5)
    assert events == ["added", "collected"]


def test_add__without_keep__stores_nothing(store: BlockStore) -> None:
    root = add(store, sample(1000), keep=False)
    assert root == file_cid(sample(1000), SMALL)
    assert store.stat() == (0, 0)
    assert store.pins() == []


def test_add__stream_breaks__pins_nothing(store: BlockStore) -> None:
    def broken(buffer: bytearray) -> int:
        raise InputInvalid("the request ends inside a part")

    with pytest.raises(InputInvalid):
        files.add(store, broken, SMALL, pin=True, keep=True)
    assert store.pins() == []


def test_read__a_leaf_damaged__hands_out_only_what_is_before(store: BlockStore) -> None:
    data = sample(1000)
    root = add(store, data)
    path = file_of(store, data[500:600])
    path.write_bytes(bytes(100))
    got: list[bytes] = []
    with pytest.raises(DigestMismatch):
        got.extend(files.read(store, root, 0, 1000))
    assert b"".join(got) == data[:500]


def test_read__dropped_halfway__ends_no_thread(store: BlockStore) -> None:
    root, readers = add(store, sample(1000)), set()
    for _ in range(20):
        pieces = files.read(store, root, 0, 1000)
        next(pieces)
        readers |= {thread for thread in threading.enumerate() if thread.name.startswith("read")}
        del pieces  # as the garbage collector may, in any thread
    assert 0 < len(readers) <= 4
    assert all(thread.is_alive() for thread in readers)


def test_read__tree_lies_about_a_leaf__is_malformed(store: BlockStore) -> None:
    store.put(link_of(b"abc"), b"abc")
    builder = Builder(SMALL, store.put)
    for size in (2, 4):
        builder.add(Entry(link_of(b"abc"), size, size))
    with pytest.raises(InputInvalid, match="3 bytes, not 2"):
        list(files.read(store, builder.finish().link, 0, 6))


def test_read__tree_too_deep__is_malformed(store: BlockStore) -> None:
    entry = Entry(link_of(b"abc"), 3, 3)
    store.put(entry.link, b"abc")
    for _ in range(20):
        builder = Builder(SMALL, store.put)
        builder.add(entry)
        builder.add(entry)
        entry = builder.finish()
    with pytest.raises(InputInvalid, match="too deep"):
        list(files.read(store, entry.link, 0, 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2500), st.integers(0, 2500), st.integers(0, 2500), st.booleans())
def test_read__of_any_range__is_that_range(
    tmp_path_factory: pytest.TempPathFactory, size: int, start: int, stop: int, raw: bool
) -> None:
    store = BlockStore(tmp_path_factory.mktemp("repo"))
    data = sample(size)
    layout = Layout(raw_leaves=raw, chunk=100, width=3)
    root = files.add(store, stream(data), layout, pin=True, keep=True).link
    assert files.size(store, root) == size
    assert b"".join(files.read(store, root, start, min(stop, size))) == data[start:stop]
    store.close()


def test_put__many_threads_one_block__is_whole(store: BlockStore) -> None:
    data = os.urandom(1 << 16)
    threads = [threading.Thread(target=store.put, args=(link_of(data), data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(link_of(data)) == data
    assert store.stat() == (1, 1 << 16)
