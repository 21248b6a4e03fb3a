"""Rules over updates: what a contract judges, and krum's choice."""

import numpy as np
import pytest

from oracle.errors import ConfigInvalid
from oracle.training.aggregation import Aggregation, AggregationRule
from oracle.training.errors import AggregationInvalid, VectorInvalid
from worker.training import rules

CLIP = 1000


def drawn(clients: int, parameters: int, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return list(draw.integers(-CLIP, CLIP + 1, (clients, parameters)).astype(np.int16))


def test_chosen__unfit_rule_or_clients__is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="none of mean"):
        rules.chosen("best", drawn(3, 4), [1] * 3, clip=CLIP)  # type: ignore[arg-type]
    with pytest.raises(ConfigInvalid, match="9 updates, there are 8"):
        rules.chosen("krum", drawn(8, 4), [1] * 8, clip=CLIP, suspected=3)
    with pytest.raises(AggregationInvalid, match="trim"):
        rules.chosen("trimmed", drawn(6, 4), [1] * 6, clip=CLIP, suspected=3)
    with pytest.raises(AggregationInvalid):
        rules.chosen("mean", [], [], clip=CLIP)
    with pytest.raises(VectorInvalid):
        rules.chosen("krum", [*drawn(4, 4), np.zeros(3, np.int16)], [1] * 5, clip=CLIP)


def test_next_state__more_than_one_block__is_the_rule_of_each_coordinate() -> None:
    updates, parameters = drawn(5, 70_001), 70_001
    base = np.random.default_rng(2).integers(-(2**20), 2**20, parameters).astype(np.int32)
    columns = np.sort(np.stack(updates).astype(np.int64), axis=0)
    weights = [3, 1, 4, 1, 5]
    for name, expected in {
        "mean": np.floor(
            (np.array(weights) @ np.stack(updates).astype(np.int64)) / sum(weights) + 0.5
        ),
        "median": columns[2],
        "trimmed": np.floor(columns[1:4].sum(0) / 3 + 0.5),
    }.items():
        rule = rules.chosen(name, updates, weights, clip=CLIP, suspected=1)  # type: ignore[arg-type]
        assert np.array_equal(rules.next_state(rule, base, updates) - base, expected), name


def test_distances__coordinates_at_the_limit__are_exact() -> None:
    high = np.full(200_000, 2**15 - 1, np.int16)
    odd = high.copy()
    odd[77_777] = 2**15 - 2
    aggregation = Aggregation(200_000, 2**15 - 1, (1, 1, 1))

    found = rules.distances(aggregation, [high, odd, -high])

    far = 200_000 * (2 * (2**15 - 1)) ** 2
    assert found.tolist() == [
        [0, 1, far],
        [1, 0, far - 2 * 2 * (2**15 - 1) + 1],
        [far, far - 2 * 2 * (2**15 - 1) + 1, 0],
    ]


def test_nearest__any_distances__is_krum_by_its_definition() -> None:
    for seed in range(20):
        updates = drawn(9, 6, seed)
        squared = rules.distances(Aggregation(6, CLIP, (1,) * 9), updates)
        values = np.stack(updates).astype(np.int64)
        by_hand = [
            sum(sorted(int(((u - v) ** 2).sum()) for j, v in enumerate(values) if j != i)[: 9 - 5])
            for i, u in enumerate(values)
        ]
        assert rules.nearest(squared, 3) == sorted(range(9), key=lambda i: (by_hand[i], i))


def test_chosen__krum__counts_one_honest_update_and_is_a_mean_that_is_judged() -> None:
    honest = np.random.default_rng(0).normal(100, 5, (7, 500)).astype(np.int16)
    far = np.full((3, 500), -CLIP, np.int16)
    updates = [*far, *honest]

    rule = rules.chosen("krum", updates, [9] * 10, clip=CLIP, suspected=3)

    assert rule.rule == AggregationRule.MEAN
    (best,) = rule.counted
    assert best >= 3
    assert np.array_equal(
        rules.next_state(rule, np.zeros(500, np.int32), updates), updates[best].astype(np.int32)
    )


def test_chosen__multi_krum__counts_the_nearest_with_their_weights() -> None:
    updates = [np.full(8, value, np.int16) for value in (900, 5, 6, 7, 8, 9, -900)]

    rule = rules.chosen("multi-krum", updates, range(1, 8), clip=CLIP, suspected=2)

    assert rule.weights == (0, 0, 3, 4, 5, 0, 0)


def test_chosen__krum_with_clients_that_do_not_count__chooses_among_the_others() -> None:
    updates = [np.full(8, value, np.int16) for value in (5, 5, 5, 5, 1, 2, 3, 900)]

    rule = rules.chosen("krum", updates, [0, 0, 0, 0, 1, 1, 1, 1], clip=CLIP, suspected=0)

    assert rule.counted == [5]
