"""DataRounds.revealTest, exclude, number, voidRound: a round is sealed, or comes to nothing."""

import pytest

from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DEAD,
    DEPOSIT,
    EXCLUDED,
    FEE,
    OWNER,
    REWARD,
    RIVAL,
    SETTLED,
    TEST_ROOT,
    VALUE,
    VOID,
    commitment_to_test_set,
    refuses,
)

ROOTS = [bytes([k + 1]) * 32 for k in range(4)]


@pytest.fixture
def revealed(data):
    """Alice, Bob and Carol revealed 10, 11 and 12 rows, Dave only committed; reveals are over."""
    data.open()
    for k, owner in enumerate((ALICE, BOB, CAROL, DAVE)):
        data.submit(owner, ROOTS[k], 10 + k)
    data.pass_to("submit")
    for k in (2, 0, 1):
        data.reveal(k, ROOTS[k], 10 + k)
    data.pass_to("reveal")
    return data


# ── revealTest ──────────────────────────────────────────────────────────────────────────────────
def test_reveal_test__while_data_come_in__reverts(data):
    data.open()
    with refuses("PhaseNotOpen"):
        data.reveal_test()


def test_reveal_test__too_late__reverts(revealed):
    revealed.pass_to("test")
    with refuses("PhaseOver"):
        revealed.reveal_test()


def test_reveal_test__not_what_was_committed__reverts(revealed):
    with refuses("TestSetMismatch"):
        revealed.reveal_test(root=b"\7" * 32)
    with refuses("TestSetMismatch"):
        revealed.reveal_test(salt=b"\7" * 32)


@pytest.mark.parametrize("change", [{"rows": 2}, {"opener": ALICE}])
def test_reveal_test__committed_for_something_else__reverts(data, change):
    data.open(testCommitment=commitment_to_test_set(**change))
    data.pass_to("reveal")
    with refuses("TestSetMismatch"):
        data.reveal_test()


def test_reveal_test__twice__reverts(revealed):
    revealed.reveal_test()
    with refuses("TestSetKnown"):
        revealed.reveal_test()


def test_reveal_test__by_anyone__is_kept(revealed):
    revealed.reveal_test()
    assert TEST_ROOT in revealed.round()


# ── exclude ─────────────────────────────────────────────────────────────────────────────────────
def test_exclude__not_the_opener__reverts(revealed):
    with refuses("CallerNotOpener"):
        revealed.do(ALICE, "exclude", 1, 0)


def test_exclude__not_revealed__reverts(revealed):
    with refuses("StatusInvalid"):
        revealed.do(OWNER, "exclude", 1, 3)


def test_exclude__too_late__reverts(revealed):
    revealed.pass_to("test")
    with refuses("PhaseOver"):
        revealed.do(OWNER, "exclude", 1, 0)


def test_exclude__in_time__leaves_it_out_and_gives_the_deposit_back(revealed):
    revealed.do(OWNER, "exclude", 1, 0)
    assert revealed.see("contributionOf", 1, 0)[5] == EXCLUDED
    revealed.reveal_test()
    revealed.pass_to("test")
    revealed.do(BOB, "number", 1, 9)
    assert [revealed.see("placeOf", 1, c) for c in range(2)] == [(1, 0, 11), (2, 11, 12)]
    revealed.do(BOB, "refund", 1, 0)
    assert revealed.see("balanceOf", ALICE) == DEPOSIT
    with refuses("RoundStageInvalid"):
        revealed.do(BOB, "refund", 1, 0)


def test_exclude__revealed_again_in_the_next_round__is_allowed(revealed):
    revealed.do(OWNER, "exclude", 1, 0)
    revealed.pass_to("test")
    revealed.do(BOB, "voidRound", 1)
    revealed.open()
    revealed.submit(ALICE, ROOTS[0])
    revealed.pass_to("submit")
    revealed.reveal(0, ROOTS[0])


# ── number ──────────────────────────────────────────────────────────────────────────────────────
def test_number__in_parts__those_of_an_earlier_round_stand_first(revealed):
    for index in (0, 1):
        revealed.do(OWNER, "exclude", 1, index)
    revealed.pass_to("test")
    revealed.do(BOB, "voidRound", 1)
    revealed.open()
    revealed.submit(DAVE, b"\7" * 32)
    revealed.submit(BOB, ROOTS[1], 11)
    revealed.submit(ALICE, ROOTS[0])
    revealed.pass_to("submit")
    for index, root, rows in ((0, b"\7" * 32, 10), (1, ROOTS[1], 11), (2, ROOTS[0], 10)):
        revealed.reveal(index, root, rows)
    revealed.pass_to("reveal")
    revealed.reveal_test()
    revealed.pass_to("test")
    while revealed.stage() != VALUE:
        revealed.do(BOB, "number", 2, 1)
    assert [revealed.see("placeOf", 2, c)[0] for c in range(3)] == [2, 1, 0]


def test_number__test_set_may_still_come__reverts(revealed):
    revealed.reveal_test()
    with refuses("PhaseNotOpen"):
        revealed.do(BOB, "number", 1, 9)


def test_number__no_test_set__reverts(revealed):
    revealed.pass_to("test")
    with refuses("TestSetMissing"):
        revealed.do(BOB, "number", 1, 9)


@pytest.mark.parametrize("limit", [1, 3, 9])
def test_number__in_parts__numbers_rows_in_the_order_of_commitments(revealed, limit):
    revealed.reveal_test()
    revealed.pass_to("test")
    calls = 0
    while revealed.stage() != VALUE:
        revealed.do(BOB, "number", 1, limit)
        calls += 1
    assert calls == -(-4 // limit)
    assert [revealed.see("placeOf", 1, c) for c in range(3)] == [
        (0, 0, 10),
        (1, 10, 11),
        (2, 21, 12),
    ]
    assert 33 in revealed.round()
    with refuses("RoundStageInvalid"):
        revealed.do(BOB, "number", 1, limit)


def test_number__nobody_revealed__ends_the_round_for_the_opener(data):
    data.open()
    data.submit(ALICE, ROOTS[0])
    data.seal()
    assert data.stage() == SETTLED
    assert data.see("balanceOf", OWNER) == REWARD
    assert data.see("balanceOf", DEAD) == FEE


def test_number__all_were_excluded__leaves_their_fees_to_nobody(revealed):
    """An opener that excluded everybody got their fees."""
    revealed.reveal_test()
    for index in range(3):
        revealed.do(OWNER, "exclude", 1, index)
    revealed.pass_to("test")
    revealed.do(BOB, "number", 1, 9)
    assert revealed.stage() == SETTLED
    assert revealed.see("balanceOf", OWNER) == REWARD
    assert revealed.see("balanceOf", DEAD) == 4 * FEE


# ── voidRound ───────────────────────────────────────────────────────────────────────────────────
def test_void_round__test_set_may_still_come__reverts(revealed):
    with refuses("PhaseNotOpen"):
        revealed.do(BOB, "voidRound", 1)


def test_void_round__test_set_was_revealed__reverts(revealed):
    revealed.reveal_test()
    revealed.pass_to("test")
    with refuses("TestSetKnown"):
        revealed.do(BOB, "voidRound", 1)


def test_void_round__being_valued_and_not_by_the_game__reverts(data):
    data.prepare([ALICE])
    with refuses("CallerNotGame"):
        data.do(BOB, "voidRound", 1)


def test_void_round__twice__reverts(revealed):
    revealed.pass_to("test")
    revealed.do(BOB, "voidRound", 1)
    with refuses("RoundStageInvalid"):
        revealed.do(BOB, "voidRound", 1)


def test_void_round__test_set_held_back__shares_the_reward_among_those_who_revealed(revealed):
    revealed.pass_to("test")
    revealed.do(BOB, "voidRound", 1)
    assert revealed.stage() == VOID
    for index, owner in enumerate((ALICE, BOB, CAROL)):
        revealed.do(DAVE, "refund", 1, index)
        assert revealed.see("balanceOf", owner) == DEPOSIT + FEE + REWARD // 3
    with refuses("StatusInvalid"):
        revealed.do(DAVE, "refund", 1, 0)
    with refuses("StatusInvalid"):
        revealed.do(DAVE, "refund", 1, 3)
    assert revealed.see("balanceOf", OWNER) == 0
    assert revealed.see("balanceOf", DEAD) == FEE  # Dave's


def test_void_round__all_were_excluded__leaves_their_fees_to_nobody(revealed):
    for index in range(3):
        revealed.do(OWNER, "exclude", 1, index)
    revealed.pass_to("test")
    revealed.do(BOB, "voidRound", 1)
    assert revealed.see("balanceOf", OWNER) == REWARD
    assert revealed.see("balanceOf", DEAD) == 4 * FEE


def test_void_round__nobody_valued_it__gives_everybody_their_own_back(revealed):
    revealed.reveal_test()
    revealed.pass_to("test")
    revealed.do(BOB, "number", 1, 9)
    revealed.do(RIVAL, "voidRound", 1)
    revealed.do(DAVE, "refund", 1, 0)
    assert revealed.see("balanceOf", ALICE) == DEPOSIT + FEE
    assert revealed.see("balanceOf", OWNER) == REWARD
    assert revealed.see("balanceOf", DEAD) == FEE
