"""DataCredits: endorsements win and lose with what they endorse."""

import pytest

from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DOLLAR,
    ONE,
    OWNER,
    RIVAL,
    refuses,
    value_path,
)

ROOTS = [bytes([k + 1]) * 32 for k in range(2)]
HELD = ONE // 2


@pytest.fixture
def endorsable(data):
    """Alice and Dave hold ½ each; Bob and Carol revealed data, Bob offers a tenth of it."""
    data.play([ALICE, DAVE], [HELD, HELD])
    data.open()
    data.submit(BOB, ROOTS[0], bps=1_000)
    data.submit(CAROL, ROOTS[1])
    data.pass_to("submit")
    data.reveal(0, ROOTS[0])
    data.reveal(1, ROOTS[1])
    return data


def endorse(data, amount, endorser=ALICE, index=0):
    data.do(endorser, "endorse", data.round_id, index, amount)


def finish(data, values):
    data.seal()
    data.settle(values)


def end(data, values, number=0, endorser=ALICE):
    path = value_path(values, number)
    data.do(OWNER, "settleEndorsement", data.round_id, number, endorser, values[number], path)


def test_endorse__without_a_tier__reverts(endorsable):
    with refuses("TierMissing"):
        endorse(endorsable, 1, CAROL)


def test_endorse__own_data__reverts(data):
    data.play([ALICE], [ONE])
    data.open()
    data.submit(ALICE, ROOTS[0])
    data.pass_to("submit")
    data.reveal(0, ROOTS[0])
    with refuses("EndorsementInvalid"):
        endorse(data, 1)


def test_endorse__more_than_held__reverts(endorsable):
    with refuses("CreditsInsufficient"):
        endorse(endorsable, HELD + 1)


def test_endorse__nothing__reverts(endorsable):
    with refuses("AmountZero"):
        endorse(endorsable, 0)


def test_endorse__twice__reverts(endorsable):
    endorse(endorsable, 1)
    with refuses("EndorsementExists"):
        endorse(endorsable, 1)


def test_endorse__not_revealed__reverts(endorsable):
    with refuses("StatusInvalid"):
        endorse(endorsable, 1, index=2)


def test_endorse__when_the_test_set_may_be_known__reverts(endorsable):
    endorsable.pass_to("reveal")
    with refuses("PhaseOver"):
        endorse(endorsable, 1)


def test_settle_endorsement__not_settled__reverts(endorsable):
    endorse(endorsable, 1)
    with refuses("RoundStageInvalid"):
        end(endorsable, [ONE, ONE])


def test_settle_endorsement__nobody_endorsed__reverts(endorsable):
    finish(endorsable, [ONE, ONE])
    with refuses("EndorsementMissing"):
        end(endorsable, [ONE, ONE])


def test_settle_endorsement__twice__reverts(endorsable):
    endorse(endorsable, 1)
    finish(endorsable, [ONE, ONE])
    end(endorsable, [ONE, ONE])
    with refuses("EndorsementMissing"):
        end(endorsable, [ONE, ONE])


def test_settle_endorsement__of_good_data__returns_the_stake_and_a_share(endorsable):
    values = [ONE // 4, ONE // 4]
    endorse(endorsable, HELD // 2)
    endorse(endorsable, HELD // 4, DAVE)
    finish(endorsable, values)
    end(endorsable, values)
    end(endorsable, values, endorser=DAVE)
    endorsable.give(values, 0)
    offered = ONE // 40
    assert endorsable.see("creditsOf", 1, ALICE) == HELD + offered * 2 // 3
    assert endorsable.see("creditsOf", 1, DAVE) == HELD + offered // 3
    assert endorsable.see("creditsOf", 1, BOB) == ONE // 4 - offered


def test_settle_endorsement__of_little__gains_at_most_as_much(endorsable):
    values = [ONE // 4, ONE // 4]
    endorse(endorsable, 1_000)
    finish(endorsable, values)
    end(endorsable, values)
    endorsable.give(values, 0)
    assert endorsable.see("creditsOf", 1, ALICE) == HELD + 1_000
    assert endorsable.see("creditsOf", 1, BOB) == ONE // 4 - 1_000


def test_settle_endorsement__of_worthless_data__loses_the_stake(endorsable):
    values = [0, ONE // 4]
    endorse(endorsable, HELD // 2)
    finish(endorsable, values)
    assert endorsable.see("totalCredits", 1) == 2 * HELD + ONE // 4 - HELD // 2
    end(endorsable, values)
    assert endorsable.see("creditsOf", 1, ALICE) == HELD // 2
    assert endorsable.see("standingOf", 1, ALICE)[:3] == (HELD // 2, 1, 1)
    assert endorsable.see("tierOf", 1, ALICE) == 0


def test_settle_endorsement__earnings_meanwhile__are_the_endorsers(endorsable):
    values = [ONE, ONE]
    endorse(endorsable, HELD)
    endorsable.earn(100 * DOLLAR)  # half of it is Alice's, staked or not
    finish(endorsable, values)
    endorsable.earn(400 * DOLLAR)  # ½ + 0.05 of 2 ONE are hers
    end(endorsable, values)
    assert endorsable.see("claimable", 1, ALICE) in range(160 * DOLLAR - 3, 160 * DOLLAR + 1)


def test_settle_endorsement__earnings_after_the_loss__are_the_others(endorsable):
    endorse(endorsable, HELD)
    finish(endorsable, [0, HELD])
    endorsable.earn(100 * DOLLAR)
    end(endorsable, [0, HELD])
    endorsable.give([0, HELD], 1)
    assert endorsable.see("claimable", 1, ALICE) == 0
    assert endorsable.see("claimable", 1, DAVE) in range(50 * DOLLAR - 1, 50 * DOLLAR + 1)
    assert endorsable.see("claimable", 1, CAROL) in range(50 * DOLLAR - 1, 50 * DOLLAR + 1)


# ── returnEndorsement ───────────────────────────────────────────────────────────────────────────
def test_return_endorsement__to_be_valued__reverts(endorsable):
    endorse(endorsable, 1)
    with refuses("StatusInvalid"):
        endorsable.do(OWNER, "returnEndorsement", 2, 0, ALICE)


def test_return_endorsement__excluded__returns_the_stake_with_its_earnings(endorsable):
    endorse(endorsable, HELD)
    endorsable.earn(100 * DOLLAR)
    endorsable.pass_to("reveal")
    endorsable.do(OWNER, "exclude", 2, 0)
    endorsable.do(BOB, "refund", 2, 0)
    endorsable.do(OWNER, "returnEndorsement", 2, 0, ALICE)
    assert endorsable.see("creditsOf", 1, ALICE) == HELD
    assert endorsable.see("claimable", 1, ALICE) in range(50 * DOLLAR - 1, 50 * DOLLAR + 1)


def test_return_endorsement__round_void__returns_the_stake(endorsable):
    endorse(endorsable, HELD)
    endorsable.seal()
    endorsable.do(RIVAL, "voidRound", 2)
    endorsable.do(BOB, "refund", 2, 0)
    endorsable.do(OWNER, "returnEndorsement", 2, 0, ALICE)
    assert endorsable.see("creditsOf", 1, ALICE) == HELD
