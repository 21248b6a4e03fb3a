"""DataRounds: the constructor, and opening a round."""

import pytest

from tests.contracts.data_credits.play import (
    ALICE,
    COLLECTING,
    DEPLOYER,
    DEPOSIT,
    FEE,
    INTERVAL,
    MAX_WEIGHT,
    MIN_ROWS,
    OWNER,
    REVEAL,
    REWARD,
    RIVAL,
    SUBMIT,
    TEST,
    ZERO,
    ZERO32,
    Data,
    refuses,
    words,
)
from tests.support.evm import Reverted


# ── constructor ─────────────────────────────────────────────────────────────────────────────────
def test_constructor__market_names_another__reverts(data):
    with refuses("ConfigInvalid"):
        data.world.deploy(DEPLOYER, "DataCredits", (data.market, RIVAL, ZERO, 1_000))


def test_constructor__credits_name_other_rounds__reverts(data):
    rules = (data.credits, RIVAL, RIVAL, DEPOSIT, FEE, 10_000, INTERVAL, MIN_ROWS)
    with refuses("ConfigInvalid"):
        data.world.deploy(DEPLOYER, "DataRounds", rules)


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("rounds", {"rounds": ZERO}),
        ("demands", {"demands": ZERO}),
        ("game", {"game": ZERO}),
        ("maxPeriod", {"max_period": 0}),
        ("minTestRows", {"min_rows": 0}),
        ("minTestRows", {"min_rows": 4_097}),
        ("maxWeightBps", {"max_weight": 0}),
        ("maxWeightBps", {"max_weight": 10_000}),
        ("answerPeriod", {"answers": 0}),
    ],
)
def test_constructor__rule_that_protects_nobody__reverts(field, rule):
    with pytest.raises(Reverted, match=f"^ConfigInvalid: {field}$"):
        Data(**rule)


def test_config__deployed__is_what_was_given(data):
    credits, demands, game, *numbers = data.see("config")
    assert credits == data.credits.lower()
    assert demands == data.world.places["RowDemands"].lower()
    assert game == RIVAL.lower()
    assert numbers == [DEPOSIT, FEE, 10_000, INTERVAL, MIN_ROWS]
    market, rounds, _, weight = data.world.call(OWNER, "DataCredits", "config")
    assert (market, rounds) == (data.market.lower(), data.rounds.lower())
    assert weight == MAX_WEIGHT


# ── openRound ───────────────────────────────────────────────────────────────────────────────────
def test_open_round__not_the_holder__reverts(data):
    with refuses("CallerNotModelOwner"):
        data.do(ALICE, "openRound", 1, data.terms())


def test_open_round__no_such_model__reverts(data):
    with refuses("ERC721NonexistentToken"):
        data.do(OWNER, "openRound", 2, data.terms())


@pytest.mark.parametrize(
    "change",
    [
        {"features": 0},
        {"features": 257},
        {"neighbours": 0},
        {"testRows": 0},
        {"testRows": 4_097},
        {"maxContributions": 0},
        {"maxContributions": 1_025},
        {"maxRows": 0},
        {"maxContributions": 1_024, "maxRows": 1_025},
        {"submitPeriod": 0},
        {"revealPeriod": 10_001},
        {"testPeriod": 0},
        {"testCommitment": ZERO32},
    ],
    ids=str,
)
def test_open_round__terms_out_of_range__reverts(data, change):
    with refuses("TermsInvalid|Panic"):
        data.open(**change)


def test_open_round__another_is_live__reverts(data):
    data.open()
    with refuses("RoundLive"):
        data.open()


def test_open_round__another_is_being_valued__reverts(data):
    data.prepare([ALICE])
    with refuses("RoundLive"):
        data.open()


def test_open_round__no_reward__costs_nothing(data):
    before = data.tokens(OWNER)
    data.open(reward=0)
    assert data.tokens(OWNER) == before


@pytest.mark.parametrize(
    "change", [{"features": 256, "testRows": 4_096}, {"maxContributions": 1_024, "maxRows": 1_024}]
)
def test_open_round__limits__are_allowed(data, change):
    assert data.open(**change) == 1


def test_open_round__terms__are_kept_and_the_reward_is_taken(data):
    before, now = data.tokens(OWNER), data.world.time
    assert data.open() == 1
    round_ = data.round()
    assert round_[:5] == (1, now + SUBMIT, now + SUBMIT + REVEAL, now + SUBMIT + REVEAL + TEST, 1)
    assert data.stage() == COLLECTING
    assert data.see("currentRoundOf", 1) == 1
    assert (before - data.tokens(OWNER), data.tokens(data.rounds)) == (REWARD, REWARD)


def test_open_round__after_the_last_ended__opens(data):
    data.open()
    data.pass_to("test")
    data.do(ALICE, "voidRound", 1)
    assert data.open() == 2
    assert data.see("currentRoundOf", 1) == 2


def test_round_of__unknown__is_empty(data):
    assert not any(int.from_bytes(words(word)) for word in data.round(7))
