"""DataRounds.settle, credit, forfeit, punish: a round ends, and everybody gets what is theirs."""

import pytest

from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CLOSED,
    DEAD,
    DEPOSIT,
    DOLLAR,
    FEE,
    ONE,
    REWARD,
    RIVAL,
    SETTLED,
    VALUATOR,
    refuses,
    value_path,
    values_root,
)

VALUES = [ONE // 2, 0, ONE // 4]


@pytest.fixture
def settled(data):
    """Alice's data set is worth ½, Bob's nothing, Carol's ¼."""
    data.prepare([ALICE, BOB, CAROL])
    data.settle(VALUES)
    return data


# ── settle ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("function", "arguments"),
    [("settle", (1, 1, 4, 100, [])), ("grant", (1, 1, 0, RIVAL, 100, 0))],
)
def test_credits__minted_by_somebody_else__reverts(data, function, arguments):
    """Credits are shares of a model's revenue: only what rounds settle makes new ones."""
    with refuses("CallerNotRounds"):
        data.world.call(RIVAL, "DataCredits", function, *arguments)


def test_settle__not_the_game__reverts(data):
    data.prepare([ALICE])
    with refuses("CallerNotGame"):
        data.do(ALICE, "settle", 1, ALICE, values_root([ONE]), [ONE])


def test_settle__not_sealed__reverts(data):
    data.open()
    with refuses("RoundStageInvalid"):
        data.settle([ONE])


def test_settle__valued__pays_the_valuator_and_counts_the_credits(settled):
    assert settled.stage() == SETTLED
    assert settled.see("balanceOf", VALUATOR) == REWARD + 3 * FEE
    assert settled.see("totalCredits", 1) == ONE // 2 + ONE // 4
    assert settled.see("hasCredits", 1)


def test_settle__the_market_holds_data_shares__pays_those_who_held_credits_before(data):
    data.play([ALICE], [ONE])
    data.prepare([BOB])
    data.sell(100 * DOLLAR)
    data.settle([ONE])
    data.give([ONE], 0)
    assert data.see("claimable", 1, ALICE) == 100 * DOLLAR
    assert data.see("claimable", 1, BOB) == 0


def test_settle__first_round__leaves_earlier_data_shares_to_the_holder_of_the_model(data):
    data.prepare([ALICE])
    data.sell(100 * DOLLAR)
    data.settle([ONE])
    assert data.see("claimable", 1, ALICE) == 0
    assert data.world.call(ALICE, "InferenceMarket", "modelEarnings", 1) == (0, 0)


# ── credit ──────────────────────────────────────────────────────────────────────────────────────
def test_credit__not_settled__reverts(data):
    data.prepare([ALICE])
    with refuses("RoundStageInvalid"):
        data.give([ONE], 0)


@pytest.mark.parametrize(
    ("number", "value", "path_of"), [(0, ONE, 0), (1, VALUES[0], 0), (0, VALUES[0], 2), (3, 0, 1)]
)
def test_credit__proof_of_something_else__reverts(settled, number, value, path_of):
    with refuses("ValueInvalid"):
        settled.do(ALICE, "credit", 1, number, value, value_path(VALUES, path_of))


def test_credit__proof_too_long__reverts(settled):
    path = (*value_path(VALUES, 0), bytes(32))
    with refuses("ValueInvalid"):
        settled.do(ALICE, "credit", 1, 0, VALUES[0], path)


def test_credit__value_above_64_bits__reverts(settled):
    with refuses("ValueInvalid"):
        settled.do(ALICE, "credit", 1, 0, VALUES[0] + 2**64, value_path(VALUES, 0))


def test_credit__proof_for_another_round__reverts(settled):
    settled.prepare([ALICE, BOB, CAROL])
    settled.settle([ONE // 5, 2, 3])
    with refuses("ValueInvalid"):
        settled.do(ALICE, "credit", 2, 0, VALUES[0], value_path(VALUES, 0))


def test_credit__twice__reverts(settled):
    settled.give(VALUES, 0)
    with refuses("StatusInvalid"):
        settled.give(VALUES, 0)


def test_credit__worth_something__gives_credit_and_the_deposit_back(settled):
    settled.give(VALUES, 0)
    assert settled.see("creditsOf", 1, ALICE) == ONE // 2
    assert settled.see("balanceOf", ALICE) == DEPOSIT
    assert settled.see("standingOf", 1, ALICE)[:3] == (ONE // 2, 1, 0)
    before = settled.tokens(ALICE)
    settled.do(ALICE, "withdraw")
    assert settled.tokens(ALICE) - before == DEPOSIT
    with refuses("AmountZero"):
        settled.do(ALICE, "withdraw")


def test_credit__worthless__burns_the_deposit(settled):
    before = settled.see("balanceOf", DEAD)
    settled.give(VALUES, 1)
    assert settled.see("balanceOf", DEAD) - before == DEPOSIT
    assert settled.see("creditsOf", 1, BOB) == 0
    assert settled.see("standingOf", 1, BOB)[:3] == (0, 0, 1)
    assert settled.see("contributionOf", 1, 1)[5] == CLOSED


@pytest.mark.parametrize(("value", "credits"), [(2, 0), (3, 3), (11, 11)])
def test_credit__less_than_a_unit_a_test_row__is_worthless(data, value, credits):
    data.play([ALICE], [value], testRows=3)
    assert data.see("creditsOf", 1, ALICE) == credits
    assert data.see("standingOf", 1, ALICE)[2] == (0 if credits else 1)


def test_credit__granted_late__earned_from_the_settlement_on(settled):
    settled.give(VALUES, 0)
    settled.earn(90 * DOLLAR)
    settled.give(VALUES, 2)
    assert settled.see("claimable", 1, CAROL) == 30 * DOLLAR
    assert settled.see("claimable", 1, ALICE) == 60 * DOLLAR


# ── forfeit ─────────────────────────────────────────────────────────────────────────────────────
def test_forfeit__may_still_reveal__reverts(data):
    data.open()
    data.submit(ALICE, b"\1" * 32)
    with refuses("PhaseNotOpen"):
        data.do(BOB, "forfeit", 1, 0)


def test_forfeit__revealed__reverts(data):
    data.prepare([ALICE])
    with refuses("StatusInvalid"):
        data.do(BOB, "forfeit", 1, 0)


def test_forfeit__not_revealed__burns_the_deposit_once(data):
    data.open()
    data.submit(ALICE, b"\1" * 32)
    data.pass_to("reveal")
    data.do(BOB, "forfeit", 1, 0)
    assert data.see("balanceOf", DEAD) == DEPOSIT
    assert data.see("standingOf", 1, ALICE)[2] == 1
    with refuses("StatusInvalid"):
        data.do(BOB, "forfeit", 1, 0)


def test_forfeit__displaced__burns_the_deposit(data):
    data.open()
    data.submit(ALICE, b"\1" * 32)
    data.submit(BOB, b"\1" * 32)
    data.pass_to("submit")
    data.reveal(1, b"\1" * 32)
    data.reveal(0, b"\1" * 32)
    data.pass_to("reveal")
    data.do(CAROL, "forfeit", 1, 1)
    assert data.see("balanceOf", DEAD) == DEPOSIT


# ── punish ──────────────────────────────────────────────────────────────────────────────────────
def test_punish__not_the_game__reverts(data):
    with refuses("CallerNotGame"):
        data.do(ALICE, "punish", 1, ALICE)


# ── noteEndorsement ─────────────────────────────────────────────────────────────────────────────
def test_note_endorsement__not_the_credits__reverts(data):
    with refuses("CallerNotCredits"):
        data.do(ALICE, "noteEndorsement", 1, ALICE, 1, 0)


def test_note_endorsement__lost_more_than_was_earned__leaves_nothing(data):
    """Who was granted credits can lose more than rounds gave it."""
    data.take_code(data.credits)
    data.do(data.credits, "noteEndorsement", 1, ALICE, 3, 0)
    data.do(data.credits, "noteEndorsement", 1, ALICE, 1, 5)
    assert data.see("standingOf", 1, ALICE)[:3] == (0, 0, 1)
