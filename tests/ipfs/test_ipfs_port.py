"""The port's promises, kept by each implementation: memory, our node, a real Kubo, Helia."""

import hashlib
from pathlib import Path

import pytest

from oracle.errors import DigestMismatch, InputInvalid
from oracle.ipfs.port import MAX_BLOCK, CidUnresolved, Ipfs
from oracle.protocol.cid import raw_cid
from oracle.types import Bytes32, Cid
from tests.ipfs.conftest import sample


def test_publish_file__no_such_file__is_invalid(ipfs: Ipfs, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="nothing"):
        ipfs.publish_file(tmp_path / "nothing")


def test_publish_bytes__longer_than_a_block__is_invalid(ipfs: Ipfs) -> None:
    with pytest.raises(InputInvalid, match="1048577 bytes do not fit"):
        ipfs.publish_bytes(bytes(MAX_BLOCK + 1))


def test_fetch_bytes__nobody_has_them__is_unresolved(hasty: Ipfs) -> None:
    with pytest.raises(CidUnresolved):
        hasty.fetch_bytes(raw_cid(Bytes32(bytes(32))), 100)


def test_fetch_file__nobody_has_it__is_unresolved(hasty: Ipfs, tmp_path: Path) -> None:
    digest = Bytes32(bytes(31) + b"\1")
    with pytest.raises(CidUnresolved):
        hasty.fetch_file(raw_cid(digest), tmp_path / "out", digest, 5)
    assert not (tmp_path / "out").exists()


def test_fetch_bytes__not_a_cid__is_invalid(ipfs: Ipfs) -> None:
    with pytest.raises(InputInvalid):
        ipfs.fetch_bytes(Cid("../../etc/passwd"), 100)


def test_fetch_bytes__more_than_allowed__is_invalid(ipfs: Ipfs) -> None:
    published = ipfs.publish_bytes(b"six by")
    with pytest.raises(InputInvalid, match="more than the 5 bytes"):
        ipfs.fetch_bytes(published.cid, 5)
    assert ipfs.fetch_bytes(published.cid, 6) == b"six by"


@pytest.mark.parametrize("lie", [-1, +1, -(1 << 20), +(1 << 20)])
def test_fetch_file__other_size_than_promised__is_refused(
    ipfs: Ipfs, file: Path, tmp_path: Path, lie: int
) -> None:
    published = ipfs.publish_file(file)
    target = tmp_path / "out"
    with pytest.raises((DigestMismatch, InputInvalid)) as caught:
        ipfs.fetch_file(published.cid, target, published.sha256, published.size + lie)
    assert caught.type is DigestMismatch
    assert not target.exists()


def test_fetch_file__other_digest_than_promised__is_refused(
    ipfs: Ipfs, file: Path, tmp_path: Path
) -> None:
    published = ipfs.publish_file(file)
    target = tmp_path / "out"
    with pytest.raises(DigestMismatch, match=bytes(32).hex()):
        ipfs.fetch_file(published.cid, target, Bytes32(bytes(32)), published.size)
    assert list(tmp_path.iterdir()) == [file]


def test_publish_bytes__a_block__has_its_sha256_as_cid(ipfs: Ipfs) -> None:
    data = sample(MAX_BLOCK)
    published = ipfs.publish_bytes(data)
    assert published.sha256 == hashlib.sha256(data).digest()
    assert published.cid == raw_cid(published.sha256)
    assert ipfs.fetch_bytes(published.cid, MAX_BLOCK) == data


@pytest.mark.parametrize("size", [0, 1, MAX_BLOCK, MAX_BLOCK + 1, 3 * MAX_BLOCK])
def test_publish_file__of_any_size__comes_back(ipfs: Ipfs, tmp_path: Path, size: int) -> None:
    path, target = tmp_path / "in", tmp_path / "deep" / "out"
    path.write_bytes(sample(size))
    published = ipfs.publish_file(path)
    assert (published.size, published.sha256) == (size, hashlib.sha256(sample(size)).digest())
    ipfs.fetch_file(published.cid, target, published.sha256, size)
    assert target.read_bytes() == sample(size)
    assert list(target.parent.iterdir()) == [target]
    assert ipfs.fetch_bytes(published.cid, size) == sample(size)


def test_progress__of_both_ways__rises_to_the_size(ipfs: Ipfs, file: Path, tmp_path: Path) -> None:
    up: list[tuple[int, int]] = []
    down: list[tuple[int, int]] = []
    published = ipfs.publish_file(file, lambda *step: up.append(step))
    ipfs.fetch_file(
        published.cid,
        tmp_path / "out",
        published.sha256,
        published.size,
        lambda *step: down.append(step),
    )
    for steps in (up, down):
        assert steps == sorted(steps)
        assert steps[-1] == (published.size, published.size)


def test_fetch_file__target_is_something_else__replaces_it(
    ipfs: Ipfs, file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    target.write_bytes(bytes(file.stat().st_size))
    published = ipfs.publish_file(file)
    ipfs.fetch_file(published.cid, target, published.sha256, published.size)
    assert target.read_bytes() == file.read_bytes()


def test_pin__of_something_unknown__is_unresolved(hasty: Ipfs) -> None:
    with pytest.raises(CidUnresolved):
        hasty.pin(raw_cid(Bytes32(bytes(31) + b"\2")))


def test_unpin__twice__is_fine(ipfs: Ipfs) -> None:
    cid = ipfs.publish_bytes(b"kept for a while").cid
    ipfs.unpin(cid)
    ipfs.unpin(cid)
    ipfs.pin(cid)


def test_version__names_what_answers(ipfs: Ipfs) -> None:
    name, _, version = ipfs.version().partition("/")
    assert name in ("memory", "tallystick-embedded", "kubo", "helia")
    assert version or name == "memory"
