"""The network that most of these tests are about."""

import pytest

from tests.system.world import World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()
