"""Aggregation: against the definition in plain integers, block by block and in other processes."""

import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.training.aggregation import (
    Aggregated,
    Aggregation,
    AggregationRule,
    RunningSums,
    aggregate,
    block_levels,
    sums_root,
)
from oracle.training.errors import AggregationInvalid, VectorInvalid
from oracle.training.vectors import STATE, SUMS, VectorTree
from oracle.types import ZERO32

HALF = Fraction(1, 2)
RNG = np.random.default_rng(7)
BASE = RNG.integers(-(2**31), 2**31, 1000).astype(np.int32)
UPDATES = [RNG.integers(-32768, 32768, 1000).astype(np.int16) for _ in range(5)]
MEAN = Aggregation(1000, 20_000, (3, 1, 0, 65_535, 2))


def defined(aggregation: Aggregation, base: int, shown: Sequence[int]) -> tuple[int, list[int]]:
    """Return the next state and the running sums of one coordinate, by the definition."""
    clip, weights = aggregation.clip, aggregation.weights
    clipped = [max(-clip, min(clip, value)) for value in shown]
    sums, total = [], 0
    for weight, value in zip(weights, clipped, strict=True):
        total += weight * value
        sums.append(total)
    ranked = sorted(value for value, weight in zip(clipped, weights, strict=True) if weight)
    count, k = len(ranked), aggregation.trim
    if aggregation.rule == AggregationRule.MEAN:
        step = floor(Fraction(total, sum(weights)) + HALF)
    elif aggregation.rule == AggregationRule.MEDIAN and count % 2:
        step = ranked[count // 2]
    elif aggregation.rule == AggregationRule.MEDIAN:
        step = floor(Fraction(ranked[count // 2 - 1] + ranked[count // 2], 2))
    else:
        kept = ranked[k : count - k]
        step = floor(Fraction(sum(kept), len(kept)) + HALF)
    return max(-(2**31), min(2**31 - 1, base + step)), sums


@st.composite
def cases(draw: Any) -> tuple[Aggregation, int, list[int]]:
    rule = draw(st.sampled_from(AggregationRule))
    n = draw(st.integers(1, 16))
    weights = draw(st.lists(st.integers(0, 65_535), min_size=n, max_size=n).filter(any))
    counted = sum(weight > 0 for weight in weights)
    trim = draw(st.integers(0, (counted - 1) // 2)) if rule == AggregationRule.TRIMMED else 0
    clip = draw(st.sampled_from([1, 7, 32_767]))
    near = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([-(2**31), 2**31 - 1])
    values = st.integers(-40_000, 40_000) | st.integers(-(2**31), 2**31 - 1)
    shown = draw(st.lists(values, min_size=n, max_size=n))
    return Aggregation(1, clip, tuple(weights), rule, trim), draw(near), shown


@given(case=cases())
def test_next_state__of_any_updates__is_that_of_the_definition(
    case: tuple[Aggregation, int, list[int]],
) -> None:
    aggregation, base, shown = case
    updates = np.array(shown)[:, None]
    state, sums = defined(aggregation, base, shown)

    assert aggregation.next_state(np.array([base], np.int32), updates).tolist() == [state]
    assert aggregation.running_sums(updates).tolist() == [sums]


def whole(aggregation: Aggregation, **how: Any) -> tuple[Aggregated, np.ndarray, list[int]]:
    """Aggregate the updates above; return also the next state and where parts began."""
    state = np.zeros(1000, np.int32)
    starts: list[int] = []

    def write(start: int, part: np.ndarray) -> None:
        state[start : start + len(part)] = part
        starts.append(start)

    return aggregate(aggregation, BASE, UPDATES, write, **how), state, starts


@pytest.mark.parametrize("at_once", [1, 700, 2**20])
def test_aggregate__in_blocks_of_any_size__has_the_roots_of_the_whole(
    at_once: int,
) -> None:
    made, state, starts = whole(MEAN, at_once=at_once)
    sums = MEAN.running_sums(np.stack(UPDATES)).reshape(-1)

    assert starts == list(range(0, 1000, 32 << block_levels(5, at_once)))
    assert np.array_equal(state, MEAN.next_state(BASE, np.stack(UPDATES)))
    assert made.state_tree(state).root == VectorTree(state, STATE).root
    assert sums_root(made, RunningSums(MEAN, UPDATES)) == VectorTree(sums, SUMS).root


def test_aggregate__in_other_processes__is_the_same() -> None:
    with ProcessPoolExecutor(2) as pool:
        assert whole(MEAN, map=pool.map)[0] == whole(MEAN)[0]


def test_aggregate__rule_that_shows_all__has_no_sums() -> None:
    made, _, _ = whole(replace(MEAN, rule=AggregationRule.MEDIAN))

    assert sums_root(made, RunningSums(MEAN, UPDATES)) == ZERO32


@given(bounds=st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
def test_running_sums__any_part__is_that_of_the_whole(bounds: tuple[int, int]) -> None:
    start, stop = sorted(bounds)
    sums = MEAN.running_sums(np.stack(UPDATES)).reshape(-1)

    assert len(RunningSums(MEAN, UPDATES)) == 5000
    assert np.array_equal(RunningSums(MEAN, UPDATES)[start:stop], sums[start:stop])


def test_running_sums__greatest_round__does_not_overflow() -> None:
    most = Aggregation(1, 32_767, (65_535,) * 65_535)
    sums = most.running_sums(np.full((65_535, 1), 32_767))

    assert int(sums[0, -1]) == 65_535**2 * 32_767
    assert most.step(np.full((65_535, 1), 32_767)).tolist() == [32_767]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"parameters": 0}, "0 parameters"),
        ({"parameters": 2**32 + 1}, "parameters"),
        ({"clip": 0}, "clip of 0"),
        ({"clip": 32_768}, "clip of 32768"),
        ({"weights": ()}, "no client"),
        ({"weights": (0, 0)}, "no client"),
        ({"weights": (-1, 2)}, "weight"),
        ({"weights": (65_536,)}, "weight"),
        ({"weights": (1,) * 65_536}, "65536 clients"),
        ({"weights": (1,) * 17, "rule": AggregationRule.MEDIAN}, "17 clients of at most 16"),
        ({"trim": 1}, "trim of 1"),
        ({"trim": -1, "rule": AggregationRule.TRIMMED}, "trim of -1"),
        ({"trim": 2, "rule": AggregationRule.TRIMMED}, "trim of 2 with 4 clients"),
    ],
)
def test_aggregation__that_is_none__is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(AggregationInvalid, match=match):
        replace(MEAN, **changes)


def test_aggregate__vectors_of_another_round__are_refused() -> None:
    with pytest.raises(VectorInvalid, match="4 updates of 5 clients"):
        aggregate(MEAN, BASE, UPDATES[:4], print)
    with pytest.raises(VectorInvalid, match="update 5 has 999 coordinates, not 1000"):
        aggregate(MEAN, BASE, [*UPDATES[:4], UPDATES[4][:999]], print)
    with pytest.raises(VectorInvalid, match="a state of 999 in place of 1000"):
        aggregate(MEAN, BASE[:999], UPDATES, print)


def test_aggregate__large_round__takes_memory_of_a_few_blocks(tmp_path: Path) -> None:
    """A block has 2¹⁴ running sums here; what is kept of the others is two roots of 32 bytes."""
    length, clients = 2**17, 4
    updates = [np.memmap(tmp_path / f"{c}", np.int16, "w+", shape=length) for c in range(clients)]
    base = np.memmap(tmp_path / "base", np.int32, "w+", shape=length)
    state = np.memmap(tmp_path / "next", np.int32, "w+", shape=length)
    terms = Aggregation(length, 100, (1,) * clients)

    def write(start: int, part: np.ndarray) -> None:
        state[start : start + len(part)] = part

    tracemalloc.start()
    try:
        aggregate(terms, base, updates, write, at_once=2**14)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * state.nbytes
