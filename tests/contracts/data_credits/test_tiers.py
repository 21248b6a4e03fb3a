"""Tiers: what earned credits and kept deposits are good for."""

import pytest

from tests.contracts.data_credits.play import ALICE, BOB, DEPOSIT, ONE, RIVAL, refuses


def tier(data, account=ALICE):
    return data.see("tierOf", 1, account)


def test_tier__nothing_done__is_0(data):
    assert tier(data) == 0
    assert data.see("requirementsOf", 1, ALICE) == (DEPOSIT, 2)


@pytest.mark.parametrize(("value", "expected"), [(2**40 - 1, 0), (2**40, 1), (ONE, 1)])
def test_tier__one_deposit_kept__follows_what_was_earned(data, value, expected):
    data.play([ALICE], [value])
    assert tier(data) == expected


@pytest.mark.parametrize(
    ("rounds", "each", "expected"),
    [(2, 2**45, 1), (3, 2**44 // 4, 1), (3, 2**44, 2), (7, 2**47, 2), (8, 2**45, 3)],
)
def test_tier__more_deposits_kept__rises(data, rounds, each, expected):
    for _ in range(rounds):
        data.play([ALICE], [each])
    assert tier(data) == expected
    deposit = {1: DEPOSIT // 2, 2: DEPOSIT // 4, 3: DEPOSIT // 10}[expected]
    assert data.see("requirementsOf", 1, ALICE) == (deposit, 2 << expected)


def test_tier__a_deposit_forfeited__falls_until_enough_are_kept(data):
    data.play([ALICE, ALICE], [ONE, 0])
    assert tier(data) == 0
    data.play([ALICE], [ONE])
    assert tier(data) == 1  # two kept for one forfeited


def test_tier__lowers_the_deposit_and_raises_the_cap(data):
    data.play([ALICE], [ONE])
    data.open()
    before = data.tokens(ALICE)
    for k in range(4):
        data.submit(ALICE, bytes([k + 1]) * 32)
    assert before - data.tokens(ALICE) == 4 * (DEPOSIT // 2 + DEPOSIT // 20)
    with refuses("SubmissionsExhausted"):
        data.submit(ALICE, bytes([9]) * 32)


def test_tier__convicted_as_a_valuator__is_lost(data):
    data.play([ALICE, BOB], [ONE, ONE])
    data.do(RIVAL, "punish", 1, ALICE)
    assert (tier(data), tier(data, BOB)) == (0, 1)
