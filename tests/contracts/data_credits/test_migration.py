"""DataCredits.leave, come, arrive: credits go to another deployment; nobody says who has which."""

import pytest

from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    DATA_BPS,
    DAVE,
    DOLLAR,
    ONE,
    OPERATOR,
    OWNER,
    RIVAL,
    ZERO,
    Data,
    refuses,
)

OTHER = "0x" + f"{0xD0:040x}"


class Move:
    """An old deployment, in which Alice holds ¾ and Bob ¼, and a new one that names it."""

    def __init__(self) -> None:
        self.old = Data(game=RIVAL)
        self.old.play([ALICE, BOB], [3 * ONE // 4, ONE // 4])
        self.new = Data(
            world=self.old.world, game=RIVAL, deployer=OTHER, predecessor=self.old.credits
        )

    def at(self, data: Data) -> Data:
        """Return a deployment, with its contracts as those that are called by name."""
        data.world.places = data.places
        return data

    def come(self, caller=OWNER) -> None:
        self.at(self.new).do(caller, "come", 1, 1)

    def leave(self, caller=OWNER) -> None:
        self.at(self.old).do(caller, "leave", 1)

    def arrive(self, holder) -> int:
        return self.at(self.new).do(CAROL, "arrive", 1, holder)

    def sell(self, data: Data, holder: str) -> int:
        """Sell an answer with a data share of $100; return what a holder may claim."""
        self.at(data).earn(100 * DOLLAR)
        return data.see("claimable", 1, holder)


@pytest.fixture
def move():
    return Move()


@pytest.fixture
def moved(move):
    move.leave()
    move.come()
    return move


# ── leave ───────────────────────────────────────────────────────────────────────────────────────
def test_leave__not_the_owner__reverts(move):
    with refuses("CallerNotModelOwner"):
        move.leave(ALICE)


def test_leave__round_under_way__reverts(move):
    move.at(move.old).open()
    with refuses("ModelLive"):
        move.leave()


def test_leave__between_rounds__no_round_opens_any_more_and_credits_go_on_earning(move):
    move.leave()
    with refuses("ModelGone"):
        move.at(move.old).open()
    assert move.sell(move.old, ALICE) == 75 * DOLLAR


# ── come ────────────────────────────────────────────────────────────────────────────────────────
def test_come__not_left__reverts(move):
    with refuses("ModelNotLeft"):
        move.come()


@pytest.mark.parametrize("seller", ["old", "new"])
def test_come__owner_of_one_of_the_two_only__reverts(move, seller):
    move.leave()
    call = move.at(getattr(move, seller)).world.call
    call(OWNER, "OperatorRegistry", "authorize", 1, OPERATOR, False)
    call(OWNER, "ModelRegistry", "transferFrom", OWNER, DAVE, 1)
    for caller in (OWNER, DAVE):
        with refuses("CallerNotModelOwner"):
            move.come(caller)


def test_come__no_predecessor__reverts():
    old = Data(game=RIVAL)
    old.play([ALICE], [ONE])
    old.do(OWNER, "leave", 1)
    with refuses("PredecessorMissing"):
        old.do(OWNER, "come", 1, 1)


def test_come__a_round_was_opened_here__reverts(move):
    move.leave()
    move.at(move.new).open()
    with refuses("ModelNotEmpty"):
        move.come()


def test_come__twice__reverts(moved):
    with refuses("ModelNotEmpty"):
        moved.come()


def test_come__lower_data_share__reverts(move):
    move.leave()
    terms = (1, 1, 0, 0, DATA_BPS - 1, 1, 1)
    move.at(move.new).world.call(OWNER, "ModelRegistry", "setTerms", *terms)
    with refuses("ShareLowered"):
        move.come()


def test_come__nobody_holds_credits__reverts():
    old = Data(game=RIVAL)
    new = Data(world=old.world, game=RIVAL, deployer=OTHER, predecessor=old.credits)
    old.world.places = old.places
    old.do(OWNER, "leave", 1)
    new.world.places = new.places
    with refuses("CreditsMissing"):
        new.do(OWNER, "come", 1, 1)


def test_come__left__takes_all_credits_and_test_rows_at_once(moved):
    new = moved.at(moved.new)
    assert new.see("totalCredits", 1) == ONE
    assert new.see("testRowsOf", 1) == moved.at(moved.old).see("testRowsOf", 1)
    assert moved.at(new).see("formerOf", 1) == 1
    assert new.see("protectsShare", 1)


# ── arrive ──────────────────────────────────────────────────────────────────────────────────────
def test_arrive__model_did_not_come__reverts(move):
    with refuses("CreditsMissing"):
        move.arrive(ALICE)


def test_arrive__holds_nothing_there_or_twice__reverts(moved):
    with refuses("AmountZero"):
        moved.arrive(CAROL)
    moved.arrive(ALICE)
    with refuses("AmountZero"):
        moved.arrive(ALICE)


def test_arrive__by_anyone_and_late__has_earned_since_the_model_came(moved):
    assert moved.arrive(ALICE) == 3 * ONE // 4
    assert moved.sell(moved.new, ALICE) == 75 * DOLLAR
    assert moved.arrive(BOB) == ONE // 4
    assert moved.new.see("claimable", 1, BOB) == 25 * DOLLAR
    assert moved.new.see("creditsOf", 1, BOB) == ONE // 4
    assert moved.sell(moved.old, BOB) == 25 * DOLLAR  # there, too


def test_arrive__credit_granted_there_after_the_move__comes_after(move):
    values = [ONE // 2]
    move.at(move.old).prepare([DAVE])
    move.old.settle(values)
    move.leave()
    move.come()
    with refuses("AmountZero"):
        move.arrive(DAVE)
    move.at(move.old).give(values, 0)
    assert move.arrive(DAVE) == ONE // 2
    assert move.new.see("totalCredits", 1) == ONE + ONE // 2


def test_open_round__at_the_new_deployment__weighs_against_what_came(moved):
    moved.arrive(ALICE)
    before = moved.new.see("testRowsOf", 1)
    moved.at(moved.new).play([DAVE], [ONE], testRows=1)
    assert moved.new.see("creditsOf", 1, DAVE) == ONE // before


def test_config__of_the_new_deployment__names_the_old(move):
    named = move.at(move.new).world.call(OWNER, "DataCredits", "config")[2]
    assert named == move.old.credits.lower()
    assert move.at(move.old).world.call(OWNER, "DataCredits", "config")[2] == ZERO
