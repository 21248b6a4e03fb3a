"""A Redis of the tests' own, with a password."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oracle.devnet import redis as redis_server
from oracle.devnet.supervisor import Supervisor
from oracle.ports import free_port


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    made = redis_server.url_of(free_port(), "secret")
    spec = redis_server.spec(redis_server.find_server(), tmp_path, made, tmp_path / "log")
    with Supervisor([spec]) as redis:
        redis.start()
        yield made
