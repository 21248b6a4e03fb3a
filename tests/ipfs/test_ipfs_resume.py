"""Transfers that are interrupted: nodes killed in the middle, part files left behind."""

import threading
from pathlib import Path

import pytest

from oracle.errors import DigestMismatch, Unavailable
from oracle.ipfs.client import IpfsClient
from oracle.ipfs.memory import MemoryIpfs
from oracle.ipfs.port import Published
from oracle.ports import free_port
from tests.ipfs import ipfs_nodes as nodes
from tests.ipfs.conftest import sample
from tests.ipfs.liar import lying, serves

pytestmark = pytest.mark.real  # nodes on loopback

SIZE = 64 << 20  # much more than what sockets hold when the node dies
HALF = SIZE // 2


class Phoenix:
    """A node that can be killed and rises on the same port."""

    def __init__(self, repo: Path) -> None:
        self.repo, self.port = repo, free_port()
        self.node = nodes.embedded(repo, self.port)

    def kill(self) -> None:
        self.node.kill()

    def rise(self) -> None:
        self.node = nodes.embedded(self.repo, self.port)

    def kill_once(self, *, rise: bool) -> "KillOnce":
        return KillOnce(self, rise)


class KillOnce:
    """A progress callback that kills the node on the way, and remembers the steps."""

    def __init__(self, phoenix: Phoenix, rise: bool) -> None:
        self.steps: list[int] = []
        self._phoenix, self._rise, self._killed = phoenix, rise, False
        self.riser: threading.Thread | None = None

    def __call__(self, done: int, total: int) -> None:
        self.steps.append(done)
        if done >= total // 8 and not self._killed:
            self._killed = True
            self._phoenix.kill()
            if self._rise:
                self.riser = threading.Thread(target=self._phoenix.rise)
                self.riser.start()


@pytest.fixture
def phoenix(tmp_path: Path):
    phoenix = Phoenix(tmp_path / "repo")
    yield phoenix
    phoenix.kill()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(sample(SIZE))
    return path


@pytest.fixture
def client(phoenix: Phoenix) -> IpfsClient:
    return IpfsClient(phoenix.node.url, 10, attempts=12, backoff=0.05)


def known(data: bytes, folder: Path) -> Published:
    """Return what publishing these bytes would."""
    (folder / "in").write_bytes(data)
    return MemoryIpfs().publish_file(folder / "in")


def fetch(client: IpfsClient, published: Published, target: Path, progress=None) -> None:
    client.fetch_file(published.cid, target, published.sha256, published.size, progress)


def test_fetch_file__node_dies_and_stays_dead__leaves_a_part_to_go_on_from(
    phoenix: Phoenix, big: Path, client: IpfsClient, tmp_path: Path
) -> None:
    published, target = client.publish_file(big), tmp_path / "out"
    impatient = IpfsClient(phoenix.node.url, 10, attempts=2, backoff=0.01)
    first = phoenix.kill_once(rise=False)
    with pytest.raises(Unavailable):
        fetch(impatient, published, target, first)
    assert not target.exists()
    kept = (tmp_path / "out.part").stat().st_size
    assert SIZE // 8 <= kept < SIZE
    phoenix.rise()
    steps: list[int] = []
    fetch(client, published, target, lambda done, _: steps.append(done))
    assert kept < steps[0] <= kept + (1 << 20)
    assert target.read_bytes() == big.read_bytes()


def test_fetch_file__node_dies_and_rises__goes_on_by_itself(
    phoenix: Phoenix, big: Path, client: IpfsClient, tmp_path: Path
) -> None:
    published = client.publish_file(big)
    killer = phoenix.kill_once(rise=True)
    fetch(client, published, tmp_path / "out", killer)
    assert killer.riser is not None
    killer.riser.join()
    assert killer.steps == sorted(killer.steps)
    assert (tmp_path / "out").read_bytes() == big.read_bytes()


def test_publish_file__node_dies_and_rises__starts_again(
    phoenix: Phoenix, big: Path, client: IpfsClient, tmp_path: Path
) -> None:
    killer = phoenix.kill_once(rise=True)
    published = client.publish_file(big, killer)
    assert killer.riser is not None
    killer.riser.join()
    assert killer.steps.count(SIZE) == 1
    assert list((phoenix.repo / "tmp").iterdir()) == []
    fetch(client, published, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == big.read_bytes()


def test_fetch_file__part_is_of_something_else__starts_over_once(
    phoenix: Phoenix, big: Path, client: IpfsClient, tmp_path: Path
) -> None:
    published = client.publish_file(big)
    (tmp_path / "out.part").write_bytes(bytes(HALF))
    fetch(client, published, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == big.read_bytes()


def test_fetch_file__cut_off_after_a_damaged_block__keeps_no_wrong_byte(
    phoenix: Phoenix, big: Path, client: IpfsClient, tmp_path: Path
) -> None:
    published, data = client.publish_file(big), big.read_bytes()
    (block,) = [p for p in phoenix.repo.rglob("*.data") if p.read_bytes() == data[: 1 << 20]]
    block.write_bytes(bytes(1 << 20))
    impatient = IpfsClient(phoenix.node.url, 10, attempts=2, backoff=0.01)
    with pytest.raises(Unavailable):
        fetch(impatient, published, tmp_path / "out", phoenix.kill_once(rise=False))
    phoenix.rise()
    with pytest.raises(DigestMismatch, match="different hash than requested"):
        fetch(client, published, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.part").read_bytes() == b""
    client.publish_file(big)
    fetch(client, published, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


def test_fetch_file__part_is_longer_than_the_file__starts_over(
    phoenix: Phoenix, client: IpfsClient, tmp_path: Path
) -> None:
    published = client.publish_bytes(b"short")
    (tmp_path / "out.part").write_bytes(b"much longer than that")
    fetch(client, published, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"short"


def test_fetch_file__part_is_complete__asks_for_nothing(tmp_path: Path) -> None:
    data = sample(1000)
    published = known(data, tmp_path)
    (tmp_path / "out.part").write_bytes(data)
    with lying(serves(data)) as node:
        fetch(IpfsClient(node.url), published, tmp_path / "out")
        assert node.requests == []
    assert (tmp_path / "out").read_bytes() == data


def test_fetch_file__cut_again_and_again__goes_on_as_long_as_it_advances(tmp_path: Path) -> None:
    data = sample(10 << 20)
    published = known(data, tmp_path)
    with lying(serves(data, cut=1 << 20)) as node:
        fetch(IpfsClient(node.url, attempts=2, backoff=0.001), published, tmp_path / "out")
        offsets = [int(request.options["offset"]) for request in node.requests]
    assert offsets == [n << 20 for n in range(10)]
    assert (tmp_path / "out").read_bytes() == data


def test_fetch_file__two_at_once_for_one_target__both_succeed(
    phoenix: Phoenix, big: Path, client: IpfsClient, tmp_path: Path
) -> None:
    published, failures = client.publish_file(big), []

    def run() -> None:
        try:
            fetch(client, published, tmp_path / "out")
        except (Unavailable, DigestMismatch, OSError) as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (tmp_path / "out").read_bytes() == big.read_bytes()
    assert not (tmp_path / "out.part").exists()
