"""What an endpoint finds to sell by itself: covered once, with a part of the free stake."""

from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from oracle.protocol import vouchers
from oracle.services import operators
from oracle.services.channels import offers
from tests.services.conftest import World
from tests.worker.builders import write_digits
from worker import runtimes
from worker.cache import FileCache
from worker.endpoint.shelf import Shelf
from worker.models import ModelPool

pytestmark = pytest.mark.real


def shelf_of(world: World, path: Path, locks: int) -> Shelf:
    log = structlog.get_logger()
    cache = FileCache(path / "cache", 2**30, world.ipfs, log)
    pool = ModelPool(world.ipfs, cache, runtimes.load, device="cpu", max_bytes=2**30, log=log)
    return Shelf(world.network, world.operator, lambda: pool, log, locks=locks)


@pytest.fixture
def sells(world: World, tmp_path: Path) -> World:
    """Digits published, and an operator whose stake nobody has authorised for them."""
    made = replace(world, folder=write_digits(tmp_path / "digits", max_output_bytes=1000))
    made.publish()
    made.serve(1, stake=1000)
    operators.authorize(made.network, made.owner, 1, made.operator.address, False)
    return made


def test_look__authorised_later__covers_once_and_sells(sells: World, tmp_path: Path) -> None:
    network, shelf = sells.network, shelf_of(sells, tmp_path, locks=2)
    assert shelf.look(()) == []
    operators.authorize(network, sells.owner, 1, sells.operator.address)
    (sold,) = shelf.look(())
    assert sold.offer.terms == network.registry.terms_of(1, 1)
    assert shelf.look((vouchers.offer_id(sold.offer),)) == []
    (offer,) = offers.list_offers(network)
    assert offer.locks == 2


def test_look__little_stake__at_most_a_quarter_of_it(sells: World, tmp_path: Path) -> None:
    network = sells.network
    operators.authorize(network, sells.owner, 1, sells.operator.address)
    shelf_of(sells, tmp_path, locks=1000).look(())
    held = network.operators.stake_of(sells.operator.address)
    assert 0 < held.locked <= held.staked / 4


def test_look__no_locks__only_what_was_covered(sells: World, tmp_path: Path) -> None:
    network, shelf = sells.network, shelf_of(sells, tmp_path, locks=0)
    operators.authorize(network, sells.owner, 1, sells.operator.address)
    assert shelf.look(()) == []
    offers.cover(network, sells.operator, offers.draft(network, sells.operator.address, "1"), 1)
    assert len(shelf.look(())) == 1
