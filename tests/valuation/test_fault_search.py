"""Tables that nobody serves: every lie is found by what the chain makes its teller show."""

from dataclasses import replace

import numpy as np
import pytest

from oracle.types import ValuationPart
from oracle.valuation import fault_search, openings
from oracle.valuation.errors import FaultInvalid
from oracle.valuation.faults import Fault
from oracle.valuation.judge import judge
from oracle.valuation.reference import flags, scores
from oracle.valuation.rounds import Params, RoundData
from oracle.valuation.shown_table import OpenedTable, Unknown
from oracle.valuation.tables import Table, Tables, build
from tests.valuation.rounds import NAMES, copy, falsified, random_set, small, tables

DATA = small()
RIGHT = tables(DATA)
MOST = 32  # demands that the game allows one challenger


def opened(data: RoundData, false: Tables, right: Tables) -> Tables:
    """What is known of unserved tables at first: their roots."""

    def table(part: ValuationPart, theirs: Table, ours: Table) -> Table:
        return OpenedTable(part, ours, theirs.root, theirs.entries.shape)

    return Tables(
        table(ValuationPart.ORDER, false.order, right.order),
        table(ValuationPart.SUMS, false.sums, right.sums),
        table(ValuationPart.ROWS, false.rows, right.rows),
        false.values,
    )


def hunt(data: RoundData, false: Tables, right: Tables, most: int = MOST) -> tuple[Fault, int]:
    """Demand and look until a fault is found; return it, and the demands."""
    known = opened(data, false, right)
    held = {
        ValuationPart.ORDER: known.order,
        ValuationPart.SUMS: known.sums,
        ValuationPart.ROWS: known.rows,
    }
    for demands in range(most + 1):
        try:
            return fault_search.find(data, known, right), demands
        except Unknown as unknown:
            shown = openings.answer(
                openings.tree(data, false, unknown.part), unknown.level, unknown.index
            )
            table = held[unknown.part]
            assert isinstance(table, OpenedTable)
            if isinstance(shown, openings.Leaf):
                table.show_leaf(unknown.index, shown.data, shown.path)
            else:
                table.show_nodes(unknown.level, unknown.index, shown.nodes)
    raise AssertionError(f"more than {most} demands")


@pytest.mark.parametrize("name", NAMES)
def test_find__one_lie__a_proof_that_convicts(name: str) -> None:
    _, false = falsified(DATA, name)

    fault, _ = hunt(DATA, false, RIGHT)

    assert judge(DATA.round, false.valuation, fault)


def test_find__the_right_tables__nothing_to_ask() -> None:
    with pytest.raises(FaultInvalid):
        hunt(DATA, copy(RIGHT), RIGHT)


@pytest.mark.parametrize("seed", range(60))
def test_find__many_numbers_are_wrong__a_proof_that_convicts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    false = bent(rng)

    fault, _ = hunt(DATA, false, RIGHT)

    assert judge(DATA.round, false.valuation, fault)


def bent(rng: np.random.Generator) -> Tables:
    """Tables that are wrong all over, each in another way."""
    false = copy(RIGHT)
    order, sums, rows = (t.entries for t in (false.order, false.sums, false.rows))
    match int(rng.integers(0, 7)):
        case 0:  # other neighbours: all scores, sums and values follow, consistently
            other = RoundData(Params(int(rng.integers(1, 5)), 30, 12), DATA.sets, DATA.test)
            flagged = flags(other)
            return build(other, flagged, scores(other, flagged))
        case 1:  # other tolerances: flags, n and everything else
            other = RoundData(Params(5, int(rng.integers(0, 30)), 12), DATA.sets, DATA.test)
            flagged = flags(other)
            return build(other, flagged, scores(other, flagged))
        case 2:  # a row is left out everywhere, another stands twice
            for t in range(len(order)):
                at = int(rng.integers(0, order.shape[1] - 2))
                order[t, at:-1] = order[t, at + 1 :]
        case 3:  # two blocks of a row change places
            t = int(rng.integers(0, len(order)))
            order[t] = np.roll(order[t], int(rng.integers(1, 100)))
        case 4:  # every running sum is moved
            sums["running"] += np.uint64(rng.integers(1, 1 << 30))
        case 5:  # heads are drawn by lot
            rows["head"][0] = rng.integers(0, 3, rows.shape[1]) << 24 | rng.integers(0, 40)
        case 6:  # prefixes from somewhere on, and the values that follow
            at = int(rng.integers(0, rows.shape[1]))
            rows["prefix"][0, at:] += np.uint64(1 << 41)
            return replace(false, values=tuple(value + (2 << 40) for value in false.values))
    return false


def test_find__a_round_of_many_leaves__few_demands() -> None:
    rng = np.random.default_rng(3)
    sets = tuple(random_set(rng, rows, 6) for rows in (2_000, 1_500))
    data = RoundData(Params(5, 4, 4), sets, random_set(rng, 5, 6))
    flagged = flags(data)
    right = build(data, flagged, scores(data, flagged))
    other = RoundData(Params(4, 4, 4), sets, data.test)
    false = build(other, flagged, scores(other, flagged))

    fault, demands = hunt(data, false, right)

    assert judge(data.round, false.valuation, fault)
    assert demands <= 20
