"""TrainingGame.prove…: every wrong coordinate is convicted, no right one, as the judge says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.training.aggregation import AggregationRule
from oracle.training.faults import (
    ClipFault,
    SumOpening,
    find_fault,
    find_unclipped,
    state_fault,
    sum_fault,
)
from oracle.training.vectors import STATE, Opening, VectorTree
from tests.contracts.data_credits.play import CHALLENGER, DEAD
from tests.contracts.training_rounds.play import (
    AGGREGATOR,
    BOND,
    COLLECTING,
    STAKE,
    UNCLIPPED,
    P,
    Training,
    Vectors,
    ruled,
)

RULES = [
    ((3, 1, 2), AggregationRule.MEAN, 0),
    ((1, 500, 7, 2), AggregationRule.MEAN, 0),
    ((1, 1, 1), AggregationRule.MEDIAN, 0),
    ((1, 1, 1, 1), AggregationRule.MEDIAN, 0),
    ((1, 1, 1, 1), AggregationRule.TRIMMED, 1),
]


def published(vectors: Vectors) -> Training:
    """Return a round with an aggregate."""
    training = Training(vectors=vectors)
    training.collect_updates()
    training.publish()
    return training


@pytest.fixture(params=RULES, ids=lambda rule: f"{rule[1].name}{len(rule[0])}")
def vectors(request: pytest.FixtureRequest) -> Vectors:
    weights, rule, trim = request.param
    return Vectors.random(weights, rule, trim=trim)


def test_prove__true_aggregate__convicts_nobody(vectors: Vectors) -> None:
    training = published(vectors)
    seen, clients = vectors.evidence, range(len(vectors.updates))

    assert find_fault(vectors.aggregation, seen) is None
    for coordinate in range(P):
        assert training.outcome(state_fault(vectors.aggregation, seen, coordinate)) is False
        for client in clients:
            update = seen.updates[client]
            clip = ClipFault(client + 1, coordinate, update.open(coordinate))
            assert training.outcome(clip) is False
            if seen.sums is not None:
                fault = sum_fault(seen.sums, update, client + 1, coordinate)
                assert training.outcome(fault) is False


def test_prove__state_wrong_at_any_coordinate__convicts(vectors: Vectors) -> None:
    """The chain holds one wrong state after the other: a conviction lets another be published."""
    training = Training(vectors=vectors)
    training.collect_updates()
    true = vectors.state
    for coordinate in (0, 31, 32, P - 1):
        vectors.state = true.copy()
        vectors.state[coordinate] ^= 1
        training.publish()
        fault = find_fault(vectors.aggregation, vectors.evidence)
        assert fault is not None
        assert fault.coordinate == coordinate
        training.prove(fault)
        assert training.round["stage"] == COLLECTING


@pytest.mark.parametrize("n", [1, 3, 4])
@pytest.mark.parametrize("off", [1, -(2**40), 2**63])
def test_prove__any_running_sum_wrong__convicts(n: int, off: int) -> None:
    vectors = Vectors.random((3, 1, 2, 7)[:n], AggregationRule.MEAN)
    training = Training(vectors=vectors)
    training.collect_updates(leastClients=1)
    true = vectors.sums
    for entry in [*range(18), P * n - 1]:
        vectors.sums = true.copy()
        vectors.sums[entry] = (int(true[entry]) + off + 2**63) % 2**64 - 2**63
        training.publish()
        fault = find_fault(vectors.aggregation, vectors.evidence)
        assert fault is not None
        assert (fault.coordinate, fault.number - 1) == divmod(entry, n)
        training.prove(fault)
        assert training.round["stage"] == COLLECTING


def test_prove__wrong_state__pays_half_of_the_bond_and_burns_half() -> None:
    vectors = Vectors.random((3, 1, 2), AggregationRule.MEAN)
    vectors.state[5] += 1
    training = published(vectors)
    training.prove(find_fault(vectors.aggregation, vectors.evidence))

    assert training.balance(CHALLENGER) == STAKE // 2
    assert training.balance(DEAD) == STAKE - STAKE // 2
    assert training.balance(AGGREGATOR) == 0


def test_prove_clip__update_out_of_bounds__takes_bond_and_share_and_counts_as_clipped() -> None:
    vectors = Vectors.random((3, 1, 2), AggregationRule.MEAN)
    vectors.updates[1][40] = -1_001
    vectors = Vectors(vectors.aggregation, vectors.base, vectors.updates)
    training = published(vectors)
    fault = find_unclipped(vectors.aggregation, VectorTree(vectors.updates[1], STATE), 2)

    assert find_fault(vectors.aggregation, vectors.evidence) is None
    assert fault is not None
    assert fault.coordinate == 40
    training.prove(fault)
    assert training.status(2) == UNCLIPPED
    assert training.round["sharing"] == 2
    assert training.round["counted"] == 3
    assert training.balance(CHALLENGER) == BOND // 2


@st.composite
def proofs(draw: Any) -> tuple[Vectors, Any]:
    """Draw a proof about an aggregate that may be wrong, with parts changed at random."""
    weights, rule, trim = draw(st.sampled_from(RULES))
    vectors = Vectors.random(weights, rule, draw(st.integers(0, 3)), trim=trim)
    n = len(weights)
    coordinate, client = draw(st.integers(0, P - 1)), draw(st.integers(0, n - 1))
    if draw(st.booleans()):
        vectors.state[coordinate] = draw(st.integers(-(2**31), 2**31 - 1))
    if vectors.sums is not None and draw(st.booleans()):
        vectors.sums[coordinate * n + client] = draw(st.integers(-(2**63), 2**63 - 1))
    if draw(st.booleans()):
        vectors.updates[client][coordinate] = draw(st.integers(-(2**31), 2**31 - 1))
    seen = vectors.evidence
    update = seen.updates[client]
    kinds = ["state", "clip", "sum"] if seen.sums is not None else ["state", "clip"]
    kind = draw(st.sampled_from(kinds))
    if kind == "sum":
        fault: Any = sum_fault(seen.sums, update, client + 1, coordinate)
    elif kind == "clip":
        fault = ClipFault(client + 1, coordinate, update.open(coordinate))
    else:
        fault = state_fault(vectors.aggregation, seen, coordinate)
    for _ in range(draw(st.integers(0, 2))):
        fault = draw(changed(fault, n))
    return vectors, fault


@st.composite
def changed(draw: Any, fault: Any, n: int) -> Any:
    """Draw a proof of which one part is another."""
    name = draw(st.sampled_from(list(fault.__slots__)))
    part = getattr(fault, name)
    if name == "coordinate":
        return replace(fault, coordinate=draw(st.integers(0, P + 40) | st.just(2**200)))
    if name == "number":
        return replace(fault, number=draw(st.integers(0, n + 1) | st.just(2**200)))
    if name == "updates":
        moved = draw(st.sampled_from([part[:-1], part[::-1], (*part, part[0])]))
        return replace(fault, updates=moved)
    return replace(fault, **{name: draw(opened(part))})


@st.composite
def opened(draw: Any, part: Opening | SumOpening) -> Any:
    """Draw an opening with other bytes or another path."""
    field = draw(st.sampled_from(list(part.__slots__)))
    value = getattr(part, field)
    if isinstance(value, bytes):
        at = draw(st.integers(0, max(0, len(value) - 1)))
        other = bytes([draw(st.integers(0, 255))])
        choices = [value[:-1], value + b"\0", b"", value[:at] + other + value[at + 1 :], bytes(128)]
    else:
        choices = [value[:-1], (*value, bytes(32)), value[::-1], ()]
    return replace(part, **{field: draw(st.sampled_from(choices))})


@given(case=proofs())
def test_prove__any_proof__is_ruled_as_the_judge_rules(case: tuple[Vectors, Any]) -> None:
    vectors, fault = case
    training = Training(vectors=vectors)
    training.collect_updates()
    training.publish()

    assert training.outcome(fault) == ruled(vectors.published, fault)


def test_prove__excluded_update__counts_with_weight_0() -> None:
    vectors = Vectors.random((3, 1, 2), AggregationRule.MEAN)
    training = Training(vectors=vectors)
    training.collect_updates()
    training.demand(0, 2)
    training.until("serveUntil")
    training.do(CHALLENGER, "convictSilent", 1, 2, CHALLENGER)
    vectors = Vectors(
        replace(vectors.aggregation, weights=(3, 0, 2)), vectors.base, vectors.updates
    )
    training.vectors = vectors
    training.publish()
    seen = vectors.evidence

    assert seen.sums is not None
    for coordinate in range(P):
        assert training.outcome(state_fault(vectors.aggregation, seen, coordinate)) is False
        fault = sum_fault(seen.sums, seen.updates[1], 2, coordinate)
        assert training.outcome(fault) is False


def test_prove__sum_of_an_excluded_update__needs_no_leaf_of_it() -> None:
    """Nobody has the update, and a running sum that adds something there is convicted."""
    vectors = Vectors.random((3, 1, 2), AggregationRule.MEAN)
    training = Training(vectors=vectors)
    training.collect_updates()
    training.demand(0, 2)
    training.until("serveUntil")
    training.do(CHALLENGER, "convictSilent", 1, 2, CHALLENGER)
    weights = replace(vectors.aggregation, weights=(3, 0, 2))
    vectors = training.vectors = Vectors(weights, vectors.base, vectors.updates)
    vectors.sums[3 * 40 + 1] += 1
    training.publish()
    lost = replace(vectors.evidence, updates=[VectorTree(np.zeros(P, np.int32), STATE)] * 3)
    assert lost.sums is not None
    fault = replace(sum_fault(lost.sums, lost.updates[1], 2, 40), update=Opening(b"", ()))

    assert training.outcome(replace(fault, coordinate=P)) == "coordinate"
    assert ruled(vectors.published, replace(fault, coordinate=P)) == "coordinate"
    assert ruled(vectors.published, fault) is True
    training.prove(fault)
    assert training.round["stage"] == COLLECTING
