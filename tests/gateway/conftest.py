"""What a gateway is tested on: the deployment of the service tests, and a gateway of account 2."""

from dataclasses import replace

import numpy as np
import pytest

from oracle.chain.anvil import dev_account
from oracle.gateway.gateway import Gateway
from oracle.gateway.sponsor import Question
from oracle.services import inputs
from oracle.store import Store
from oracle.types import ZERO32
from tests.services.conftest import DOLLAR, anvil, contracts, world

__all__ = ["anvil", "contracts", "world"]


@pytest.fixture
def market(world):
    world.publish()
    world.serve(1)
    world.prepay(5 * DOLLAR)
    fast = replace(world.network.settings, poll_interval=0.03, redis_url="")
    return replace(world, network=replace(world.network, settings=fast))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'gateway.db'}"


@pytest.fixture
def gateway(market, url):
    opened = Gateway(market.network, dev_account(2), Store.open(url))
    opened.start()
    yield opened
    opened.close()


def question(gateway, value=0.5, idempotency=None):
    listing = gateway.catalogue.find("digits")
    image = np.full((1, 1, 2, 2), value, np.float32)
    return Question(
        listing,
        inputs.seal({"image": image}, (), listing.manifest, listing.served.form),
        ZERO32,
        idempotency,
    )
