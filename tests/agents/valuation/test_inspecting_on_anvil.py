"""Rows that nobody could value are found while they can still be left out."""

from pathlib import Path

import pytest

from oracle.errors import Refused
from oracle.services.data import inspect
from tests.agents.valuation.conftest import HELD
from tests.agents.valuation.play import Round
from tests.services.conftest import World

pytestmark = pytest.mark.real


def test_inspect__all_rows_served__nothing_wrong(round_: Round, tmp_path: Path) -> None:
    found = inspect.inspect(round_.network, round_.id, tmp_path / "held")

    assert [one.index for one in found] == list(range(len(HELD.sets)))
    assert [one.rows for one in found] == [held.rows for held in HELD.sets]
    assert {one.problem for one in found} == {""}


def test_inspect__rows_that_nobody_serves__each_has_a_problem(world: World, tmp_path: Path) -> None:
    round_ = Round(world, HELD, tmp_path / "files").seal(served_too=False)

    found = inspect.inspect(round_.network, round_.id, tmp_path / "held")

    assert all(one.problem for one in found)
    with pytest.raises(Refused):  # rows have numbers by now
        inspect.exclude(round_.network, world.owner, round_.id, found)


def test_inspect__before_the_seal__left_out_and_the_others_valued(
    world: World, tmp_path: Path
) -> None:
    round_ = Round(world, HELD, tmp_path / "files")
    seen = []

    def look() -> None:
        found = inspect.inspect(round_.network, round_.id, tmp_path / "held")
        seen.extend(found)
        bad = tuple(
            inspect.Inspected(one.index, one.owner, one.rows, "gone" if one.index == 2 else "")
            for one in found
        )
        inspect.exclude(round_.network, world.owner, round_.id, bad)

    round_.seal(before_test=look)

    assert len(seen) == len(HELD.sets)
    assert world.network.data_rounds.round_of(round_.id).numbered == len(HELD.sets) - 1
