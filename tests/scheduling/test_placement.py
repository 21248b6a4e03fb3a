"""The choice of an operator: deterministic, and explained."""

import random
from dataclasses import replace

import pytest

from oracle.errors import NotFound
from oracle.scheduling.placement import UNKNOWN_LATENCY, Candidate, choose
from oracle.types import Address, Amount

LOCK = Amount(10)
A, B, C = (Address("0x" + d * 40) for d in "abc")


def able(operator, **facts):
    return Candidate(operator, True, True, Amount(facts.pop("free_stake", 100)), **facts)


def test_choose__nobody__says_who_can_change_that():
    with pytest.raises(NotFound) as caught:
        choose([], LOCK)
    assert "operator authorize" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"registered": False}, "is not registered"),
        ({"authorized": False}, "is not authorised"),
        ({"free_stake": Amount(9)}, "lacks 1e-06 dollars of free stake"),
    ],
)
def test_choose__not_eligible__says_why(changes, why):
    with pytest.raises(NotFound) as caught:
        choose([replace(able(A), **changes)], LOCK)
    assert f"{A}: {why}" in caught.value.hint


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"latency": 3.0, "delivered": 5}, {"latency": 2.0, "delivered": 5}),
        ({"latency": 2.0, "delivered": 5, "in_flight": 2}, {"latency": 2.0, "delivered": 5}),
        ({"latency": 2.0, "delivered": 5, "failed": 5}, {"latency": 3.0, "delivered": 5}),
        ({"latency": UNKNOWN_LATENCY + 1, "delivered": 5}, {}),
        ({"free_stake": 50}, {"free_stake": 60}),
    ],
)
def test_choose__one_is_better__takes_it_in_any_order(worse, better):
    candidates = [able(A, **worse), able(B, **better)]
    assert choose(candidates, LOCK).operator == B
    assert choose(candidates[::-1], LOCK).operator == B


def test_choose__equal_facts__does_not_depend_on_order():
    candidates = [able(A), able(B), able(C)]
    found = set()
    for seed in range(10):
        random.Random(seed).shuffle(candidates)
        found.add(choose(candidates, LOCK).operator)
    assert found == {A}


def test_choose__every_fact__is_in_the_reason():
    choice = choose([able(A, latency=2.5, in_flight=1, delivered=3, failed=1)], LOCK)
    assert choice.reason == "answers in 2.5 s, 1 request before this one, failed 1 of its last 4"


def test_choose__answered_within_the_same_second__is_not_called_zero():
    assert choose([able(A, latency=0.0)], LOCK).reason == "answers in under 1 s"


def test_choose__ineligible_ones__stand_last_with_their_reason():
    choice = choose([replace(able(A), registered=False), able(B, latency=99.0)], LOCK)
    assert [r.operator for r in choice.ranking] == [B, A]
    assert choice.ranking[1].expected_wait is None
