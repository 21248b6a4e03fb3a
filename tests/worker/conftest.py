"""A pipeline over a MemoryIpfs and a small model. No sockets."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from oracle.ipfs.memory import MemoryIpfs
from tests.worker.builders import Published, write_digits
from worker import runtimes
from worker.cache import FileCache
from worker.inputs import InputSource
from worker.models import ModelPool
from worker.pipeline import Pipeline


@pytest.fixture
def ipfs():
    return MemoryIpfs()


@pytest.fixture
def log():
    return structlog.get_logger()


@pytest.fixture
def cache(tmp_path, ipfs, log):
    return FileCache(tmp_path / "cache", 2**30, ipfs, log)


@pytest.fixture
def told():
    """What workers say of their progress: (step, requests, reason)."""
    return []


@pytest.fixture
def pipeline(ipfs, cache, log, told):
    def tell(step, request_ids, reason="", **_facts):
        told.append((step, list(request_ids), reason))

    pool = ModelPool(ipfs, cache, runtimes.load, device="cpu", max_bytes=2**30, log=log)
    with ThreadPoolExecutor(2) as transfers, ThreadPoolExecutor(2) as searches:
        source = InputSource(ipfs, ipfs, searches)
        yield Pipeline(ipfs, source, pool, transfers, log=log, tell=tell)
    pool.close()


@pytest.fixture
def digits(ipfs, tmp_path):
    return Published(ipfs, write_digits(tmp_path / "digits"))
