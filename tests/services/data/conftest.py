"""A deployment with a model that takes data; people have money."""

from pathlib import Path

import pytest

from tests.services.conftest import World
from tests.services.data.people import Data


@pytest.fixture
def data(world: World, tmp_path: Path) -> Data:
    found = Data(world, tmp_path)
    found.fund(world.owner, world.operator, world.requester, world.stranger)
    found.publish()
    return found
