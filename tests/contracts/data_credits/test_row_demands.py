"""RowDemands: a data set that cannot show its rows is left out, and the round goes on."""

import numpy as np
import pytest

from oracle.merkle import keccak
from oracle.valuation.dataset import DataSet
from tests.contracts import refusing_wallet
from tests.contracts.data_credits.play import (
    ALICE,
    ANSWERS,
    BOB,
    CAROL,
    CHALLENGER,
    DAVE,
    DEAD,
    DEPLOYER,
    DEPOSIT,
    EXCLUDED,
    ONE,
    OWNER,
    RIVAL,
    UNSERVED,
    VALUE,
    Data,
    refuses,
)

NOTHING = keccak(b"no such rows")


def rows_of(count):
    features = np.array([[n % 100, n // 100, 7] for n in range(count)])
    return DataSet.of(features, np.arange(count) % 3)


GOOD = rows_of(150)  # three chunks, the last one short
SMALL = rows_of(5)


def chunk(data_set, number):
    """Return the bytes of a chunk and its path."""
    start = 64 * number
    rows = b"".join(data_set.row(i) for i in range(start, min(start + 64, data_set.rows)))
    return rows, data_set.path(start)[6:]


@pytest.fixture
def doubted(data):
    """Alice brought 150 rows, Bob 5, Dave a root of nothing; reveals are over."""
    data.open()
    for owner, root, rows in (
        (ALICE, GOOD.root, 150), (BOB, SMALL.root, 5), (DAVE, NOTHING, 100),
    ):  # fmt: skip
        data.submit(owner, root, rows)
    data.pass_to("submit")
    data.reveal(0, GOOD.root, 150)
    data.reveal(1, SMALL.root, 5)
    data.reveal(2, NOTHING, 100)
    data.pass_to("reveal")
    data.reveal_test()
    return data


def call(data, caller, function, *arguments, value=0):
    return data.world.call(caller, "RowDemands", function, *arguments, value=value)


def bond(data):
    return call(data, BOB, "bondNeeded", 3)


def demand(data, index, number=0, caller=CHALLENGER):
    call(data, caller, "demand", data.round_id, index, number, value=bond(data))


def show(data, index, number, data_set, caller=CAROL):
    call(data, caller, "show", data.round_id, index, number, *chunk(data_set, number))


def wait(data):
    data.world.set_time(data.round()[3] + ANSWERS)


# ── constructor ─────────────────────────────────────────────────────────────────────────────────
def test_constructor__rounds_name_another__reverts(data):
    with refuses("ConfigInvalid"):
        data.world.deploy(DEPLOYER, "RowDemands", data.rounds, ANSWERS)


# ── demand ──────────────────────────────────────────────────────────────────────────────────────
def test_demand__before_reveals_are_over__reverts(data):
    data.open()
    data.submit(ALICE, GOOD.root, 150)
    data.pass_to("submit")
    data.reveal(0, GOOD.root, 150)
    with refuses("PhaseNotOpen"):
        demand(data, 0)


def test_demand__test_set_no_longer_due__reverts(doubted):
    doubted.pass_to("test")
    with refuses("PhaseOver"):
        demand(doubted, 0)


def test_demand__base_fee_is_not_what_gas_costs__bond_reckons_with_the_floor_of_the_market():
    data = Data(min_gas_price=10**9)
    assert bond(data) == 2 * (100_000 + 45 * 5 * 64) * 10**9 + 1


def test_demand__no_such_rows_or_contribution__reverts(doubted):
    with refuses("ChunkInvalid"):
        demand(doubted, 0, 3)
    with refuses("RowsNotDue"):
        demand(doubted, 3)


def test_demand__bond_too_low__reverts(doubted):
    with refuses("BondTooLow"):
        call(doubted, CHALLENGER, "demand", 1, 0, 0, value=bond(doubted) - 1)


def test_demand__bond_above_its_field__reverts(doubted):
    doubted.world.fund(CHALLENGER, 2**97)
    with refuses("BondTooLow"):
        call(doubted, CHALLENGER, "demand", 1, 0, 0, value=2**96)


def test_demand__round_that_is_numbered__reverts(doubted):
    doubted.pass_to("test")
    doubted.do(BOB, "number", 1, 9)
    with refuses("RowsNotDue"):
        demand(doubted, 0)


def test_withdraw_bond__payee_refuses_ether__keeps_it(doubted):
    world = doubted.world
    wallet = refusing_wallet.deploy(world, BOB)
    demand(doubted, 1)
    shown = (1, 1, 0, *chunk(SMALL, 0))
    refusing_wallet.call(world, BOB, wallet, "RowDemands", "show", *shown)
    with refuses("TransferFailed"):
        refusing_wallet.call(world, BOB, wallet, "RowDemands", "withdrawBond")
    assert call(doubted, BOB, "bondOf", wallet) == bond(doubted)


def test_demand__twice__reverts_shown_or_not(doubted):
    demand(doubted, 0)
    with refuses("RowDemandExists"):
        demand(doubted, 0, caller=RIVAL)
    show(doubted, 0, 0, GOOD)
    with refuses("RowDemandExists"):
        demand(doubted, 0, caller=RIVAL)


def test_demand__more_than_32_of_a_contribution__reverts(data):
    data.open(maxRows=3_000)
    data.submit(ALICE, NOTHING, 2_500)
    data.pass_to("submit")
    data.reveal(0, NOTHING, 2_500)
    data.pass_to("reveal")
    for number in range(32):
        demand(data, 0, number)
    with refuses("RowDemandsExhausted"):
        demand(data, 0, 32)


# ── show ────────────────────────────────────────────────────────────────────────────────────────
def test_show__not_demanded__reverts(doubted):
    with refuses("RowDemandMissing"):
        show(doubted, 0, 0, GOOD)


def test_show__other_rows__reverts(doubted):
    demand(doubted, 0)
    rows, path = chunk(GOOD, 0)
    for given in ((rows[:-1], path), (rows + rows[:5], path), (rows, path[1:]), (rows[::-1], path)):
        with refuses("ChunkInvalid"):
            call(doubted, CAROL, "show", 1, 0, 0, *given)


def test_show__too_late__reverts(doubted):
    demand(doubted, 0)
    wait(doubted)
    with refuses("PhaseOver"):
        show(doubted, 0, 0, GOOD)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_show__by_anyone__keeps_the_contribution_and_pays_whoever_shows(doubted, number):
    paid = bond(doubted)
    demand(doubted, 0, number)
    doubted.world.set_time(doubted.round()[3] + ANSWERS - 1)
    with refuses("PhaseNotOpen"):
        doubted.do(BOB, "number", 1, 9)
    show(doubted, 0, number, GOOD)
    assert call(doubted, BOB, "bondOf", CAROL) == paid
    doubted.do(BOB, "number", 1, 9)
    assert doubted.stage() == VALUE
    assert doubted.see("placeOf", 1, 0) == (0, 0, 150)
    call(doubted, CAROL, "withdrawBond")
    with refuses("AmountZero"):
        call(doubted, CAROL, "withdrawBond")


def test_show__set_smaller_than_a_chunk__has_no_path(doubted):
    demand(doubted, 1)
    show(doubted, 1, 0, SMALL)
    doubted.pass_to("test")
    doubted.do(BOB, "number", 1, 9)
    assert doubted.see("placeOf", 1, 1) == (1, 150, 5)


# ── what cannot be shown ────────────────────────────────────────────────────────────────────────
def test_number__root_of_nothing__goes_on_with_the_others_at_its_owners_cost(doubted):
    paid = bond(doubted)
    demand(doubted, 2, 1)
    wait(doubted)
    doubted.do(BOB, "number", 1, 9)
    assert doubted.stage() == VALUE
    assert [doubted.see("placeOf", 1, c)[2] for c in range(3)] == [150, 5, 0]
    assert doubted.see("contributionOf", 1, 2)[5] == UNSERVED
    doubted.do(BOB, "forfeit", 1, 2)
    assert doubted.see("balanceOf", DEAD) == DEPOSIT
    assert doubted.see("standingOf", 1, DAVE)[2] == 1
    call(doubted, BOB, "releaseBond", 1, 2, 1)
    assert call(doubted, BOB, "bondOf", CHALLENGER) == paid
    with refuses("RowDemandMissing"):
        call(doubted, BOB, "releaseBond", 1, 2, 1)
    values = [ONE // 4, ONE // 8]
    doubted.settle(values)
    doubted.give(values, 0)
    assert doubted.see("creditsOf", 1, ALICE) == ONE // 4
    with refuses("RoundStageInvalid"):
        doubted.do(BOB, "refund", 1, 2)


def test_release_bond__may_still_be_shown__reverts(doubted):
    demand(doubted, 0)
    doubted.pass_to("test")
    with refuses("PhaseNotOpen"):
        call(doubted, BOB, "releaseBond", 1, 0, 0)


def test_release_bond__excluded_meanwhile__comes_back(doubted):
    paid = bond(doubted)
    demand(doubted, 0)
    doubted.do(OWNER, "exclude", 1, 0)
    assert doubted.see("contributionOf", 1, 0)[5] == EXCLUDED
    with refuses("RowsNotDue"):
        show(doubted, 0, 0, GOOD)
    wait(doubted)
    doubted.do(BOB, "number", 1, 9)
    call(doubted, BOB, "releaseBond", 1, 0, 0)
    assert call(doubted, BOB, "bondOf", CHALLENGER) == paid


def test_reveal__unserved_once__may_come_again_by_its_owner_alone(doubted):
    demand(doubted, 0)
    wait(doubted)
    doubted.do(BOB, "number", 1, 9)
    doubted.settle([ONE // 4, ONE // 8])
    doubted.open()
    thief, hers = doubted.submit(DAVE, GOOD.root, 150), doubted.submit(ALICE, GOOD.root, 150)
    doubted.pass_to("submit")
    with refuses("DataSetKnown"):
        doubted.reveal(thief, GOOD.root, 150)
    doubted.reveal(hers, GOOD.root, 150)
