"""Channels from the first cover to the last dollar: offers, deposits, held claims, summons."""

from dataclasses import replace

import pytest

from oracle.chain.bindings.payment_channels import (
    Channel,
    Cover,
)
from oracle.chain.revert import ContractError
from oracle.errors import InputInvalid, NotFound, Refused
from oracle.protocol.canonical import keccak
from oracle.services import balances, models, operators, requests
from oracle.services.channels import claims, deposits, offers, summons
from oracle.services.channels.claims import ClaimState
from oracle.services.channels.deposits import ChannelState
from oracle.services.channels.offers import OfferState
from oracle.types import Amount, Timestamp
from tests.services.channels import Trade
from tests.services.conftest import DOLLAR, World

WINDOW = 60


@pytest.fixture
def trade(world: World) -> Trade:
    """Two locks stand behind an offer; the payer has 20 dollars prepaid."""
    world.publish()
    world.serve(1, stake=1000)
    world.prepay(20 * DOLLAR)
    drafted = offers.draft(world.network, world.operator.address, "digits")
    offers.cover(world.network, world.operator, drafted, 2)
    offer = offers.show(world.network, drafted.offer_id)
    return Trade(world.network, world.operator, world.requester, offer)


# ── Pure ────────────────────────────────────────────────────────────────────────────────────────
def test_pick__no_id_unknown_or_several__says_what_to_write():
    known = {"0xab01": 1, "0xab02": 2}
    with pytest.raises(InputInvalid, match="no id of offers"):
        offers.pick("0xzz", known, "offer", "")
    with pytest.raises(NotFound, match="no offer 0xab03") as caught:
        offers.pick("0xab03", known, "offer", "list them")
    assert caught.value.hint.startswith("did you mean 0xab0")
    with pytest.raises(InputInvalid, match="2 offers begin with 0xab0"):
        offers.pick("0xab0", known, "offer", "")
    assert offers.pick("0xAB02", known, "offer", "") == 2


@pytest.mark.parametrize(
    ("cover", "state"),
    [
        (Cover(0, 0, Timestamp(0), False), OfferState.UNCOVERED),
        (Cover(1, 1, Timestamp(0), False), OfferState.OPEN),
        (Cover(1, 0, Timestamp(101), False), OfferState.ENDING),
        (Cover(1, 0, Timestamp(100), False), OfferState.ENDED),
        (Cover(0, 0, Timestamp(100), False), OfferState.RELEASED),
        (Cover(0, 0, Timestamp(100), True), OfferState.EXHAUSTED),
    ],
)
def test_offer_state__of_each_cover__is_what_the_contract_does(cover, state):
    assert offers.state_of(cover, Timestamp(100)) is state


@pytest.mark.parametrize(
    ("channel", "state"),
    [
        (Channel(Amount(2), 1, Timestamp(0)), ChannelState.OPEN),
        (Channel(Amount(2), 1, Timestamp(101)), ChannelState.CLOSING),
        (Channel(Amount(2), 1, Timestamp(100)), ChannelState.CLOSED),
        (Channel(Amount(2), 2, Timestamp(0)), ChannelState.EMPTY),
        (Channel(Amount(2), 2, Timestamp(100)), ChannelState.CLOSED),
    ],
)
def test_channel_state__of_each_channel__is_what_the_contract_does(channel, state):
    assert deposits.state_of(channel, Timestamp(100)) is state


# ── Offers ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.real
def test_cover__again_for_a_version__is_the_next_number(world, trade):
    network, operator = trade.network, trade.operator
    assert (trade.offer.state, trade.offer.number, trade.offer.locks) == (OfferState.OPEN, 0, 2)
    assert (trade.offer.fee, trade.offer.current) == (DOLLAR, True)
    assert trade.offer.lock == network.operators.stake_of(operator.address).locked // 2
    drafted = offers.draft(network, operator.address, "1@1")
    assert (drafted.number, drafted.state) == (1, OfferState.UNCOVERED)
    grown = offers.draft(network, operator.address, offers.name(trade.offer.offer_id)[:12])
    offers.cover(network, operator, grown, 3)
    assert trade.now().locks == 5
    with pytest.raises(ContractError, match="is not the operator"):
        offers.cover(network, world.stranger, grown, 1)


@pytest.mark.real
def test_cover__terms_have_changed__says_to_make_another(world, trade):
    network = trade.network
    terms = replace(trade.offer.offer.terms, fee=Amount(2 * DOLLAR))
    models.set_terms(network, world.owner, 1, 1, terms)
    assert not trade.now().current
    with pytest.raises(Refused, match=r"costs \$2.00 now, \$1.00 in this offer") as caught:
        offers.draft(network, trade.operator.address, offers.name(trade.offer.offer_id))
    assert "cover 1@1 LOCKS" in caught.value.hint
    assert offers.draft(network, trade.operator.address, "digits").fee == 2 * DOLLAR
    models.retire(network, world.owner, 1, 1)
    with pytest.raises(Refused, match="is retired"):
        offers.draft(network, trade.operator.address, "1@1")


@pytest.mark.real
def test_uncover__then_release__frees_the_stake_and_ends_the_number(world, trade):
    network, operator = trade.network, trade.operator
    with pytest.raises(ContractError, match="stays until its end"):
        offers.release(network, operator, trade.offer)
    offers.uncover(network, operator, trade.offer)
    ending = trade.now()
    assert ending.state is OfferState.ENDING
    assert ending.ends_at - ending.answers_until == WINDOW
    with pytest.raises(Refused, match="is ending"):
        offers.draft(network, operator.address, "digits", number=0)
    with pytest.raises(NotFound, match="nobody offers"):
        offers.find(network, "digits")
    trade.pass_time(2 * WINDOW)
    assert trade.now().state is OfferState.ENDED
    assert offers.list_offers(network, every=False) == ()
    offers.release(network, world.stranger, trade.now())
    assert trade.now().state is OfferState.RELEASED
    assert network.operators.stake_of(operator.address).locked == 0


@pytest.mark.real
def test_uncover__by_a_stranger__only_when_the_operator_lost_its_authority(world, trade):
    network = trade.network
    with pytest.raises(ContractError, match="is not the operator"):
        offers.uncover(network, world.stranger, trade.offer)
    operators.authorize(network, world.owner, 1, trade.operator.address, authorized=False)
    offers.uncover(network, world.stranger, trade.offer)
    assert trade.now().state is OfferState.ENDING


@pytest.mark.real
def test_list_offers__more_than_a_filter_takes__reads_all_and_keeps_those_named(trade):
    others = tuple(keccak(bytes([n])) for n in range(requests.MAX_IDS))
    assert offers.only(others) == others
    assert offers.only((*others, trade.offer.offer_id)) is None
    named = (*others, trade.offer.offer_id)
    assert offers.list_offers(trade.network, offer_ids=named) == (trade.offer,)
    assert offers.list_offers(trade.network, offer_ids=(*others, keccak(b"none"))) == ()


@pytest.mark.real
def test_find__model_with_two_offers__names_them(trade):
    network, operator = trade.network, trade.operator
    assert offers.find(network, "digits").offer_id == trade.offer.offer_id
    second = offers.draft(network, operator.address, "digits")
    offers.cover(network, operator, second, 1)
    with pytest.raises(InputInvalid, match="has 2 offers") as caught:
        offers.find(network, "digits")
    assert offers.name(second.offer_id)[:10] in caught.value.hint
    assert offers.list_offers(network, operator=trade.payer.address) == ()


# ── Channels ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.real
def test_fund__balance_too_low__brings_tokens_in(trade):
    network, payer = trade.network, trade.payer
    with pytest.raises(Refused, match=r"\$20.00 prepaid and \$0.00 in hand, less than \$25.00"):
        trade.open(25 * DOLLAR)
    with pytest.raises(InputInvalid, match="does not pay for one answer"):
        trade.open(DOLLAR - 1)
    assert trade.balance() == 20 * DOLLAR
    balances.fund(network, payer.address, Amount(6 * DOLLAR))
    opened = trade.open(25 * DOLLAR)
    assert (opened.state, opened.left, trade.balance()) == (ChannelState.OPEN, 25 * DOLLAR, 0)
    assert network.token.balance_of(payer.address) == DOLLAR
    assert trade.open(1).left == 25 * DOLLAR + 1
    assert len(deposits.list_channels(network, payer.address)) == 1


@pytest.mark.real
def test_fund__for_another_and_a_key_of_its_own__is_that_ones(world, trade):
    network, other, key = trade.network, world.stranger, world.owner
    deposits.fund(
        network, trade.payer, trade.offer, Amount(DOLLAR), payer=other.address, signer=key.address
    )
    assert deposits.list_channels(network, trade.payer.address) == ()
    (channel,) = deposits.list_channels(network, other.address)
    assert (channel.payer, channel.signer) == (other.address, key.address)
    assert deposits.find(network, other.address, offers.name(channel.channel_id)[:12]) == channel


@pytest.mark.real
def test_close__wait__withdraw__all_that_is_not_claimed_comes_back(world, trade):
    network, payer = trade.network, trade.payer
    before = trade.balance()
    closing = deposits.close(network, payer, trade.open())
    assert closing.state is ChannelState.CLOSING
    with pytest.raises(Refused, match="takes no money until"):
        trade.open()
    with pytest.raises(ContractError, match="can pay out after"):
        deposits.withdraw(network, payer, closing)
    trade.claim(trade.row(3 * DOLLAR))
    trade.pass_time(closing.closes_at - network.history.now())
    deposits.withdraw(network, world.stranger, closing)
    assert trade.balance() == before - 3 * DOLLAR
    (left,) = deposits.list_channels(network, payer.address)
    assert (left.state, left.claimed) == (ChannelState.EMPTY, 3 * DOLLAR)
    assert deposits.list_channels(network, payer.address, every=False) == ()


@pytest.mark.real
def test_fund__closed_and_all_claimed__after_a_withdrawal_of_nothing(trade):
    closing = deposits.close(trade.network, trade.payer, trade.open())
    trade.claim(trade.row(10 * DOLLAR))
    trade.pass_time(closing.closes_at - trade.network.history.now())
    with pytest.raises(Refused, match="takes no money"):
        trade.open()
    assert deposits.withdraw(trade.network, trade.payer, closing).amount == 0
    assert trade.open().left == 10 * DOLLAR


@pytest.mark.real
def test_fund__offer_is_ending__refuses_before_money_moves(trade):
    offers.uncover(trade.network, trade.operator, trade.offer)
    with pytest.raises(Refused, match="the offer is ending"):
        deposits.fund(trade.network, trade.payer, trade.now(), Amount(DOLLAR))


# ── Claims ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.real
def test_collect__windows_open_and_passed__settles_what_is_due(world, trade):
    network, operator = trade.network, trade.operator
    trade.open()
    trade.claim(trade.row(3 * DOLLAR))
    trade.pass_time(WINDOW - 10)
    trade.claim(trade.row(4 * DOLLAR, before=3 * DOLLAR), slot=1)
    found = claims.list_claims(network, (trade.now(),))
    assert [(c.total, c.state) for c in found] == [
        (3 * DOLLAR, ClaimState.HELD),
        (DOLLAR, ClaimState.HELD),
    ]
    assert claims.collect(network, operator, (trade.now(),)).settled == ()
    trade.pass_time(10)
    done = claims.collect(network, operator, (trade.now(),))
    assert [(c.total, c.held.slot) for c in done.settled] == [(3 * DOLLAR, 0)]
    assert [c.total for c in done.waiting] == [DOLLAR]
    assert 0 < done.earned == network.market.balance_of(operator.address)
    trade.claim(trade.row(5 * DOLLAR, before=4 * DOLLAR))  # the first slot again
    trade.pass_time(WINDOW)
    assert len(claims.collect(network, world.stranger, (trade.now(),)).settled) == 2
    assert claims.list_claims(network, (trade.now(),)) == ()


@pytest.mark.real
def test_collect__as_many_summoned_as_locks__waits_until_they_are_over(trade):
    network = trade.network
    trade.open()
    trade.claim(trade.row(3 * DOLLAR))
    trade.pass_time(WINDOW - 10)
    summoned = {trade.summon(1), trade.summon(2)}
    assert {
        one.info.request_id for one in summons.open_summons(network, trade.offer.offer_id)
    } == summoned
    trade.pass_time(10)
    done = claims.collect(network, trade.operator, (trade.now(),))
    assert [c.state for c in done.waiting] == [ClaimState.BLOCKED]
    assert (done.settled, done.transactions) == ((), ())
    trade.pass_time(WINDOW)
    done = claims.collect(network, trade.operator, (trade.now(),))
    assert len(done.settled) == 1
    assert len(done.transactions) == 5  # two answers settled and told of, then the claim
    assert trade.now().open == 0


@pytest.mark.real
def test_release__summoned_answer_that_is_final__ends_it_first(trade):
    network, operator = trade.network, trade.operator
    trade.open()
    trade.summon(1)
    offers.uncover(network, operator, trade.offer)
    trade.pass_time(2 * WINDOW)
    offers.release(network, operator, trade.now())
    assert trade.now().state is OfferState.RELEASED


@pytest.mark.real
def test_release__before_a_claim_is_due__it_is_paid_and_the_rest_comes_back(trade):
    network, payer = trade.network, trade.payer
    before, channel = trade.balance(), trade.open()
    offers.uncover(network, trade.operator, trade.offer)
    trade.pass_time(2 * WINDOW)
    trade.claim(trade.row(3 * DOLLAR))
    offers.release(network, trade.operator, trade.now())
    with pytest.raises(ContractError, match="No stake stands behind"):
        trade.claim(trade.row(4 * DOLLAR, before=3 * DOLLAR), slot=1)
    closing = deposits.close(network, payer, channel)
    trade.pass_time(max(WINDOW, closing.closes_at - network.history.now()))
    assert len(claims.collect(network, trade.operator, (trade.now(),)).settled) == 1
    deposits.withdraw(network, payer, closing)
    assert trade.balance() == before - 3 * DOLLAR


@pytest.mark.real
def test_void__offer_exhausted__the_payer_gets_all_of_it_back(world, trade):
    network, payer = trade.network, trade.payer
    channel = trade.open()
    trade.claim(trade.row(3 * DOLLAR))
    with pytest.raises(Refused, match="is open, not exhausted"):
        claims.void(network, payer, trade.now())
    trade.convict(1)
    assert (trade.now().locks, trade.now().convicted) == (1, 1)
    trade.convict(2)
    over = trade.now()
    assert (over.state, over.convicted) == (OfferState.EXHAUSTED, 2)
    done = claims.collect(network, trade.operator, (over,))
    assert (done.settled, [c.state for c in done.waiting]) == ((), [ClaimState.VOID])
    voided = claims.void(network, world.stranger, over)
    assert voided.total == 3 * DOLLAR
    before = trade.balance()
    closing = deposits.close(network, payer, channel)
    assert closing.left == 10 * DOLLAR
    trade.pass_time(closing.closes_at - network.history.now())
    deposits.withdraw(network, payer, closing)
    assert trade.balance() == before + 10 * DOLLAR
    assert network.market.balance_of(network.channels.address) == 0


@pytest.mark.real
def test_void__after_a_withdrawal__what_was_claimed_comes_back_too(trade):
    network, payer = trade.network, trade.payer
    before, closing = trade.balance(), deposits.close(network, payer, trade.open())
    trade.pass_time(closing.closes_at - network.history.now() - 30)
    trade.claim(trade.row(3 * DOLLAR))
    trade.pass_time(closing.closes_at - network.history.now())
    deposits.withdraw(network, payer, closing)
    trade.convict(1)
    trade.convict(2)
    compensated = trade.balance() - before
    claims.void(network, payer, trade.now())
    (left,) = deposits.list_channels(network, payer.address, every=False)
    assert (left.state, left.left) == (ChannelState.OPEN, 3 * DOLLAR)
    closing = deposits.close(network, payer, left)
    trade.pass_time(closing.closes_at - network.history.now())
    assert deposits.withdraw(network, payer, closing).amount == 3 * DOLLAR
    assert trade.balance() == before + compensated + 3 * DOLLAR


@pytest.mark.real
def test_void__closing_and_all_claimed__can_be_withdrawn_at_once(trade):
    network, payer = trade.network, trade.payer
    closing = deposits.close(network, payer, trade.open())
    trade.claim(trade.row(10 * DOLLAR))
    trade.convict(1)
    trade.convict(2)
    claims.void(network, payer, trade.now())
    assert deposits.withdraw(network, payer, closing).amount == 10 * DOLLAR


@pytest.mark.real
def test_rows_in__call_wrapped_by_another__finds_those_of_the_hash(trade):
    trade.open()
    rows = (trade.row(3 * DOLLAR),)
    channels = trade.network.channels
    data = channels.claim(trade.offer.offer, [], 0, rows).data
    wrapped = channels.multicall([data[:4] + bytes(64), data]).data
    trade.claim(*rows)
    (claim,) = claims.list_claims(trade.network, (trade.now(),))
    assert claims.rows_in(data, claim.held.rows_hash) == rows
    assert claims.rows_in(wrapped, claim.held.rows_hash) == rows
    assert claims.rows_in(wrapped, keccak(b"others")) is None
    assert claims.rows_in(b"", claim.held.rows_hash) is None
