"""Valuator on a real chain: what it publishes, answers, settles, and what a crash does to it."""

import shutil
from contextlib import suppress

import pytest

from oracle.agents.valuation.valuator import Valuator
from oracle.chain.anvil import dev_account
from oracle.chain.arguments import TableNode
from oracle.chain.bindings.data_rounds import RoundStage
from oracle.chain.bindings.valuation_game import (
    ClaimLapsed,
    Mover,
    RoundClaimed,
    ValuationPublished,
)
from oracle.chain.wallet import Wallet
from oracle.errors import ConfigInvalid, Unavailable
from oracle.services.data import sealed_rounds as chain_rounds
from oracle.services.data import valuator_stakes
from oracle.services.event_history import topic
from oracle.types import ValuationPart, Wei
from oracle.valuation.jobs import FETCHED, RESULT
from tests.agents.deadly import deadly
from tests.agents.valuation.conftest import HELD, account_of
from tests.agents.valuation.play import Round
from tests.support.killing import Killed
from tests.support.waiting import wait_until
from tests.valuation import rounds

pytestmark = pytest.mark.real
RIGHT = rounds.tables(HELD)
CLAIM_PERIOD, WINDOW, TURN = 300, 60, 10  # seconds


def opened(round_, wallet, name="one", *, waiting=False, network=None):
    jobs, queue = round_.jobs(name)
    queue.waiting = waiting
    account = account_of(wallet)
    return Valuator(network or round_.network, account, jobs, round_.folder / name), queue


def stage(round_):
    return round_.network.data_rounds.round_of(round_.id).stage


def case_of(round_):
    return round_.network.valuations.case_of(round_.id)


def count(round_, kind):
    place = round_.network.valuations.address
    return len(round_.network.history.read(place, (kind,), topic(round_.id)))


def move(valuator):
    """Look once, and wait until what was sent is mined; return whether there was something."""
    moved = valuator.cycle()
    valuator.settle()
    return moved


def run(valuator, most=20):
    """Let it work until it has nothing to do; return the moves."""
    for moves in range(most):
        if not move(valuator):
            return moves
    raise AssertionError("it never ends")


def files_of(round_, name="one"):
    (folder,) = (round_.folder / name).glob(f"{round_.id}-*")
    return folder


# ── Value ───────────────────────────────────────────────────────────────────────────────────────
def test_cycle__rows_that_nobody_serves__not_claimed(world, valuator_of, tmp_path):
    round_ = Round(world, HELD, tmp_path / "files").seal(served_too=False)
    running, _ = opened(round_, valuator_of(round_))

    assert run(running) == 0
    assert case_of(round_).attempt == 0
    assert count(round_, RoundClaimed) == 0


def test_cycle__free_stake_too_low__not_claimed(round_):
    poor = Wallet(round_.network.rpc, dev_account(14))
    round_.stake(poor, 49)
    running, _ = opened(round_, poor)

    assert run(running) == 0
    assert count(round_, RoundClaimed) == 0


def test_cycle__queue_down__nothing_claimed_and_done_when_it_is_back(round_, valuator):
    running, queue = opened(round_, valuator)
    queue.down = True
    assert not move(running)
    queue.down = False
    running.__exit__(None, None, None)

    again, _ = opened(round_, valuator)  # the wait for another try is skipped
    assert run(again) == 2


def test_init__folder_in_use__refused(round_, valuator):
    first, _ = opened(round_, valuator)
    with first, pytest.raises(ConfigInvalid):
        opened(round_, valuator)


def test_cycle__sealed_round__claimed_published_settled_and_paid(round_, valuator):
    running, _ = opened(round_, valuator)
    with running:
        assert move(running)
        assert case_of(round_).valuator == valuator.address
        assert move(running)
        assert case_of(round_).root == RIGHT.valuation.root
        assert not move(running)
        round_.world.pass_time(WINDOW)
        assert move(running)
        assert stage(round_) is RoundStage.SETTLED
        before = round_.network.token.balance_of(valuator.address)
        assert move(running)
        paid = round_.network.token.balance_of(valuator.address) - before
        assert paid == 3_000_000 + 8 * 500_000
        assert not move(running)
    assert not list((round_.folder / "one").glob(f"{round_.id}-*"))  # nobody can ask any more
    assert chain_rounds.published(round_.network, round_.id).values == RIGHT.values


# ── Crashes ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dying", [False, True])
def test_cycle__another_process_for_every_step__everything_once(round_, valuator, dying):
    for _ in range(9):
        network = deadly(round_.network, 1, after=True) if dying else round_.network
        running, _ = opened(round_, valuator, network=network)
        with running, suppress(Killed):
            running.cycle()
        if case_of(round_).published:
            round_.world.pass_time(WINDOW)

    assert stage(round_) is RoundStage.SETTLED
    assert count(round_, RoundClaimed) == count(round_, ValuationPublished) == 1
    assert round_.network.data_rounds.balance_of(valuator.address) == 0
    assert round_.network.valuations.seat_of(valuator.address).locked == 0


def test_cycle__files_lost_after_publication__computed_again_to_answer(
    round_, valuator, challenger_demands
):
    running, _ = opened(round_, valuator)
    assert run(running) == 2
    running.__exit__(None, None, None)
    shutil.rmtree(round_.folder / "one")
    challenger_demands(TableNode(ValuationPart.ORDER, 0, 0, 0))

    again, _ = opened(round_, valuator)

    assert move(again)
    assert game(round_).turn is Mover.CHALLENGER


def test_cycle__outage_at_the_payout__withdrawn_when_it_is_over(round_, valuator, monkeypatch):
    running, _ = opened(round_, valuator)
    with running:
        assert run(running) == 2
        round_.world.pass_time(WINDOW)
        assert move(running)
        assert stage(round_) is RoundStage.SETTLED
        before = round_.network.token.balance_of(valuator.address)
        with monkeypatch.context() as patch:
            patch.setattr(valuator_stakes, "payouts", away)
            assert not move(running)
        wait_until(lambda: move(running), what="another try")
        assert round_.network.token.balance_of(valuator.address) > before


def away(*_):
    raise Unavailable("the node is away")


# ── A valuator vanishes ─────────────────────────────────────────────────────────────────────────
def test_cycle__claimant_vanished__its_claim_lapses_and_another_values(round_, valuator, rival):
    gone, queue = opened(round_, valuator, "one", waiting=True)
    move(gone)
    (files_of(round_) / FETCHED).touch()
    assert move(gone)
    assert case_of(round_).valuator == valuator.address

    running, _ = opened(round_, rival, "two")
    assert not move(running)
    round_.world.pass_time(CLAIM_PERIOD)
    assert run(running) == 2

    assert case_of(round_).valuator == rival.address
    assert case_of(round_).published
    assert count(round_, ClaimLapsed) == 1
    assert round_.network.valuations.seat_of(valuator.address).staked == 95_000_000
    assert not move(gone)  # it comes back, and leaves the round to who has it
    queue.work()
    assert not move(gone)


def test_cycle__own_claim_lapsed__claimed_again_only_with_the_values_at_hand(round_, valuator):
    running, queue = opened(round_, valuator, waiting=True)
    move(running)
    (files_of(round_) / FETCHED).touch()
    assert move(running)
    round_.world.pass_time(CLAIM_PERIOD)
    assert not move(running)

    queue.work()
    assert (files_of(round_) / RESULT).exists()

    assert run(running) == 2
    assert case_of(round_).published
    assert count(round_, RoundClaimed) == 2


# ── Demands ─────────────────────────────────────────────────────────────────────────────────────
def game(round_):
    attempt = case_of(round_).attempt
    challenger = Wallet(round_.network.rpc, dev_account(13)).address
    return round_.network.valuations.demands_of(round_.id, attempt, challenger)


@pytest.fixture
def valuator_of():
    def make(round_):
        wallet = Wallet(round_.network.rpc, dev_account(11))
        round_.stake(wallet)
        return wallet

    return make


@pytest.fixture
def challenger_demands(round_):
    """Somebody who demands nodes of the published valuation."""
    wallet = Wallet(round_.network.rpc, dev_account(13))
    round_.stake(wallet, 1)
    chain = round_.network.valuations

    def demand(node):
        said = chain_rounds.published(round_.network, round_.id)
        bond = Wei(2 * chain.bond_needed())
        wallet.send(
            chain.demand(
                round_.id,
                said.valuation,
                node.part,
                node.number,
                node.level,
                node.index,
                value=bond,
            )
        )

    return demand


def test_cycle__demands_for_every_part__each_is_answered(round_, valuator, challenger_demands):
    running, _ = opened(round_, valuator)
    run(running)
    demanded = (
        TableNode(ValuationPart.ORDER, 0, 0, 0),
        TableNode(ValuationPart.ORDER, 0, 6, 3),
        TableNode(ValuationPart.ORDER, 0, 6, 63),  # absent
        TableNode(ValuationPart.SUMS, 0, 8, 7),
        TableNode(ValuationPart.ROWS, 0, 1, 1),
        TableNode(ValuationPart.DATA, 2, 0, 0),
        TableNode(ValuationPart.DATA, 1, 0, 0),
        TableNode(ValuationPart.TEST, 0, 5, 31),
    )
    for node in demanded:
        challenger_demands(node)
        assert game(round_).turn is Mover.VALUATOR
        assert move(running)
        assert game(round_).turn is Mover.CHALLENGER


def test_cycle__challenger_gives_up__lapsed_settled_and_half_its_bond_collected(
    round_, valuator, challenger_demands
):
    running, _ = opened(round_, valuator)
    run(running)
    challenger_demands(TableNode(ValuationPart.ROWS, 0, 0, 0))
    assert move(running)
    round_.world.pass_time(WINDOW + 10 * TURN)

    assert move(running)  # lapse
    assert round_.network.valuations.bond_of(valuator.address) > 0
    assert move(running)  # settle
    run(running)

    assert stage(round_) is RoundStage.SETTLED
    assert round_.network.valuations.bond_of(valuator.address) == 0
