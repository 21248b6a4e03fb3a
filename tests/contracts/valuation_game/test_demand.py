"""ValuationGame.demand, openNode, revealLeaf: what nobody serves is opened, or silence loses."""

from dataclasses import replace

import pytest

from oracle.chain.codec import plain
from oracle.merkle import absent, log
from oracle.valuation import table_comparison
from tests.contracts import refusing_wallet
from tests.contracts.data_credits.play import (
    BOB,
    CHALLENGER,
    CLOCK,
    MIN_REPLY,
    RIVAL,
    STAKE,
    VALUATOR,
    Data,
    refuses,
)
from tests.contracts.valuation_game.cases import Announced, Case
from tests.valuation import rounds

HELD = rounds.small()
RIGHT = rounds.tables(HELD)
ORDER, SUMS, ROWS, DATA, TEST = range(5)
CHALLENGER_TURN, VALUATOR_TURN = 1, 2
BOND = 1_000
VALUES = list(RIGHT.values)


@pytest.fixture
def case():
    """The true valuation, published."""
    made = Case(held=HELD)
    made.publish(RIGHT)
    return made


def demand(case, part=ORDER, number=0, level=0, index=0, valuation=None, by=CHALLENGER, bond=BOND):
    valuation = valuation or RIGHT.valuation
    case.do(by, "demand", 1, valuation, part, number, level, index, value=bond)


def game(case, by=CHALLENGER, attempt=1):
    return case.do(BOB, "demandsOf", 1, attempt, by)


def tree(part, number=0, tables=RIGHT):
    """Return the nodes of a tree by level, leaves last, and what its leaves are made of."""
    if part in (DATA, TEST):
        held = HELD.test if part == TEST else HELD.sets[number]
        return held.tree, log(held.rows), held.row
    table = (tables.order, tables.sums, tables.rows)[part]
    rows, cols = table.entries.shape
    across = log(-(-cols // 128))
    return (
        table.tree,
        log(rows) + across,
        lambda leaf: table.leaf(leaf >> across, leaf & (1 << across) - 1),
    )


def path_of(hashes, level, index):
    return [hashes.node(level - k, (index >> k) ^ 1) for k in range(level)]


def open_node(case, part, level, index, tables=RIGHT):
    hashes, depth, _ = tree(part, tables=tables)
    levels = min(6, depth - level)
    nodes = [hashes.node(level + levels, (index << levels) + k) for k in range(1 << levels)]
    path = path_of(hashes, level, index)
    case.do(BOB, "openNode", 1, tables.valuation, CHALLENGER, nodes, path)
    return nodes


def reveal(case, part, index, data=None, tables=RIGHT):
    hashes, depth, leaf = tree(part, tables=tables)
    shown = leaf(index) if data is None else data
    path = path_of(hashes, depth, index)
    case.do(BOB, "revealLeaf", 1, tables.valuation, CHALLENGER, shown, path)


# ── demand ──────────────────────────────────────────────────────────────────────────────────────
def test_bond_needed__base_fee_is_not_what_gas_costs__reckons_with_the_floor_of_the_market():
    announced = Announced(Data(min_gas_price=10**9))
    assert announced.do(BOB, "bondNeeded") == 2 * 150_000 * 10**9


def test_demand__bond_too_low__reverts():
    case = Case(Data(min_gas_price=10**9), held=HELD)
    case.publish(RIGHT)
    with refuses("BondTooLow"):
        demand(case, bond=case.do(BOB, "bondNeeded") - 1)


def test_demand__nothing_published__reverts():
    with refuses("ValuationMissing"):
        demand(Case(held=HELD))


def test_demand__another_valuation__reverts(case):
    with refuses("ValuationMismatch"):
        demand(case, valuation=replace(RIGHT.valuation, n=1))


def test_demand__window_passed__reverts(case):
    case.pass_window()
    with refuses("WindowPassed"):
        demand(case)


def test_demand__window_passed_while_another_plays__reverts(case):
    case.data.world.set_time(case.do(BOB, "caseOf", 1)[1] - 1)
    demand(case)
    case.pass_window()
    with refuses("WindowPassed"):
        demand(case, by=RIVAL)


@pytest.mark.parametrize(
    ("part", "number", "level", "index"),
    [
        (ORDER, 0, 10, 0),
        (ORDER, 0, 3, 8),
        (ORDER, 1, 0, 0),
        (SUMS, 0, 10, 0),
        (ROWS, 0, 2, 0),
        (DATA, 8, 0, 0),
        (DATA, 2, 1, 0),
        (TEST, 0, 9, 0),
    ],
)
def test_demand__no_such_node__reverts(case, part, number, level, index):
    with refuses("TableTargetInvalid"):
        demand(case, part, number, level, index)


def test_demand__of_a_table_without_rows__reverts():
    held = Case(held=HELD)
    bare = replace(RIGHT.valuation, n=0)
    held.claim()
    held.do(VALUATOR, "publish", 1, bare, VALUES, bytes(32))
    with refuses("TableTargetInvalid"):
        demand(held, valuation=bare)


def test_demand__of_a_table_whose_root_is_zero__is_silence():
    held = Case(held=HELD)
    hollow = replace(RIGHT.valuation, sums=bytes(32))
    held.claim()
    held.do(VALUATOR, "publish", 1, hollow, VALUES, bytes(32))
    demand(held, SUMS, valuation=hollow)
    held.data.world.set_time(game(held)[2])
    held.do(BOB, "convictSilent", 1, CHALLENGER)
    assert not held.published


def test_demand__not_ones_turn__reverts(case):
    demand(case)
    with refuses("DemandTurnInvalid"):
        demand(case)


def test_demand__first__opens_a_challenge(case):
    demand(case, DATA, 1, 3, 5)
    turn, count, deadline, *_, bond, part, number, level, index = game(case)
    assert (turn, count, bond) == (VALUATOR_TURN, 1, BOND)
    assert (part, number, level, index) == (DATA, 1, 3, 5)
    assert deadline == case.data.world.time + CLOCK
    assert case.do(BOB, "caseOf", 1)[3] == 1


def test_demand__too_many__reverts(case):
    for _ in range(32):
        demand(case, TEST, level=8, index=5)
        reveal(case, TEST, 5)
    with refuses("TableDemandsExhausted"):
        demand(case)


# ── openNode, revealLeaf ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("part", [ORDER, SUMS, ROWS, DATA, TEST])
def test_answers__down_to_every_kind_of_leaf__are_accepted(case, part):
    _, depth, _ = tree(part)
    target, level = 2 % (1 << depth), 0
    while level < depth:
        index = target >> (depth - level)
        demand(case, part, level=level, index=index)
        nodes = open_node(case, part, level, index)
        assert case.data.gas < 150_000
        level += min(6, depth - level)
        assert len(nodes) <= 64
    demand(case, part, level=depth, index=target)
    reveal(case, part, target)
    assert case.data.gas < 150_000
    assert game(case)[0] == CHALLENGER_TURN


def test_open_node__no_demand__reverts(case):
    with refuses("DemandTurnInvalid"):
        open_node(case, ORDER, 0, 0)


def test_open_node__too_late__reverts(case):
    demand(case)
    case.data.world.set_time(game(case)[2])
    with refuses("DemandTurnOver"):
        open_node(case, ORDER, 0, 0)


def test_open_node__another_node__reverts(case):
    demand(case, ORDER, level=2, index=1)
    with refuses("TableOpeningInvalid"):
        open_node(case, ORDER, 2, 2)


def test_open_node__path_of_another_length__reverts(case):
    demand(case, ORDER, level=2, index=1)
    with refuses("TableOpeningInvalid"):
        open_node(case, ORDER, 3, 1)


def test_open_node__of_another_table__reverts(case):
    demand(case, SUMS)
    with refuses("TableOpeningInvalid"):
        open_node(case, ORDER, 0, 0)


def test_open_node__of_a_leaf__reverts(case):
    demand(case, TEST, level=8, index=5)
    hashes, depth, _ = tree(TEST)
    with refuses("TableOpeningInvalid"):
        case.do(
            *(BOB, "openNode", 1, RIGHT.valuation, CHALLENGER),
            *([hashes.node(8, 5)], path_of(hashes, depth, 5)),
        )


@pytest.mark.parametrize("levels", [0, 1, 5, 7])  # six are due
def test_open_node__fewer_or_more_nodes_of_the_right_root__reverts(case, levels):
    demand(case, TEST)
    hashes, _, _ = tree(TEST)
    nodes = [hashes.node(levels, k) for k in range(1 << levels)]
    with refuses("TableOpeningInvalid"):
        case.do(BOB, "openNode", 1, RIGHT.valuation, CHALLENGER, nodes, [])


def test_reveal_leaf__absent_with_bytes__reverts(case):
    _, depth, _ = tree(TEST)
    demand(case, TEST, level=depth, index=140)
    with refuses("TableOpeningInvalid"):
        reveal(case, TEST, 140, data=b"made up")


def test_reveal_leaf__of_an_inner_node__reverts(case):
    demand(case, TEST, level=7, index=5)
    with refuses("TableOpeningInvalid"):
        reveal(case, TEST, 5)


@pytest.mark.parametrize("change", [b"\0", b""])
def test_reveal_leaf__other_bytes__reverts(case, change):
    demand(case, TEST, level=8, index=5)
    with refuses("TableOpeningInvalid"):
        reveal(case, TEST, 5, data=change and HELD.test.row(5)[:-1] + change)


def test_reveal_leaf__absent__is_shown_by_nothing(case):
    hashes, depth, _ = tree(TEST)
    assert hashes.node(depth, 140) == absent(0)
    demand(case, TEST, level=depth, index=140)
    reveal(case, TEST, 140, data=b"")


@pytest.mark.parametrize("index", [3, 4 * 210])  # of the first row, of the row after the last
def test_reveal_leaf__absent_of_a_table__is_shown_by_nothing(index):
    """With 300 test points a row of sums has three leaves, of four that the tree has room for."""
    held = rounds.small(test_rows=300)
    right = rounds.tables(held)
    assert right.sums.entries.shape == (210, 300)
    case = Case(held=held)
    case.publish(right)
    _, depth, _ = tree(SUMS, tables=right)
    demand(case, SUMS, level=depth, index=index, valuation=right.valuation)
    reveal(case, SUMS, index, data=b"", tables=right)


def test_withdraw_bond__payee_refuses_ether__keeps_it(case):
    world = case.data.world
    wallet = refusing_wallet.deploy(world, BOB)
    asked = (1, plain(RIGHT.valuation), ORDER, 0, 0, 0)
    refusing_wallet.call(world, BOB, wallet, "ValuationGame", "demand", *asked, value=BOND)
    world.set_time(game(case, wallet)[2])
    case.do(BOB, "convictSilent", 1, wallet)
    case.do(BOB, "releaseBond", 1, 1, wallet)
    with refuses("TransferFailed"):
        refusing_wallet.call(world, BOB, wallet, "ValuationGame", "withdrawBond")
    assert case.do(BOB, "bondOf", wallet) == BOND


def test_answer__clocks__each_side_has_its_budget_and_then_the_least_reply(case):
    for _ in range(3):
        demand(case)
        case.data.world.set_time(game(case)[2] - 1)
        open_node(case, ORDER, 0, 0)
        case.data.world.set_time(game(case)[2] - 1)
    assert game(case)[2] == case.data.world.time + 1
    demand(case)
    assert game(case)[2] == case.data.world.time + MIN_REPLY


# ── convictSilent, lapse, releaseBond ───────────────────────────────────────────────────────────
def test_convict_silent__still_time__reverts(case):
    demand(case)
    case.data.world.set_time(game(case)[2] - 1)
    with refuses("DemandTurnOpen"):
        case.do(BOB, "convictSilent", 1, CHALLENGER)


def test_convict_silent__the_challengers_turn__reverts(case):
    demand(case)
    open_node(case, ORDER, 0, 0)
    case.data.world.set_time(game(case)[2])
    with refuses("DemandTurnInvalid"):
        case.do(BOB, "convictSilent", 1, CHALLENGER)


def test_convict_silent__silence__pays_the_challenger_and_everybody_gets_their_bond(case):
    demand(case)
    demand(case, by=RIVAL)
    case.data.world.set_time(game(case)[2])
    case.do(BOB, "convictSilent", 1, CHALLENGER)
    assert case.do(BOB, "rewardOf", CHALLENGER) == STAKE // 2
    for account in (CHALLENGER, RIVAL):
        case.do(BOB, "releaseBond", 1, 1, account)
        assert case.do(BOB, "bondOf", account) == BOND
        before = case.data.world.balance(account)
        case.do(account, "withdrawBond")
        assert case.data.world.balance(account) - before == BOND
    with refuses("DemandTurnInvalid"):
        case.do(BOB, "releaseBond", 1, 1, RIVAL)
    assert case.data.world.balance(case.data.game) == 0


def test_lapse__still_time__reverts(case):
    demand(case)
    open_node(case, ORDER, 0, 0)
    with refuses("DemandTurnOpen"):
        case.do(BOB, "lapse", 1, CHALLENGER)


def test_lapse__challenger_vanished__costs_its_bond_and_lets_the_round_settle(case):
    demand(case)
    open_node(case, ORDER, 0, 0)
    case.pass_window()
    with refuses("ChallengesOpen"):
        case.do(BOB, "settle", 1, VALUES)
    case.do(BOB, "lapse", 1, CHALLENGER)
    assert case.do(BOB, "bondOf", VALUATOR) == BOND // 2
    assert case.do(BOB, "bondOf", case.do(BOB, "burnAddress")) == BOND - BOND // 2
    case.do(BOB, "settle", 1, VALUES)


def test_release_bond__live__reverts(case):
    demand(case)
    with refuses("DemandTurnInvalid"):
        case.do(BOB, "releaseBond", 1, 1, CHALLENGER)


def test_demand__in_the_next_attempt__starts_anew(case):
    demand(case)
    case.data.world.set_time(game(case)[2])
    case.do(BOB, "convictSilent", 1, CHALLENGER)
    case.publish(RIGHT)
    demand(case)
    assert game(case, attempt=2)[1] == 1
    case.do(BOB, "releaseBond", 1, 1, CHALLENGER)


# ── a whole game ────────────────────────────────────────────────────────────────────────────────
def test_withheld_table__opened_leaf_by_leaf__convicts():
    case = Case(held=HELD)
    _, false = rounds.falsified(HELD, "step")
    valuation = case.publish(false)
    assert _descend(case, false) == false.order.leaf(2, 0)  # test point 2, positions 0 … 127
    case.convict(valuation, table_comparison.find(HELD, false, RIGHT))
    assert not case.published


def _descend(case, false):
    """Ask for what differs from the true table, level by level; return the bytes of its leaf."""
    true = RIGHT.order.tree
    _, depth, leaf = tree(ORDER, tables=false)
    level = index = 0
    while level < depth:
        demand(case, ORDER, level=level, index=index, valuation=false.valuation)
        nodes = open_node(case, ORDER, level, index, tables=false)
        below = min(6, depth - level)
        level, index = level + below, index << below
        index += next(k for k, node in enumerate(nodes) if node != true.node(level, index + k))
    demand(case, ORDER, level=level, index=index, valuation=false.valuation)
    reveal(case, ORDER, index, tables=false)
    return leaf(index)
