"""Valuator on a real chain: what it publishes, answers, settles, and what a crash does to it."""

import pytest

from oracle.chain.data_credits import RoundStage
from oracle.services.valuing import rounds as chain_rounds
from oracle.services.valuing.valuator import Valuator
from tests.services.valuing.conftest import HELD
from tests.valuation import rounds

pytestmark = pytest.mark.real
RIGHT = rounds.tables(HELD)


def opened(round_, wallet, name="one", **how):
    jobs, queue = round_.jobs(name, **how)
    return Valuator(round_.context, wallet, jobs, round_.folder / name), queue


def stage(round_):
    return round_.context.credits.round_of(round_.id).stage


def case_of(round_):
    return round_.context.valuations.case_of(round_.id)


def test_cycle__sealed_round__claimed_published_settled_and_paid(round_, valuator):
    running, _ = opened(round_, valuator)
    with running:
        assert running.cycle()
        assert case_of(round_).valuator == valuator.address
        assert running.cycle()
        assert case_of(round_).root == RIGHT.valuation.root
        assert not running.cycle()
        round_.world.pass_time(60)
        assert running.cycle()
        assert stage(round_) is RoundStage.SETTLED
        before = round_.context.token.balance_of(valuator.address)
        assert running.cycle()
        paid = round_.context.token.balance_of(valuator.address) - before
        assert paid == 3_000_000 + 7 * 500_000
        assert not running.cycle()
    assert chain_rounds.published(round_.context, round_.id).values == RIGHT.values
