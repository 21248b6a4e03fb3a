"""The lens beside the market of the other tests."""

import pytest


@pytest.fixture(scope="module")
def lens(RequestLens, deployer, contract):
    return RequestLens.deploy(contract, {"from": deployer})
