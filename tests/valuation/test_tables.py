"""The reference and the tables: worked by hand, from the definition, and by their invariants."""

from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.merkle import climb, keccak, tree_root
from oracle.types import ZERO32
from oracle.valuation import reference
from oracle.valuation.dataset import DataSet
from oracle.valuation.errors import DataOversized, SchemaMismatch
from oracle.valuation.rounds import MAX_TEST_ROWS, ONE, Params, RoundData
from oracle.valuation.tables import NOWHERE, build, leaf_hash, read, value_leaf
from tests.valuation.rounds import random_set, small, tables

DATA = small()
RIGHT = tables(DATA)


def line(labels: list[int], k: int, tau: int = 0) -> RoundData:
    """One test point at 0 with label 1, rows at 1, 2, 3 … from it."""
    rows = DataSet.of(np.arange(1, len(labels) + 1)[:, None], np.array(labels))
    return RoundData(Params(k, tau, tau), (rows,), DataSet.of(np.zeros((1, 1), int), np.array([1])))


@pytest.mark.parametrize(("labels", "k"), [([1, 0, 1, 1, 0], 2), ([0, 1], 5), ([1], 3), ([0], 1)])
def test_scores__few_rows__are_shapley_values_by_definition(labels: list[int], k: int) -> None:
    data = line(labels, k)
    block = next(reference.scores(data, reference.flags(data)))
    n = len(labels)

    def utility(members: tuple[int, ...]) -> float:  # nearest first, as rows stand on a line
        return sum(labels[i] == 1 for i in members[:k]) / k

    for i in range(n):
        others = [j for j in range(n) if j != i]
        value = sum(
            (utility(tuple(sorted((*some, i)))) - utility(some)) / (n * comb(n - 1, size))
            for size in range(n)
            for some in combinations(others, size)
        )
        assert block.s[0, i] / ONE == pytest.approx(value, abs=n / ONE)


def test_scores__all_rows__sum_to_what_all_are_worth() -> None:
    flags = reference.flags(DATA)
    for block in reference.scores(DATA, flags):
        nearest = DATA.labels[block.rows[0, : DATA.params.k]]
        worth = ONE * int((nearest == DATA.test.labels[block.start]).sum()) // DATA.params.k
        assert abs(int(block.s.sum()) - worth) < len(flags.kept) ** 2  # c_p counts p + 1 times


def test_flags__copies_with_other_labels_first__honest_rows_take_part() -> None:
    rng = np.random.default_rng(7)
    honest = random_set(rng, 30)
    flipped = DataSet.of(honest.features, (honest.labels + 1) % 3)
    data = RoundData(Params(5, 30, 0), (flipped, honest), random_set(rng, 9))
    alone = RoundData(data.params, (honest,), data.test)
    assert reference.flags(data).flag[30:].tolist() == reference.flags(alone).flag.tolist()


def test_flags__leaks_twins_and_chains__first_committed_wins() -> None:
    flags = reference.flags(DATA)
    start = DATA.starts
    assert (flags.flag[start[4] : start[5]] != 0).all()  # copies of the first contribution's rows
    assert (flags.flag[start[5] : start[6]] == reference.LEAKED).all()
    assert (flags.flag[start[6] : start[7]] != reference.DUPLICATE).all()  # other labels
    assert flags.flag[start[7] :].tolist() == [0, reference.DUPLICATE, 0]
    for i in np.flatnonzero(flags.flag == reference.DUPLICATE):
        assert flags.witness[i] < i
        assert flags.flag[flags.witness[i]] == 0


def test_weights__every_rank__equal_weight() -> None:
    for k in (1, 5, 200, 2**32 - 1):
        assert reference.weights(150, k).tolist() == [reference.weight(p, k) for p in range(150)]


def test_build__every_table__holds_what_the_page_says() -> None:
    flags, blocks = reference.flags(DATA), list(reference.scores(DATA, reference.flags(DATA)))
    values = np.zeros(len(DATA.labels), np.int64)
    for block in blocks:
        values[block.rows[0]] += block.s[0]
    order, sums, rows = (t.entries for t in (RIGHT.order, RIGHT.sums, RIGHT.rows))
    assert order["row"].tolist() == [block.rows[0].tolist() for block in blocks]
    assert read(sums["running"])[:, -1].tolist() == values.tolist()
    for i in flags.kept[::17]:
        for t in (0, 1, 127, 128, 130):
            assert order["row"][t, sums["position"][i, t]] == i
    assert (sums["position"][flags.flag != 0] == NOWHERE).all()
    assert rows["flagged"][0, -1] == len(DATA.labels) - order.shape[1]
    for c, (start, end) in enumerate(zip(DATA.starts, DATA.starts[1:], strict=False)):
        total = int(values[start:end].sum())
        assert read(rows["prefix"])[0, end - 1] == total
        assert RIGHT.values[c] == max(0, total)
        assert RIGHT.credits[c] == max(0, total) // DATA.test.rows


def test_leaf__last_of_a_row__logical_bytes_padded_by_who_hashes() -> None:
    table, width = RIGHT.sums, DATA.test.rows
    assert len(table.leaf(0, 1)) == (width - 128) * 16
    padded = table.leaf(0, 1) + bytes((256 - width) * 16)
    assert leaf_hash(table.leaf(0, 1)) == keccak(b"\x11" + padded)


def test_path__every_leaf_of_some_rows__leads_to_the_root() -> None:
    for table in (RIGHT.order, RIGHT.sums, RIGHT.rows):
        rows, entries = table.entries.shape
        leaves = -(-entries // 128)
        for row in {0, rows // 2, rows - 1}:
            for leaf in range(leaves):
                index = (row << (leaves - 1).bit_length()) + leaf
                node = leaf_hash(table.leaf(row, leaf))
                assert climb(node, index, table.path(row, leaf)) == table.root


def test_root__order__is_rows_over_leaves_with_absent_ones() -> None:
    row_roots = [
        tree_root([leaf_hash(RIGHT.order.leaf(t, leaf)) for leaf in range(2)], 1)
        for t in range(DATA.test.rows)
    ]
    padding = 256 - len(row_roots)
    assert RIGHT.order.root == tree_root([*row_roots, *[keccak(bytes(64))] * padding], 8)


def test_valuation__roots__are_the_pages() -> None:
    held = RIGHT.valuation
    counts = b"".join(number.to_bytes(4) for number in (held.N, held.n, held.T))
    roots = RIGHT.order.root + RIGHT.sums.root + RIGHT.rows.root + held.values
    assert held.root == keccak(b"\x13" + counts + roots)
    leaves = [value_leaf(c.to_bytes(4) + value.to_bytes(8)) for c, value in enumerate(RIGHT.values)]
    assert held.values == tree_root(leaves, 3)


def test_build__into_a_folder__the_same_root_in_files(tmp_path: Path) -> None:
    flags = reference.flags(DATA)
    held = build(DATA, flags, reference.scores(DATA, flags), tmp_path)
    assert held.valuation.root == RIGHT.valuation.root
    assert (tmp_path / "order.bin").read_bytes() == RIGHT.order.entries.tobytes()
    assert (tmp_path / "sums.bin").stat().st_size == RIGHT.sums.entries.nbytes


def test_build__every_row_flagged__no_order_and_no_values() -> None:
    rng = np.random.default_rng(0)
    test = random_set(rng, 20)
    data = RoundData(Params(3, 0, 0), (DataSet.of(test.features[:5], test.labels[:5]),), test)
    held = tables(data)
    assert held.valuation.n == 0
    assert held.order.root == ZERO32
    assert held.values == (0,)


def test_round_data__sets_that_do_not_fit__typed_error() -> None:
    rng = np.random.default_rng(0)
    one, other = random_set(rng, 5), random_set(rng, 5, width=4)
    with pytest.raises(SchemaMismatch):
        RoundData(Params(3, 0, 0), (one,), other)
    with pytest.raises(InputInvalid):
        RoundData(Params(3, 0, 0), (), other)
    with pytest.raises(InputInvalid):
        RoundData(Params(0, 0, 0), (one,), one)
    many = DataSet.of(np.zeros((MAX_TEST_ROWS + 1, 3), int), np.arange(MAX_TEST_ROWS + 1))
    with pytest.raises(DataOversized):
        RoundData(Params(3, 0, 0), (one,), many)
