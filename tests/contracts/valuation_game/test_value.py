"""ValuationGame: stake, claim, publish, lapse, settle, void."""

from dataclasses import replace

import pytest
from eth_abi import encode

from oracle.chain.deploy import created_address
from tests.contracts.data_credits.play import (
    BOB,
    CHALLENGER,
    CID,
    CLAIM,
    CLOCK,
    DEAD,
    DEPLOYER,
    DOLLAR,
    FEE,
    FORFEIT,
    MIN_REPLY,
    OWNER,
    REWARD,
    RIVAL,
    SETTLED,
    STAKE,
    VALUATOR,
    VALUING,
    VOID,
    WINDOW,
    Data,
    refuses,
    values_root,
)
from tests.contracts.valuation_game.cases import Case
from tests.support.evm import Reverted
from tests.valuation import rounds

HELD = rounds.small()
RIGHT = rounds.tables(HELD)
VALUES = list(RIGHT.values)


@pytest.fixture
def case():
    return Case(held=HELD)


def publish(case, valuation=RIGHT.valuation, values=VALUES, valuator=VALUATOR):
    case.do(valuator, "publish", case.round_id, valuation, values, CID)


# ── constructor ─────────────────────────────────────────────────────────────────────────────────
RULES = {
    "stake": STAKE,
    "forfeit": FORFEIT,
    "valuingPeriod": VALUING,
    "claimPeriod": CLAIM,
    "challengeWindow": WINDOW,
    "minReply": MIN_REPLY,
    "clock": CLOCK,
}


def test_constructor__rounds_name_another_game__reverts():
    data = Data(game=RIVAL)
    verifier = data.world.deploy(DEPLOYER, "ValuationVerifier", data.rounds)
    with refuses("ConfigInvalid"):
        data.world.deploy(DEPLOYER, "ValuationGame", (data.rounds, verifier, *RULES.values()))


def test_constructor__verifier_of_other_rounds__reverts():
    data = Data(game=created_address(DEPLOYER, 10))
    verifier = data.world.deploy(DEPLOYER, "ValuationVerifier", RIVAL)
    with pytest.raises(Reverted, match=r"^ConfigInvalid: verifier$"):
        data.world.deploy(DEPLOYER, "ValuationGame", (data.rounds, verifier, *RULES.values()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stake", 0),
        ("forfeit", 0),
        ("forfeit", STAKE + 1),
        ("claimPeriod", 0),
        ("claimPeriod", VALUING + 1),
        ("challengeWindow", 0),
        ("minReply", 0),
    ],
)
def test_constructor__rule_that_protects_nobody__reverts(field, value):
    data = Data(game=created_address(DEPLOYER, 10))
    verifier = data.world.deploy(DEPLOYER, "ValuationVerifier", data.rounds)
    rules = RULES | {field: value}
    with pytest.raises(Reverted, match=f"^ConfigInvalid: .*{field}"):
        data.world.deploy(DEPLOYER, "ValuationGame", (data.rounds, verifier, *rules.values()))


def test_config__deployed__is_what_was_given(case):
    data_rounds, verifier, *rules = case.do(BOB, "config")
    assert data_rounds == case.data.rounds.lower()
    assert verifier == case.data.world.places["ValuationVerifier"].lower()
    assert rules == list(RULES.values())


# ── stake and unstake ───────────────────────────────────────────────────────────────────────────
def test_stake__nothing__reverts(case):
    with refuses("AmountZero"):
        case.do(RIVAL, "stake", 0)
    with refuses("AmountZero"):
        case.do(VALUATOR, "unstake", 0)


def test_unstake__more_than_is_free__reverts(case):
    case.claim()
    with refuses("StakeInsufficient"):
        case.do(VALUATOR, "unstake", 99 * STAKE + 1)


def test_unstake__free__is_paid(case):
    case.claim()
    before = case.data.tokens(VALUATOR)
    case.do(VALUATOR, "unstake", 99 * STAKE)
    assert case.data.tokens(VALUATOR) - before == 99 * STAKE
    assert case.do(BOB, "seatOf", VALUATOR) == (STAKE, STAKE)


# ── claim ───────────────────────────────────────────────────────────────────────────────────────
def test_claim__round_not_sealed__reverts():
    data = Data()
    data.open()
    data.world.call(VALUATOR, "ValuationGame", "stake", STAKE)
    with refuses("RoundNotValuing"):
        data.world.call(VALUATOR, "ValuationGame", "claim", 1)


def test_claim__too_little_stake__reverts(case):
    case.do(RIVAL, "stake", STAKE - 1)
    with refuses("StakeInsufficient"):
        case.claim(RIVAL)


def test_claim__taken__reverts(case):
    case.claim()
    with refuses("RoundClaimOpen"):
        case.claim()


def test_claim__after_the_end_of_valuing__reverts(case):
    case.data.world.set_time(case.data.world.time + VALUING)
    with refuses("ValuingOver"):
        case.claim()


def test_claim__the_last_valuator_vanished__takes_the_round_and_its_forfeit(case):
    case.do(RIVAL, "stake", STAKE)
    case.claim()
    case.data.world.set_time(case.data.world.time + CLAIM)
    before = case.do(BOB, "rewardOf", DEAD)
    case.claim(RIVAL)
    assert case.do(BOB, "caseOf", 1)[0] == RIVAL.lower()
    assert case.do(BOB, "seatOf", VALUATOR) == (100 * STAKE - FORFEIT, 0)
    assert case.do(BOB, "rewardOf", DEAD) - before == FORFEIT


# ── lapseClaim ──────────────────────────────────────────────────────────────────────────────────
def test_lapse_claim__nobody_at_work__reverts(case):
    with refuses("RoundClaimMissing"):
        case.do(BOB, "lapseClaim", 1)


def test_lapse_claim__still_at_work__reverts(case):
    case.claim()
    with refuses("RoundClaimOpen"):
        case.do(BOB, "lapseClaim", 1)


def test_lapse_claim__published__reverts(case):
    case.publish(RIGHT)
    case.pass_window()
    with refuses("RoundClaimOpen"):
        case.do(BOB, "lapseClaim", 1)


def test_lapse_claim__vanished__frees_the_round(case):
    case.claim()
    case.data.world.set_time(case.data.world.time + CLAIM)
    with refuses("ClaimOver"):
        publish(case)
    case.do(BOB, "lapseClaim", 1)
    with refuses("CallerNotValuator"):
        publish(case)
    case.publish(RIGHT)
    assert case.published


def test_lapse_claim__settled__takes_nothing_and_frees_no_stake_of_another_round(case):
    """Whoever settled one round, and lies in the next, could free the stake behind the lie."""
    case.publish(RIGHT)
    case.pass_window()
    case.do(BOB, "settle", 1, VALUES)
    second = rounds.small(2)
    other = Case(case.data, held=replace(second, sets=second.sets[:4]))
    other.claim()
    before = case.do(BOB, "seatOf", VALUATOR)
    assert before[1] == STAKE
    with refuses("RoundNotValuing"):
        case.do(BOB, "lapseClaim", 1)
    assert case.do(BOB, "seatOf", VALUATOR) == before


# ── publish ─────────────────────────────────────────────────────────────────────────────────────
def test_publish__somebody_else__reverts(case):
    case.claim()
    with refuses("CallerNotValuator"):
        publish(case, valuator=RIVAL)


def test_publish__twice__reverts(case):
    case.publish(RIGHT)
    with refuses("CallerNotValuator"):
        publish(case)


@pytest.mark.parametrize(
    "change", [{"N": 1}, {"n": 2**31}, {"T": 130}, {"values": bytes(32)}], ids=str
)
def test_publish__not_about_this_round__reverts(case, change):
    case.claim()
    with refuses("ValuationInvalid"):
        publish(case, replace(RIGHT.valuation, **change))


@pytest.mark.parametrize("values", [VALUES[:-1], [*VALUES, 0], VALUES[::-1]])
def test_publish__other_values_than_committed_to__reverts(case, values):
    case.claim()
    with refuses("ValuationInvalid"):
        publish(case, values=values)


def test_publish__more_credit_than_a_round_can_give__reverts(case):
    case.claim()
    values = [2**44 * HELD.test.rows, *VALUES[1:]]
    valuation = replace(RIGHT.valuation, values=values_root(values))
    with refuses("ValuationInvalid"):
        publish(case, valuation, values)


def test_publish__the_claimant__opens_the_window(case):
    case.publish(RIGHT)
    valuator, until, attempt, _, _, published, _, root, values = case.do(BOB, "caseOf", 1)
    assert (valuator, until) == (VALUATOR.lower(), case.data.world.time + WINDOW)
    assert (attempt, published) == (1, True)
    assert (root, values) == (RIGHT.valuation.root, RIGHT.valuation.values)


# ── settle ──────────────────────────────────────────────────────────────────────────────────────
def test_settle__nothing_published__reverts(case):
    case.claim()
    with refuses("ValuationMissing"):
        case.do(BOB, "settle", 1, VALUES)


def test_settle__window_open__reverts(case):
    case.publish(RIGHT)
    with refuses("WindowOpen"):
        case.do(BOB, "settle", 1, VALUES)


@pytest.mark.parametrize("values", [VALUES[::-1], VALUES[:-1], [*VALUES, 0]])
def test_settle__other_values__reverts(case, values):
    case.publish(RIGHT)
    case.pass_window()
    with refuses("ValuationInvalid"):
        case.do(BOB, "settle", 1, values)


def test_settle__unchallenged__pays_and_frees_the_valuator(case):
    case.publish(RIGHT)
    case.pass_window()
    case.do(BOB, "settle", 1, VALUES)
    assert case.data.stage() == SETTLED
    assert case.do(BOB, "seatOf", VALUATOR) == (100 * STAKE, 0)
    assert case.data.see("balanceOf", VALUATOR) == REWARD + len(VALUES) * FEE
    for number, value in enumerate(VALUES):
        case.data.give(VALUES, number)
        owner = case.data.see("contributionOf", 1, number)[1]
        assert case.data.see("creditsOf", 1, owner) >= value
    with refuses("ValuationMissing"):
        case.do(BOB, "settle", 1, VALUES)


# ── voidRound ───────────────────────────────────────────────────────────────────────────────────
def test_void_round__somebody_may_still_value_it__reverts(case):
    with refuses("ValuingOpen"):
        case.do(BOB, "voidRound", 1)


def test_void_round__somebody_at_work__reverts(case):
    case.data.world.set_time(case.data.world.time + VALUING - 1)
    case.claim()
    case.data.world.set_time(case.data.world.time + 1)
    with refuses("RoundClaimOpen"):
        case.do(BOB, "voidRound", 1)


def test_void_round__published__reverts(case):
    case.publish(RIGHT)
    case.data.world.set_time(case.data.world.time + VALUING)
    with refuses("RoundClaimOpen"):
        case.do(BOB, "voidRound", 1)


def test_void_round__nobody_valued_it__gives_everything_back(case):
    case.data.world.set_time(case.data.world.time + VALUING)
    case.do(BOB, "voidRound", 1)
    assert case.data.stage() == VOID
    assert case.data.see("balanceOf", OWNER) == REWARD
    with refuses("RoundNotValuing"):
        case.do(BOB, "voidRound", 1)


def test_void_round__whoever_only_claims__pays_more_and_more_and_never_gets_there(case):
    lost = []
    for _ in range(6):  # far longer than VALUING together
        before = case.do(BOB, "rewardOf", DEAD)
        case.claim()
        case.data.world.set_time(case.data.world.time + CLAIM)
        case.do(BOB, "lapseClaim", 1)
        lost.append(case.do(BOB, "rewardOf", DEAD) - before)
        with refuses("ValuingOpen"):
            case.do(BOB, "voidRound", 1)
    assert lost == [min(STAKE, FORFEIT << k) for k in range(6)]
    case.publish(RIGHT)  # whoever is honest still has time
    assert case.published


# ── payouts ─────────────────────────────────────────────────────────────────────────────────────
def test_withdraw__nothing__reverts(case):
    with refuses("AmountZero"):
        case.do(CHALLENGER, "withdrawReward")
    with refuses("AmountZero"):
        case.do(CHALLENGER, "withdrawBond")


def test_stake__for_many_rounds__adds_up_and_says_so(case):
    case.do(RIVAL, "stake", DOLLAR)
    case.do(RIVAL, "stake", DOLLAR)
    said = case.data.world.revm.result.logs[0]  # before the token's
    assert said.topics[1] == f"0x{RIVAL[2:].lower():0>64}"
    assert bytes(said.data[1]) == encode(["uint256"] * 2, [DOLLAR, 2 * DOLLAR])
    assert case.do(BOB, "seatOf", RIVAL) == (2 * DOLLAR, 0)
