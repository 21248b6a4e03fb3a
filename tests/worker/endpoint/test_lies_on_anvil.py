"""A wrong answer of a channel is summoned by its payer and convicted, as a delivery would be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oracle.services import requests
from oracle.services.answer_check import CheckOutcome
from oracle.services.channels import kept, receipt_check
from oracle.services.network import Network
from oracle.services.request_timeline import RequestState
from tallystick.channel import PaidChannel
from tests.agents.challenger.conftest import Arena, arena_of
from tests.services.conftest import DOLLAR, World
from tests.worker.endpoint.conftest import FEE, Shop
from worker import faults, runtimes

pytestmark = pytest.mark.real
LOCKS = 3
WRONG, RIGHT = CheckOutcome.WRONG, CheckOutcome.RIGHT


@pytest.fixture
def arena(world: World, tmp_path: Path) -> Arena:
    """An exact model with an operator, a requester and a challenger."""
    return arena_of(world, tmp_path)


@pytest.mark.parametrize("lies", [False, True])
def test_summon__answer_of_an_exact_model__convicted_if_it_is_wrong(
    arena: Arena, tmp_path: Path, lies: bool
) -> None:
    network, payer = arena.world.network, arena.world.requester.address
    load = faults.lying(runtimes.load) if lies else runtimes.load
    shop = Shop(replace(arena.world), tmp_path / "endpoint", load=load)
    shop.offer = shop.cover(locks=LOCKS)
    with shop.serving():
        channel = shop.channel(deposit=2 * FEE)
        answer = channel.ask(np.zeros((64, 8), np.float32))
        prepaid = arena.balance(payer)
        assert said_of(network, channel) == (
            (WRONG, "summon") if lies else (RIGHT, "nothing to do")
        )
        request_id = channel.summon(answer)
    assert arena.balance(payer) == prepaid - FEE
    assert said_of(network, channel)[1] == "how the dispute stands"
    with arena.challenger() as challenger:
        challenger.once()
        arena.world.pass_time(120)
        challenger.once()
    state = requests.show(network, request_id).state
    cover = network.channels.cover_of(channel.offer_id)
    if lies:
        assert state is RequestState.CONVICTED
        assert arena.balance(payer) == prepaid + 10 * DOLLAR  # insured ten times the fee
        assert cover.locks == LOCKS - 1
    else:
        assert state is not RequestState.CONVICTED
        assert cover.locks == LOCKS


def said_of(network: Network, channel: PaidChannel) -> tuple[CheckOutcome | None, str]:
    """Verify the first receipt; return the verdict, and the word of what to do that matters."""
    files = kept.read(network.settings.home, f"0x{channel.channel_id.hex()}/1")
    (found,) = receipt_check.verify(files, lambda: network, recompute=True).receipts
    words = ("how the dispute stands", "nothing to do", "summon")
    return found.verdict, next(word for word in words if word in found.next)
