"""TrainingRounds: every phase of a round, its deadline, and the way on when somebody vanishes."""

from collections.abc import Callable
from typing import Any

import pytest

from oracle.training.aggregation import AggregationRule
from oracle.types import ZERO32
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CHALLENGER,
    CID,
    DAVE,
    DEAD,
    OWNER,
    RIVAL,
    ZERO,
    refuses,
)
from tests.contracts.training_rounds.play import (
    AGGREGATE,
    AGGREGATOR,
    BOND,
    COLLECTED,
    COLLECTING,
    COMMIT,
    FEE,
    MAX_PERIOD,
    PUBLISHED,
    REVEAL,
    REVEALED,
    REWARD,
    SALT,
    SERVE,
    SETTLED,
    STAKE,
    VOID,
    WINDOW,
    Training,
    Vectors,
)

ROOT = b"\x11" * 32


@pytest.fixture
def training() -> Training:
    return Training()


@pytest.fixture
def collected(training: Training) -> Training:
    """Three updates are revealed; they can be demanded now."""
    training.collect_updates()
    return training


@pytest.fixture
def published(collected: Training) -> Training:
    collected.publish()
    return collected


# ── Deployment ──────────────────────────────────────────────────────────────────────────────────


def test_constructor__what_cannot_work__reverts(training: Training) -> None:
    deploy, market = training.world.deploy, training.data.market
    with refuses("ConfigInvalid"):
        deploy(OWNER, "TrainingRounds", (market, ZERO, MAX_PERIOD))
    with refuses("ConfigInvalid"):
        deploy(OWNER, "TrainingRounds", (market, BOB, 0))
    with refuses("ConfigInvalid"):
        deploy(OWNER, "TrainingGame", (training.rounds, 20))  # it names another game


def test_config__says_what_was_fixed(training: Training) -> None:
    call, places = training.world.call, training.world.places
    wired = (training.data.market.lower(), places["TrainingGame"].lower())

    assert call(BOB, "TrainingRounds", "config") == (*wired, MAX_PERIOD)
    assert call(BOB, "TrainingGame", "config") == (training.rounds.lower(), 20)
    assert training.do(BOB, "token") == places["TestDollar"].lower()
    assert training.do(BOB, "burnAddress") == DEAD


# ── Open ────────────────────────────────────────────────────────────────────────────────────────


def test_open__terms__are_kept_and_paid_for(training: Training) -> None:
    before = money(training, OWNER)
    start = training.world.time
    assert training.open() == 1

    round_ = training.round
    assert round_["stage"] == COLLECTING
    assert round_["opener"] == OWNER
    assert round_["commitUntil"] == start + COMMIT
    assert round_["revealUntil"] == start + COMMIT + REVEAL
    assert round_["serveUntil"] == start + COMMIT + REVEAL + SERVE
    assert round_["endBy"] == start + COMMIT + REVEAL + SERVE + AGGREGATE
    assert training.do(BOB, "termsOf", 1) == training.terms()
    assert training.do(BOB, "roundCount") == 1
    assert before - money(training, OWNER) == REWARD + FEE


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("version", [0, 2]),
        ("parameters", [0, 2**32 + 1]),
        ("clip", [0, 2**15]),
        ("trim", [1]),
        ("scaleBits", [32]),
        ("maxWeight", [0]),
        ("leastClients", [0]),
        ("mostClients", [1]),
        ("stateRoot", [ZERO32]),
        ("commitPeriod", [0, MAX_PERIOD + 1]),
        ("revealPeriod", [0, MAX_PERIOD + 1]),
        ("servePeriod", [0, MAX_PERIOD + 1]),
        ("aggregatePeriod", [0, MAX_PERIOD + 1]),
        ("challengePeriod", [0, MAX_PERIOD + 1]),
        ("participantBond", [0]),
        ("aggregatorBond", [0]),
    ],
)
def test_open__terms_that_cannot_work__revert(
    training: Training, field: str, values: list[Any]
) -> None:
    for value in values:
        with refuses("TrainingTermsInvalid"):
            training.open(**{field: value})


def test_open__rule_that_shows_all__takes_few_clients_and_a_trim_below_half(
    training: Training,
) -> None:
    training.open(rule=1, mostClients=16)
    with refuses("TrainingTermsInvalid"):
        training.open(rule=1, mostClients=17)
    with refuses("TrainingTermsInvalid"):
        training.open(rule=2, trim=2, leastClients=4)
    training.open(rule=2, trim=2, leastClients=5, mostClients=5)


def test_open__not_the_owner__reverts(training: Training) -> None:
    with refuses("CallerNotModelOwner"):
        training.do(BOB, "open", training.terms())


# ── Commit and reveal ───────────────────────────────────────────────────────────────────────────


def test_commit__in_time__takes_the_bond(training: Training) -> None:
    training.open()
    before = money(training, ALICE)
    training.commit(0)

    assert training.do(BOB, "commitmentOf", 1, ALICE) == training.commitment(0)
    assert training.round["committed"] == 1
    assert before - money(training, ALICE) == BOND


def test_commit__what_does_not_fit__reverts(training: Training) -> None:
    with refuses("TrainingStageInvalid"):
        training.commit(0)
    training.open(mostClients=2)
    with refuses("CommitmentZero"):
        training.do(ALICE, "commit", 1, ZERO32)
    training.commit(0)
    with refuses("CommitmentKnown"):
        training.commit(0)
    training.commit(1)
    with refuses("ClientsFull"):
        training.commit(2)
    training.until("commitUntil")
    with refuses("TrainingPhaseOver"):
        training.commit(2)


def test_reveal__what_does_not_fit__reverts(training: Training) -> None:
    training.open()
    training.commit(0)
    training.commit(1, root=training.root(0))  # a copy; of a root that it cannot know
    training.commit(2, weight=501)
    with refuses("TrainingPhaseNotOpen"):
        training.reveal(0)
    training.until("commitUntil")
    with refuses("RevealMismatch"):
        training.reveal(0, weight=4)
    with refuses("RevealMismatch"):
        training.do(DAVE, "reveal", 1, ROOT, 1, SALT, CID, CID)
    with refuses("WeightInvalid"):
        training.reveal(2, weight=501)
    assert training.reveal(0) == 1
    with refuses("RevealMismatch"):
        training.reveal(0)  # twice
    with refuses("UpdateKnown"):
        training.reveal(1, root=training.root(0))
    training.until("revealUntil")
    with refuses("TrainingPhaseOver"):
        training.reveal(1)


def test_reveal__two_updates__are_numbered_in_their_order(training: Training) -> None:
    training.open()
    for client in (0, 1):
        training.commit(client)
    training.until("commitUntil")

    assert training.reveal(1) == 1
    assert training.reveal(0) == 2
    assert training.do(BOB, "updateOf", 1, 1) == (BOB.lower(), 1, REVEALED, training.root(1))
    round_ = training.round
    assert (round_["revealed"], round_["counted"], round_["sharing"]) == (2, 2, 2)
    assert round_["weight"] == 4
    assert training.do(BOB, "commitmentOf", 1, ALICE) == ZERO32


# ── Aggregate ───────────────────────────────────────────────────────────────────────────────────


def test_claim__outside_of_its_time__reverts(collected: Training) -> None:
    with refuses("TrainingPhaseNotOpen"):
        collected.do(AGGREGATOR, "claim", 1)
    collected.until("endBy")
    with refuses("TrainingPhaseOver"):
        collected.do(AGGREGATOR, "claim", 1)


def test_claim__somebody_is_at_work__reverts_until_it_lapses(collected: Training) -> None:
    collected.until("serveUntil")
    collected.do(AGGREGATOR, "claim", 1)
    with refuses("AggregatorAtWork"):
        collected.do(RIVAL, "claim", 1)
    with refuses("AggregatorAtWork"):
        collected.do(RIVAL, "lapse", 1)
    with refuses("AggregatorAtWork"):
        collected.do(RIVAL, "voidRound", 1)
    collected.until("until")
    with refuses("TrainingPhaseOver"):
        collected.do(AGGREGATOR, "publish", 1, ROOT, ROOT, CID, CID)
    collected.do(RIVAL, "claim", 1)

    assert collected.round["aggregator"] == RIVAL
    assert collected.balance(DEAD) == STAKE
    assert collected.balance(AGGREGATOR) == 0


def test_lapse__vanished_aggregator__gives_others_time_anew(collected: Training) -> None:
    collected.until("serveUntil")
    with refuses("AggregatorMissing"):
        collected.do(BOB, "lapse", 1)
    collected.do(AGGREGATOR, "claim", 1)
    collected.at(collected.round["until"] + 1_000)
    collected.do(BOB, "lapse", 1)

    assert collected.round["endBy"] == collected.world.time + AGGREGATE
    assert collected.balance(DEAD) == STAKE
    with refuses("RoundWaits"):
        collected.do(BOB, "voidRound", 1)


def test_claim__too_few_updates__reverts_and_the_round_is_void(training: Training) -> None:
    training.open(leastClients=3)
    for client in range(3):
        training.commit(client)
    training.until("commitUntil")
    for client in range(2):
        training.reveal(client)
    with refuses("TrainingPhaseNotOpen"):
        training.do(BOB, "voidRound", 1)
    training.until("serveUntil")
    with refuses("ClientsTooFew"):
        training.do(AGGREGATOR, "claim", 1)
    training.do(BOB, "voidRound", 1)

    assert training.round["stage"] == VOID
    assert training.balance(OWNER) == REWARD + FEE
    assert training.balance(DEAD) == BOND  # of the one that did not reveal
    for number in (1, 2):
        training.do(DAVE, "collect", 1, number)
    assert training.balance(ALICE) == training.balance(BOB) == BOND
    assert held(training) == money(training, training.rounds)


def test_publish__what_does_not_fit__reverts(collected: Training) -> None:
    collected.until("serveUntil")
    with refuses("CallerNotAggregator"):
        collected.do(AGGREGATOR, "publish", 1, ROOT, ROOT, CID, CID)
    collected.do(AGGREGATOR, "claim", 1)
    with refuses("CallerNotAggregator"):
        collected.do(RIVAL, "publish", 1, ROOT, ROOT, CID, CID)
    collected.do(AGGREGATOR, "publish", 1, ROOT, ROOT, CID, CID)
    with refuses("TrainingStageInvalid"):
        collected.do(AGGREGATOR, "publish", 1, ROOT, ROOT, CID, CID)


def test_publish__sums_of_a_rule_without_sums__reverts() -> None:
    training = Training(vectors=Vectors.random((1, 1, 1), AggregationRule.MEDIAN))
    training.collect_updates()
    training.until("serveUntil")
    training.do(AGGREGATOR, "claim", 1)
    with refuses("SumsUnexpected"):
        training.do(AGGREGATOR, "publish", 1, ROOT, ROOT, CID, CID)


# ── End ─────────────────────────────────────────────────────────────────────────────────────────


def test_settle__nobody_found_a_fault__pays_everybody(published: Training) -> None:
    round_ = published.round
    assert round_["stage"] == PUBLISHED
    assert round_["until"] == published.world.time + WINDOW
    with refuses("TrainingWindowOpen"):
        published.do(BOB, "settle", 1)
    with refuses("TrainingStageInvalid"):
        published.do(BOB, "collect", 1, 1)
    with refuses("TrainingStageInvalid"):
        published.do(BOB, "voidRound", 1)
    published.until("until")
    published.do(BOB, "settle", 1)

    assert published.round["stage"] == SETTLED
    assert published.round["nextRoot"] == published.vectors.published.next_root
    assert published.balance(AGGREGATOR) == STAKE + FEE
    assert published.balance(OWNER) == REWARD % 3  # what cannot be divided
    for number, owner in enumerate((ALICE, BOB, CAROL), 1):
        published.do(DAVE, "collect", 1, number)
        assert published.balance(owner) == BOND + REWARD // 3
        assert published.status(number) == COLLECTED
        with refuses("UpdateStatusInvalid"):
            published.do(owner, "collect", 1, number)
    with refuses("UpdateStatusInvalid"):
        published.do(DAVE, "collect", 1, 4)
    assert held(published) == money(published, published.rounds)


def test_void_round__nobody_aggregates__gives_all_back(collected: Training) -> None:
    collected.until("serveUntil")
    with refuses("RoundWaits"):
        collected.do(BOB, "voidRound", 1)
    collected.until("endBy")
    collected.do(BOB, "voidRound", 1)

    assert collected.balance(OWNER) == REWARD + FEE
    collected.do(ALICE, "collect", 1, 1)
    assert collected.balance(ALICE) == BOND
    with refuses("TrainingStageInvalid"):
        collected.do(AGGREGATOR, "claim", 1)


def test_withdraw__a_token_that_refuses_or_is_asked_twice__loses_nothing(
    collected: Training,
) -> None:
    with refuses("AmountZero"):
        collected.do(ALICE, "withdraw")
    collected.until("endBy")
    collected.do(BOB, "voidRound", 1)
    collected.do(ALICE, "collect", 1, 1)
    before = money(collected, ALICE)
    collected.do(ALICE, "withdraw")

    assert money(collected, ALICE) - before == BOND
    assert collected.balance(ALICE) == 0


# ── For the game ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "call",
    [
        lambda one, by: one.do(by, "beginChallenge", 1, 1),
        lambda one, by: one.do(by, "endChallenge", 1),
        lambda one, by: one.do(by, "convictAggregator", 1, by),
        lambda one, by: one.do(by, "convictUnserved", 1, 1, by),
        lambda one, by: one.do(by, "convictUnclipped", 1, 1, by),
    ],
)
def test_convictions__not_by_the_game__revert(
    collected: Training, call: Callable[[Training, str], None]
) -> None:
    with refuses("CallerNotTrainingGame"):
        call(collected, CHALLENGER)


def money(training: Training, account: str) -> int:
    return int(training.world.call(BOB, "TestDollar", "balanceOf", account))


def held(training: Training) -> int:
    """Return all that somebody may withdraw, or collect, when the round is over."""
    people = (ALICE, BOB, CAROL, DAVE, OWNER, AGGREGATOR, RIVAL, CHALLENGER, DEAD)
    return sum(training.balance(account) for account in people)
