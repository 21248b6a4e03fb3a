"""What visitors do about other people's work, in Chromium: bring data, challenge, settle, be paid.

The chain is Anvil, and its clock the test's; whoever is not the visitor is played by the services.
"""

import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from oracle.agents.committee.member import CommitteeMember
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.committee import Stage
from oracle.cli.app import build
from oracle.ports import free_port
from oracle.services import committee, requests
from oracle.services.data import contributions, listing
from oracle.types import RequestId
from oracle.web.pages import router
from oracle.web.rendering import PageOptions
from tests.agents.challenger.conftest import Arena, arena
from tests.agents.members import Stub, answered, committed, play, revealed, stage
from tests.services.conftest import World
from tests.services.data.conftest import data
from tests.services.data.people import Data, rows
from tests.support.waiting import wait_until
from tests.web.browser import PATIENCE, Visit, chromium, inject_wallet, violations

__all__ = ["arena", "data"]

pytestmark = pytest.mark.real
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(world: World, browser: Browser) -> Iterator[Page]:
    """A page of the world for the stranger's wallet; complaints of the browser fail the test."""
    app = FastAPI()
    url = world.network.settings.rpc_url
    app.include_router(router(world.network, PageOptions(rpc_url=url, uploads=True)))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server")
    visit = Visit(browser, f"http://127.0.0.1:{port}")
    with visit.page() as opened:
        inject_wallet(opened, url, world.stranger.address)
        yield opened
    server.should_exit = server.force_exit = True
    thread.join()
    assert visit.complaints == []


def do(page: Page, act: str) -> None:
    """Press the button of an act, and wait until the wallet has signed all of it."""
    page.locator(f"form[data-act={act}] button").click()
    expect(page.locator(f"form[data-act={act}] .result")).to_have_class("result good")


def test_data__brought_from_the_page__is_the_visitors(page: Page, data: Data) -> None:
    round_id = data.open()
    page.goto(f"/data/{round_id}")
    page.set_input_files("#set", data.file("mine.csv", rows(1)))
    do(page, "submit")
    page.reload()
    expect(page.locator("th[scope=row]")).to_contain_text(data.world.stranger.address[2:6])
    data.pass_phase(round_id)
    (brought,) = listing.list_contributions(data.network, round_id)
    assert brought.owner == data.world.stranger.address
    contributions.reveal(data.network, data.world.stranger, round_id)  # the secret was kept
    (brought,) = listing.list_contributions(data.network, round_id)
    assert brought.rows == len(rows(1))


def test_challenge__wrong_answer__votes_are_settled_and_the_bond_comes_back(
    page: Page, world: World, tmp_path: Path
) -> None:
    request_id = answered(world)
    network, visitor = world.network, world.stranger.address
    page.goto(f"/requests/0x{request_id.hex()}")
    do(page, "challenge")
    assert network.committee.dispute_of(request_id).stage is Stage.DRAWING
    convict(world, request_id, tmp_path)
    bond = network.committee.bond_of(visitor)
    assert bond > 0
    page.reload()
    expect(page.locator(".state.convicted")).to_be_visible()
    do(page, "settle")
    assert committee.unsettled(network, request_id) == []
    do(page, "bonds")
    assert network.committee.bond_of(visitor) == 0
    assert violations(page) == []


def convict(world: World, request_id: RequestId, folder: Path) -> None:
    """Let the members vote that an answer is wrong."""
    voters = [
        CommitteeMember(world.network, dev_account(4 + n), Stub(), folder / f"member{n}")
        for n in range(3)
    ]
    for _ in range(3):
        world.network.rpc.call("evm_mine")
    play(voters, lambda: stage(world, request_id) is Stage.VOTING)
    play(voters, committed(world, request_id))
    world.pass_time(60)
    play(voters, revealed(world, request_id))
    world.pass_time(60)
    for voter in voters:  # they would settle their votes themselves
        voter.__exit__(None, None, None)
    committee.advance(world.network, world.owner, request_id)
    assert requests.show(world.network, request_id).state.name == "CONVICTED"


def test_challenge__exact_answer__names_the_command_that_can(page: Page, arena: Arena) -> None:
    """Its proofs take the model: no browser computes them."""
    request_id = arena.deliver(arena.example.honest)
    page.goto(f"/requests/0x{request_id.hex()}")
    said = page.locator("pre", has_text="challenger run").inner_text()
    command, words = build(), shlex.split(said)[1:]
    while children := getattr(command, "commands", None):
        command, words = children[words[0]], words[1:]
    given = command.make_context("challenger run", words).params
    assert list(given["request"]) == [f"0x{request_id.hex()}"]
