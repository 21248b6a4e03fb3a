"""What the page's tests share: the world of the service tests, and a page over it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from oracle.types import Amount
from oracle.web.pages import router
from oracle.web.rendering import PageOptions
from tests.services.conftest import DOLLAR, World, anvil, contracts, world
from tests.web.wallet_sponsor import WalletSponsor

__all__ = ["anvil", "contracts", "world"]

Browse = Callable[..., TestClient]


@pytest.fixture
def browse(world: World, tmp_path: Path) -> Browse:
    """Return a function that opens the page; with `questions`, the requester sponsors so many."""

    def opened(questions: int = 0, budget: int = 10 * DOLLAR, rpc_url: str = "") -> TestClient:
        sponsor = None
        if questions:
            sponsor = WalletSponsor(
                world.network, world.requester, questions=questions, budget=Amount(budget)
            )
        app = FastAPI()
        app.include_router(router(world.network, PageOptions(rpc_url=rpc_url), sponsor))
        return TestClient(app, base_url="http://page")

    return opened
