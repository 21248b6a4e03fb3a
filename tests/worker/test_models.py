"""The pool of loaded models: bounded, checked against the chain, and it lets go of files."""

import time

import pytest
import structlog

from oracle.errors import DigestMismatch
from oracle.ipfs.port import CidUnresolved
from oracle.types import ZERO32
from tests.worker.builders import Published, write_digits
from worker.errors import WeightsInvalid
from worker.models import REMEMBER, ModelPool


class Model:
    """Loaded in name only."""

    nbytes = 100


class Loader:
    """Counts, and fails on demand."""

    def __init__(self):
        self.loaded = []
        self.error = None

    def __call__(self, manifest, files, model_root, device):
        if self.error:
            raise self.error
        self.loaded.append(manifest.name)
        return Model()


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def pool(ipfs, cache, loader):
    log = structlog.get_logger()
    return ModelPool(ipfs, cache, loader, device="cpu", max_bytes=7100, log=log)


@pytest.fixture
def published(ipfs, tmp_path):
    return [Published(ipfs, write_digits(tmp_path / name, name=name)) for name in ("a", "b", "c")]


def test_get__wrong_model_root__refused_before_weights_are_fetched(pool, published, loader, cache):
    with pytest.raises(DigestMismatch, match="root"):
        pool.get(published[0].digest, ZERO32)
    assert loader.loaded == []
    assert cache.size() == 0


def test_get__loaded_model_under_another_root__refused(pool, published):
    pool.get(published[0].digest, published[0].root)
    with pytest.raises(DigestMismatch):
        pool.get(published[0].digest, ZERO32)


def test_get__loading_fails__files_are_let_go_and_it_can_be_tried_again(
    pool, published, loader, monkeypatch
):
    model, released = published[0], []
    lease = type(pool._cache.lease(model.manifest.files))
    release = lease.release
    monkeypatch.setattr(lease, "release", lambda self: released.append(1) or release(self))
    loader.error = WeightsInvalid("bad")
    with pytest.raises(WeightsInvalid):
        pool.get(model.digest, model.root)
    assert released == [1]
    loader.error = None
    with pytest.raises(WeightsInvalid):
        pool.get(model.digest, model.root)  # remembered
    pool._clock = lambda: time.monotonic() + REMEMBER + 1
    assert pool.get(model.digest, model.root).manifest.name == "a"


def test_get__twice__loaded_once(pool, published, loader):
    first = pool.get(published[0].digest, published[0].root)
    assert pool.get(published[0].digest, published[0].root) is first
    assert loader.loaded == ["a"]


def test_get__no_room__least_recently_used_is_unloaded(pool, published, loader):
    for name in "abacab":
        model = published["abc".index(name)]
        pool.get(model.digest, model.root)
    assert loader.loaded == ["a", "b", "c", "b"]


def test_close__all_models__files_are_let_go(pool, published):
    leases = [pool.get(model.digest, model.root).lease for model in published[:2]]
    pool.close()
    assert pool._models == {}
    for lease in leases:
        lease.release()  # harmless


def test_get__weights_nobody_serves__asked_for_once_in_a_while(pool, published, ipfs, monkeypatch):
    model, asked = published[0], []
    (entry,) = model.manifest.files
    ipfs.forget(entry.cid)
    fetch = ipfs.fetch_file
    monkeypatch.setattr(ipfs, "fetch_file", lambda *a: asked.append(1) or fetch(*a))
    for _ in range(3):
        with pytest.raises(CidUnresolved):
            pool.get(model.digest, model.root)
    assert asked == [1]
