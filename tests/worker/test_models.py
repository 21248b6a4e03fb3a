"""The pool of loaded models: bounded, checked against the chain, and it lets go of files."""

import pytest
import structlog

from oracle.errors import DigestMismatch
from oracle.types import ZERO32
from tests.worker.builders import Published, write_digits
from worker.errors import WeightsInvalid
from worker.models import ModelPool


class Model:
    """Loaded in name only."""

    nbytes = 100


class Loader:
    """Counts, and fails on demand."""

    def __init__(self):
        self.loaded = []
        self.error = None

    def __call__(self, manifest, files, device):
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
