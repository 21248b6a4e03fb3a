"""PaymentChannels.cover, uncover and release: the stake behind an offer."""

import pytest

from tests.contracts.chain import at, now
from tests.contracts.market import DOLLAR, FEE, LOCK, WINDOW, publication, refuses

RETIRED = 1 << 216


@pytest.fixture
def uncovered(channels):
    """Another offer of the same operator, which no stake stands behind yet."""
    channels.number = 1
    yield channels
    channels.number = 0


# ── cover ───────────────────────────────────────────────────────────────────────────────────────
def test_cover__another_operators_offer__reverts(channels, rival):
    with refuses("CallerNotOfferer", channels.offer_id, rival):
        channels.cover(1, sender=rival)


@pytest.mark.parametrize("locks", [0, (1 << 20) - 1, 1 << 20])
def test_cover__no_lock_or_too_many__reverts(channels, locks):
    with refuses("LocksInvalid", locks, (1 << 20) - 2):
        channels.cover(locks)


def test_cover__as_many_locks_as_an_offer_may_have__is_a_matter_of_stake(channels):
    left = (1 << 20) - 2
    with refuses("StakeInsufficient", channels.operator, 100 * DOLLAR - 2 * LOCK, left * LOCK):
        channels.cover(left)


@pytest.mark.parametrize("change", [1, RETIRED], ids=["other fee", "retired"])
def test_cover__terms_that_the_version_does_not_have__reverts(channels, change):
    channels.terms ^= change
    with refuses("TermsStale", 1, 1):
        channels.cover(1)
    channels.terms ^= change


def test_cover__version_that_is_retired__reverts(uncovered, registry, owner):
    registry.retireVersion(1, 1, {"from": owner})
    uncovered.terms |= RETIRED
    with refuses("TermsStale", 1, 1):
        uncovered.cover(1)
    uncovered.terms ^= RETIRED


def test_cover__metered_version__reverts(channels, registry, owner):
    """A receipt says nothing of units."""
    registry.publishVersion(1, registry.headOf(1), publication(maxUnits=7), {"from": owner})
    offer = (channels.operator.address, 1, 2, registry.termsOf(1, 2), 0)
    with refuses("VersionMetered", 1, 2):
        channels.contract.cover(offer, 1, {"from": channels.operator})


def test_cover__version_that_does_not_exist__reverts(uncovered):
    terms, uncovered.terms = uncovered.terms, 0
    offer = (uncovered.operator.address, 1, 9, 0, 0)
    with refuses("TermsStale", 1, 9):
        uncovered.contract.cover(offer, 1, {"from": uncovered.operator})
    uncovered.terms = terms


def test_cover__not_authorized__reverts(uncovered, operators, owner):
    operators.authorize(1, uncovered.operator, False, {"from": owner})
    with refuses("OperatorUnauthorized", 1, uncovered.operator):
        uncovered.cover(1)


def test_cover__more_than_is_free__reverts(uncovered):
    with refuses("StakeInsufficient", uncovered.operator, 100 * DOLLAR - 2 * LOCK, 50 * LOCK):
        uncovered.cover(50)


@pytest.mark.life
def test_cover__again__adds(channels, operators):
    transaction = channels.cover(3)
    event = transaction.events["OfferCovered"]
    assert (event["offerId"], event["operator"], event["locks"]) == (
        channels.offer_id,
        channels.operator,
        5,
    )
    assert tuple(event["offer"]) == channels.offer
    assert channels.covered() == (5, 0, 0, False)
    assert operators.stakeOf(channels.operator)["locked"] == 5 * LOCK
    assert channels.contract.offerIdOf(channels.offer) == channels.offer_id


# ── uncover ─────────────────────────────────────────────────────────────────────────────────────
def test_uncover__authorized_operators_by_another__reverts(channels, bob):
    with refuses("CallerNotOfferer", channels.offer_id, bob):
        channels.contract.uncover(channels.offer, {"from": bob})


def test_uncover__never_covered__reverts(uncovered):
    with refuses("OfferUncovered", uncovered.offer_id):
        uncovered.contract.uncover(uncovered.offer, {"from": uncovered.operator})


def test_uncover__twice__reverts(channels):
    transaction = channels.contract.uncover(channels.offer, {"from": channels.operator})
    with refuses("OfferEndingAlready", channels.offer_id, transaction.timestamp + 2 * WINDOW):
        channels.contract.uncover(channels.offer, {"from": channels.operator})


def test_uncover__no_longer_authorized__by_anyone(channels, operators, owner, bob):
    operators.authorize(1, channels.operator, False, {"from": owner})
    transaction = channels.contract.uncover(channels.offer, {"from": bob})
    ends_at = transaction.timestamp + 2 * WINDOW
    assert channels.covered() == (2, 0, ends_at, False)
    event = transaction.events["OfferEnding"]
    assert (event["offerId"], event["endsAt"]) == (channels.offer_id, ends_at)


def test_uncover__ending__takes_no_money_and_no_more_stake(channels):
    channels.contract.uncover(channels.offer, {"from": channels.operator})
    with refuses("OfferUncovered", channels.offer_id):
        channels.open(DOLLAR)
    with refuses("OfferUncovered", channels.offer_id):
        channels.cover(1)
    channels.claim(channels.row(FEE))


# ── release ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def ending(channels):
    """An offer that is ending, and when."""
    transaction = channels.contract.uncover(channels.offer, {"from": channels.operator})
    return transaction.timestamp + 2 * WINDOW


def test_release__not_ending__reverts(channels, bob):
    with refuses("OfferNotEnding", channels.offer_id, 0):
        channels.contract.release(channels.offer, {"from": bob})


def test_release__second_before_the_end__reverts(channels, ending, bob):
    at(ending - 1)
    with refuses("OfferNotEnding", channels.offer_id, ending):
        channels.contract.release(channels.offer, {"from": bob})


def test_release__an_answer_is_summoned__reverts_until_that_is_over(channels, ending, bob):
    answer = channels.summon(channels.answer(channels.game.example.honest))
    at(ending)
    with refuses("SummonsOpen", channels.offer_id, 1):
        channels.contract.release(channels.offer, {"from": bob})
    channels.market.finalize([answer.request], [answer.delivery], {"from": bob})
    channels.contract.endSummon(answer.request, {"from": bob})
    channels.contract.release(channels.offer, {"from": bob})


@pytest.mark.life
def test_release__by_anyone__frees_the_stake_and_keeps_held_claims(channels, operators, bob):
    channels.contract.uncover(channels.offer, {"from": channels.operator})
    held = channels.claim(channels.row(FEE))
    at(now() + 2 * WINDOW)
    event = channels.contract.release(channels.offer, {"from": bob}).events["OfferReleased"]
    assert (event["offerId"], event["locks"]) == (channels.offer_id, 2)
    assert operators.stakeOf(channels.operator)["locked"] == 0
    with refuses("OfferUncovered", channels.offer_id):
        channels.contract.release(channels.offer, {"from": bob})
    with refuses("OfferUncovered", channels.offer_id):
        channels.claim(channels.row(2 * FEE, before=FEE), slot=1)
    channels.settle(held)


# ── announce ────────────────────────────────────────────────────────────────────────────────────
def test_announce__more_than_256_bytes__reverts(channels):
    with refuses("EndpointTooLong", 257, 256):
        channels.contract.announce("x" * 257, {"from": channels.operator})


def test_announce__by_anyone__is_logged_with_its_sender(channels, bob):
    for url in ("https://op.example/" + "x" * 237, ""):
        events = channels.contract.announce(url, {"from": bob}).events
        assert dict(events["EndpointAnnounced"]) == {"operator": bob, "url": url}
