"""The pages about data over a round that was played to its end."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from oracle.services.data import rounds as services
from oracle.web import rounds
from oracle.web.pages import router
from tests.services.data.conftest import data
from tests.services.data.people import Data, rows

__all__ = ["data"]

pytestmark = pytest.mark.real


@pytest.fixture
def page(data: Data) -> TestClient:
    app = FastAPI()
    app.include_router(router(data.network))
    return TestClient(app)


def test_data__no_round__shows_the_tiers(page: TestClient) -> None:
    found = page.get("/data").text
    assert "No round was opened yet" in found
    assert "50%" in found
    assert page.get("/data/1").status_code == 404
    assert page.get("/data/x").status_code == 404


def test_round__settled__shows_values_and_lost_deposits(data: Data, page: TestClient) -> None:
    world = data.world
    round_id = data.open()
    before = page.get(f"/data/{round_id}").text
    assert "takes commitments" in before
    assert "Nobody has brought anything yet" in before
    honest = rows(1, 60)
    data.bring(world.operator, data.file("honest.csv", honest))
    data.bring(world.requester, data.file("poisoned.csv", rows(3, 60, wrong=True)))
    data.seal(round_id)
    data.value(round_id, world.owner)
    data.pass_phase(round_id)
    data.advance(round_id)

    found = page.get(f"/data/{round_id}").text
    assert "settled" in found
    assert world.operator.address in found
    assert found.count("deposit lost") == 2  # in the picture and in the table
    assert f"/data/{round_id}" in page.get("/data").text
    account = page.get(f"/page/accounts/{world.operator.address}").json()
    (share,) = account["shares"]
    assert share["tier"] == 1
    assert account["returnable"]


def test_phases__a_fresh_round__now_is_in_the_first(data: Data) -> None:
    info = services.show(data.network, data.open())
    spans, now_at = rounds.phases(info, data.network.history.now())
    assert [name for name, *_ in spans] == ["submit", "reveal", "test", "value"]
    assert now_at is not None
    assert spans[0][1] <= now_at <= spans[0][2]
    assert [start for _, start, _, _ in spans[1:]] == [end for _, _, end, _ in spans[:-1]]
