"""PaymentChannels.open, close and withdraw: money into a channel, and what is left back out."""

import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.contracts.chain import at, now
from tests.contracts.dispute_game.game import hexed, signer_of
from tests.contracts.market import DOLLAR, FEE, ZERO, digest, refuses
from tests.contracts.payment_channels.channels import CLOSE, CLOSE_DELAY
from tests.contracts.signing import sign, typed, vrs

SALT = digest("salt")
PERMIT = {
    "Permit": typed("address owner,address spender,uint256 value,uint256 nonce,uint256 deadline")
}
RECEIVE = {
    "ReceiveWithAuthorization": typed(
        "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
    )
}


# ── open ────────────────────────────────────────────────────────────────────────────────────────
def test_open__nothing__reverts(channels):
    with refuses("AmountZero"):
        channels.open(0)


def test_open__no_signer__reverts(channels):
    arguments = (channels.alice, ZERO, channels.offer, DOLLAR)
    with refuses("SignerZero"):
        channels.contract.open(*arguments, {"from": channels.alice})


def test_open__offer_without_stake__reverts(channels):
    channels.number = 3
    with refuses("OfferUncovered", channels.offer_id):
        channels.open(DOLLAR)
    channels.number = 0


def test_open__more_than_the_balance__reverts(channels, contract):
    balance = contract.balanceOf(channels.alice)
    with refuses("BalanceInsufficient", channels.alice, balance, balance + 1):
        channels.open(balance + 1)


def test_open__more_than_fits__reverts(channels):
    with refuses("SafeCastOverflowedUintDowncast", 96, 2**96):
        channels.open(2**96 - DOLLAR)


@pytest.mark.life
def test_open__for_another__the_payers_to_spend_and_get_back(channels, contract, bob):
    before = contract.balanceOf(channels.alice)
    transaction = channels.open(DOLLAR, payer=bob, sender=channels.alice)
    assert dict(transaction.events["ChannelFunded"]) == {
        "channelId": channels.channel_id(bob),
        "offerId": channels.offer_id,
        "payer": bob,
        "signer": bob,
        "from": channels.alice,
        "amount": DOLLAR,
    }
    assert contract.balanceOf(channels.alice) == before - DOLLAR
    assert channels.channel(bob) == (DOLLAR, 0, 0)
    ids = (channels.alice, channels.alice, channels.offer_id)
    assert channels.contract.channelIdOf(*ids) == channels.channel_id()


def test_open__again__tops_up(channels):
    channels.open(2 * DOLLAR)
    assert channels.channel() == (3 * DOLLAR, 0, 0)


@pytest.mark.parametrize("sent_before", [False, True])
def test_open_with_permit__also_one_that_somebody_sent__takes_tokens(
    channels, token, bob, sent_before
):
    token.faucet(bob, DOLLAR, {"from": bob})
    deadline = now() + 100
    message = {
        "owner": bob.address,
        "spender": channels.contract.address,
        "value": DOLLAR,
        "nonce": 0,
        "deadline": deadline,
    }
    permit = vrs(sign(signer_of(bob.address), token, "Test Dollar", PERMIT, message))
    if sent_before:
        token.permit(bob, channels.contract, DOLLAR, deadline, *permit, {"from": channels.alice})
    arguments = (bob, bob, channels.offer, DOLLAR, deadline, *permit)
    channels.contract.openWithPermit(*arguments, {"from": bob})
    assert channels.channel(bob) == (DOLLAR, 0, 0)
    assert token.balanceOf(bob) == 0


@pytest.fixture
def authorized(channels, token, bob):
    """Return what opens bob's channel with tokens that he signed away."""
    token.faucet(bob, DOLLAR, {"from": bob})

    def authorized(signer=bob):
        words = (bytes.fromhex(channels.channel_id(bob)[2:]), bytes.fromhex(SALT[2:]))
        message = {
            "from": bob.address,
            "to": channels.contract.address,
            "value": DOLLAR,
            "validAfter": 0,
            "validBefore": now() + 100,
            "nonce": keccak(encode(["bytes32", "bytes32"], words)),
        }
        signed = vrs(sign(signer_of(bob.address), token, "Test Dollar", RECEIVE, message))
        times = (message["validAfter"], message["validBefore"])
        return bob, signer, channels.offer, DOLLAR, *times, SALT, *signed

    return authorized


def test_open_with_authorization__by_anyone__opens_what_was_meant(channels, authorized, token, bob):
    channels.contract.openWithAuthorization(*authorized(), {"from": channels.alice})
    assert channels.channel(bob) == (DOLLAR, 0, 0)
    assert token.balanceOf(bob) == 0


def test_open_with_authorization__for_another_channel__reverts(channels, authorized, rival):
    with refuses("ERC3009InvalidSignature"):
        channels.contract.openWithAuthorization(*authorized(signer=rival), {"from": rival})


# ── close and withdraw ──────────────────────────────────────────────────────────────────────────
def close(channels, payer=None, time=0):
    payer = payer or channels.alice
    return channels.contract.close(payer, channels.offer, time, {"from": payer})


def withdraw(channels, sender):
    payer = channels.alice
    return channels.contract.withdraw(payer, payer, channels.offer, {"from": sender})


def test_close__no_money__reverts(channels, bob):
    with refuses("ChannelEmpty", channels.channel_id(bob)):
        close(channels, bob)


def test_close__twice__reverts(channels):
    transaction = close(channels)
    closes_at = transaction.timestamp + CLOSE_DELAY
    with refuses("ChannelIsClosing", channels.channel_id(), closes_at):
        close(channels)
    with refuses("ChannelIsClosing", channels.channel_id(), closes_at):
        channels.open(1)


def test_close__later_than_it_already_closes__reverts(channels):
    closes_at = now() + 10 * CLOSE_DELAY
    close(channels, time=closes_at)
    for time in (closes_at, closes_at + 1):
        with refuses("ChannelIsClosing", channels.channel_id(), closes_at):
            close(channels, time=time)
    assert channels.channel() == (DOLLAR, 0, closes_at)


def test_close__time_of_more_than_40_bits__reverts(channels):
    with refuses("SafeCastOverflowedUintDowncast", 40, 1 << 40):
        close(channels, time=1 << 40)


def test_close__sooner_than_the_delay_allows__closes_as_soon_as_it_allows(channels):
    transaction = close(channels, time=now() + CLOSE_DELAY - 5)
    assert channels.channel()[2] == transaction.timestamp + CLOSE_DELAY


def test_close__sooner_than_it_already_closes__takes_its_place(channels):
    close(channels, time=now() + 10 * CLOSE_DELAY)
    transaction = close(channels)
    closes_at = transaction.timestamp + CLOSE_DELAY
    assert dict(transaction.events["ChannelClosing"]) == {
        "channelId": channels.channel_id(), "closesAt": closes_at,
    }  # fmt: skip
    assert channels.channel()[2] == closes_at


def test_claim__channel_has_closed__reverts(channels):
    """Also when nobody has withdrawn: a signer's expiry needs nobody who looks at it."""
    closes_at = now() + 2 * CLOSE_DELAY
    close(channels, time=closes_at)
    channels.claim(channels.row(FEE))
    at(closes_at)
    row = channels.row(2 * FEE, before=FEE)
    with refuses("VoucherInvalid", 0, channels.channel_id(), FEE, DOLLAR):
        channels.claim(row, slot=1)


@pytest.mark.life
def test_close__in_one_multicall_with_open__a_key_has_a_limit_and_an_expiry(
    channels, contract, bob, rival
):
    """The payer signs once; `rival` stands for the key, and `bob` for whoever comes by."""
    before, expiry, sender = contract.balanceOf(channels.alice), now() + 300, channels.alice
    calls = [
        channels.contract.open.encode_input(sender, rival, channels.offer, 3 * FEE),
        channels.contract.close.encode_input(rival, channels.offer, expiry),
    ]
    channels.contract.multicall(calls, {"from": sender})
    assert channels.channel(signer=rival) == (3 * FEE, 0, expiry)
    with refuses("VoucherInvalid", 0, channels.channel_id(signer=rival), 0, 3 * FEE):
        channels.claim(channels.row(4 * FEE, signer=rival))
    channels.claim(channels.row(2 * FEE, signer=rival))
    with refuses("ChannelIsClosing", channels.channel_id(signer=rival), expiry):
        channels.open(FEE, signer=rival)
    at(expiry)
    channels.contract.withdraw(sender, rival, channels.offer, {"from": bob})
    assert contract.balanceOf(sender) == before - 2 * FEE
    with refuses("VoucherInvalid", 0, channels.channel_id(signer=rival), 2 * FEE, 2 * FEE):
        channels.claim(channels.row(3 * FEE, before=2 * FEE, signer=rival), slot=1)


def test_withdraw__open__reverts(channels, bob):
    with refuses("ChannelNotClosed", channels.channel_id(), 0):
        withdraw(channels, bob)


def test_withdraw__second_before__reverts(channels, bob):
    closes_at = close(channels).timestamp + CLOSE_DELAY
    at(closes_at - 1)
    with refuses("ChannelNotClosed", channels.channel_id(), closes_at):
        withdraw(channels, bob)


@pytest.mark.life
def test_withdraw__after_a_last_claim__the_payer_gets_the_rest(channels, contract, bob):
    before = contract.balanceOf(channels.alice)
    close(channels)
    channels.claim(channels.row(FEE))
    at(now() + CLOSE_DELAY)
    transaction = withdraw(channels, bob)
    assert dict(transaction.events["ChannelWithdrawn"]) == {
        "channelId": channels.channel_id(),
        "payer": channels.alice,
        "amount": DOLLAR - FEE,
    }
    assert contract.balanceOf(channels.alice) == before + DOLLAR - FEE
    assert channels.channel() == (FEE, FEE, 0)
    with refuses("ChannelEmpty", channels.channel_id()):
        close(channels)


def test_withdraw__all_was_claimed_meanwhile__can_be_opened_again(channels, bob):
    close(channels)
    channels.claim(channels.row(DOLLAR))
    at(now() + CLOSE_DELAY)
    withdraw(channels, bob)
    channels.open(DOLLAR)
    assert channels.channel() == (2 * DOLLAR, DOLLAR, 0)


def test_open__after_a_withdrawal__still_owes_what_was_signed(channels, bob):
    row = channels.row(2 * FEE)
    close(channels)
    at(now() + CLOSE_DELAY)
    withdraw(channels, bob)
    channels.open(DOLLAR)
    channels.claim(row)
    assert channels.channel() == (DOLLAR, 2 * FEE, 0)


# ── closeAgreed ─────────────────────────────────────────────────────────────────────────────────
def agreed(channels, cumulative, deadline=None, by=None):
    deadline = deadline or now() + 100
    message = {
        "channelId": channels.channel_id(),
        "cumulative": cumulative,
        "deadline": deadline,
    }
    key = signer_of((by or channels.operator).address)
    signed = sign(key, channels.contract, "Tallystick", CLOSE, message)
    return cumulative, deadline, hexed(bytes(signed.signature))


def close_agreed(channels, agreement):
    sender = {"from": channels.alice}
    return channels.contract.closeAgreed(channels.alice, channels.offer, *agreement, sender)


def test_close_agreed__not_by_the_operator__reverts(channels, rival):
    with refuses("CloseInvalid", channels.channel_id()):
        close_agreed(channels, agreed(channels, 0, by=rival))


def test_close_agreed__too_late__reverts(channels):
    deadline = now() + 5
    at(deadline)
    with refuses("CloseInvalid", channels.channel_id()):
        close_agreed(channels, agreed(channels, 0, deadline))


@pytest.mark.parametrize("cumulative", [FEE - 1, DOLLAR + 1])
def test_close_agreed__less_than_claimed_or_more_than_there_is__reverts(channels, cumulative):
    channels.claim(channels.row(FEE))
    with refuses("CloseInvalid", channels.channel_id()):
        close_agreed(channels, agreed(channels, cumulative))


@pytest.mark.life
def test_close_agreed__by_the_payer__at_once_and_the_operator_keeps_its_own(channels, contract):
    before = contract.balanceOf(channels.alice)
    row = channels.row(2 * FEE)
    close_agreed(channels, agreed(channels, 2 * FEE))
    assert contract.balanceOf(channels.alice) == before + DOLLAR - 2 * FEE
    channels.claim(row)
    assert channels.channel() == (2 * FEE, 2 * FEE, 0)


def test_close_agreed__at_all_there_is__gives_nothing_back(channels, contract):
    before = contract.balanceOf(channels.alice)
    close_agreed(channels, agreed(channels, DOLLAR))
    assert contract.balanceOf(channels.alice) == before
    assert channels.channel() == (DOLLAR, 0, 0)


def test_close_agreed__again_after_a_top_up__reverts(channels):
    """The payer would take back what it owes for answers since then."""
    agreement = agreed(channels, 0)
    close_agreed(channels, agreement)
    channels.open(DOLLAR)
    with refuses("CloseInvalid", channels.channel_id()):
        close_agreed(channels, agreement)
