"""PaymentChannels.claim, settle and void: from vouchers to money, or back to the payers."""

import pytest
from eth_abi import encode
from eth_keys.datatypes import Signature
from eth_utils import keccak

from tests.contracts.chain import at, now
from tests.contracts.market import DOLLAR, FEE, WINDOW, ZERO, ZERO32, refuses
from tests.contracts.payment_channels.channels import BY_CONTRACT, split

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


# ── claim ───────────────────────────────────────────────────────────────────────────────────────
def test_claim__not_by_the_operator__reverts(channels, rival):
    with refuses("CallerNotOfferer", channels.offer_id, rival):
        channels.contract.claim(channels.offer, [], 0, [channels.row(FEE)], {"from": rival})


def test_claim__no_rows__reverts(channels):
    with refuses("AmountZero"):
        channels.claim()


@pytest.mark.parametrize("cumulative", [DOLLAR + 1, 2**128 - 1])
def test_claim__above_the_deposit__reverts(channels, cumulative):
    with refuses("VoucherInvalid", 0, channels.channel_id(), 0, DOLLAR):
        channels.claim(channels.row(cumulative))


def test_claim__the_whole_deposit__is_taken(channels):
    channels.claim(channels.row(DOLLAR))
    assert channels.channel() == (DOLLAR, DOLLAR, 0)


@pytest.mark.parametrize("cumulative", [FEE, FEE - 1, 0])
def test_claim__not_above_the_last__reverts(channels, cumulative):
    channels.claim(channels.row(FEE))
    with refuses("VoucherInvalid", 0, channels.channel_id(), FEE, DOLLAR):
        channels.claim(channels.row(cumulative, before=FEE), slot=1)


@pytest.mark.parametrize("before", [0, FEE - 1, FEE + 1])
def test_claim__does_not_start_where_the_last_ended__reverts(channels, before):
    channels.claim(channels.row(FEE))
    with refuses("VoucherInvalid", 0, channels.channel_id(), FEE, DOLLAR):
        channels.claim(channels.row(2 * FEE, before=before), slot=1)


def test_claim__same_voucher_twice_in_a_claim__reverts(channels):
    row = channels.row(FEE)
    with refuses("VoucherInvalid", 1, channels.channel_id(), FEE, DOLLAR):
        channels.claim(row, row)


@pytest.mark.parametrize(
    "domain",
    [
        {"chainId": 2},
        {"verifyingContract": "0x" + "11" * 20},
        {"version": "2"},
    ],
    ids=lambda domain: next(iter(domain)),
)
def test_claim__signed_for_elsewhere__reverts(channels, domain):
    with pytest.raises(Exception, match=r"VoucherInvalid: 0, .*, 0, 0"):
        channels.claim(channels.row(FEE, **domain))


def test_claim__signed_for_another_offer__reverts(channels):
    row = channels.row(FEE)
    channels.number = 1
    channels.cover(1)
    channels.open(DOLLAR)
    with pytest.raises(Exception, match=r"VoucherInvalid: 0, .*, 0, 0"):
        channels.claim(row)
    channels.number = 0


def test_claim__signed_by_a_stranger__reverts(channels, bob):
    with refuses("VoucherInvalid", 0, channels.channel_id(signer=bob), 0, 0):
        channels.claim(channels.row(FEE, by=bob))


def test_claim__other_answers_or_root_than_signed__reverts(channels):
    who, *rest = channels.row(FEE)
    with pytest.raises(Exception, match="VoucherInvalid"):
        channels.claim((who + (1 << 160), *rest))
    who, sums, _, *signature = channels.row(FEE)
    with pytest.raises(Exception, match="VoucherInvalid"):
        channels.claim((who, sums, ZERO32, *signature))


def test_claim__high_s__reverts(channels, accounts):
    """EIP-2: the high s of some key's signature would name that key's channel, were it taken."""
    *fields, vs = channels.row(FEE)
    high = HALF_ORDER + 1 + (int(vs, 16) >> 255 << 255)
    nobody = (
        "0x"
        + keccak(
            encode(
                ["address", "address", "bytes32"],
                [channels.alice.address, ZERO, bytes.fromhex(channels.offer_id[2:])],
            )
        ).hex()
    )
    with refuses("VoucherInvalid", 0, nobody, 0, 0):
        channels.claim((*fields, f"{high:#066x}"))


def test_claim__highest_of_the_low_s__is_taken(channels):
    """Of every signature with a low s some key is the signer, and its channel pays."""
    who, sums, root, r, vs = channels.row(FEE)
    digest = channels.contract.voucherHash(channels.alice, channels.offer_id, FEE, 1, root)
    vs = HALF_ORDER + (int(vs, 16) >> 255 << 255)
    signature = Signature(vrs=(vs >> 255, int(r, 16), HALF_ORDER))
    signer = signature.recover_public_key_from_msg_hash(bytes.fromhex(str(digest)[2:]))
    address = signer.to_checksum_address()
    sender = {"from": channels.alice}
    channels.contract.open(channels.alice, address, channels.offer, FEE, sender)
    channels.claim((who, sums, root, r, f"{vs:#066x}"))


def test_claim__slot_that_holds_a_claim__reverts(channels):
    channels.claim(channels.row(FEE))
    with refuses("SlotTaken", channels.offer_id, 0):
        channels.claim(channels.row(2 * FEE, before=FEE))


def test_claim__offer_without_stake__reverts(channels):
    channels.number = 7
    with refuses("OfferUncovered", channels.offer_id):
        channels.claim(channels.row(FEE))
    channels.number = 0


@pytest.mark.life
def test_claim__many_channels__one_held_claim(channels, accounts, bob, token):
    key = accounts.add()
    channels.open(DOLLAR, signer=key)
    token.faucet(bob, DOLLAR, {"from": bob})
    token.approve(channels.market, DOLLAR, {"from": bob})
    channels.market.deposit(bob, DOLLAR, {"from": bob})
    channels.open(DOLLAR, payer=bob)
    rows = [
        channels.row(FEE),
        channels.row(2 * FEE, signer=key, answers=2),
        channels.row(3 * FEE, payer=bob, answers=3),
    ]
    held = channels.claim(*rows)
    assert held[2] == 6 * FEE
    assert channels.channel() == (DOLLAR, FEE, 0)
    assert channels.channel(signer=key) == (DOLLAR, 2 * FEE, 0)
    assert channels.channel(bob) == (DOLLAR, 3 * FEE, 0)


@pytest.fixture
def wallet(channels, TestWallet, deployer):
    """A contract with a channel of a dollar."""
    wallet = TestWallet.deploy({"from": deployer})
    channels.open(DOLLAR, payer=wallet, sender=channels.alice)
    return wallet


def row_of(channels, wallet):
    """Return a row of the contract, and what it has to approve."""
    who, *rest = channels.row(FEE, payer=wallet, by=channels.alice)
    digest = channels.contract.voucherHash(wallet, channels.offer_id, FEE, 1, rest[1])
    return (who | BY_CONTRACT, *rest), digest


def test_claim__payer_is_a_contract__asks_it(channels, wallet, deployer):
    row, digest = row_of(channels, wallet)
    with pytest.raises(Exception, match="VoucherInvalid"):
        channels.claim(row)
    wallet.approve(digest, {"from": deployer})
    channels.claim(row)
    assert channels.channel(wallet) == (DOLLAR, FEE, 0)


# ── settle ──────────────────────────────────────────────────────────────────────────────────────
def test_settle__second_before_the_window_has_passed__reverts(channels):
    held = channels.claim(channels.row(FEE))
    at(held[3] + WINDOW - 1)
    with refuses("ClaimHeld", channels.offer_id, held[3] + WINDOW):
        channels.contract.settle(channels.offer, [held], {"from": channels.operator})


@pytest.mark.parametrize("field", range(4), ids=["slot", "rows", "total", "time"])
def test_settle__another_claim_than_held__reverts(channels, field):
    held = list(channels.claim(channels.row(FEE)))
    held[field] = ZERO32 if field == 1 else held[field] - 1 if held[field] else 1
    at(now() + 2 * WINDOW)
    with refuses("ClaimMismatch", channels.offer_id, held[0]):
        channels.contract.settle(channels.offer, [held], {"from": channels.operator})


def test_settle__nothing__reverts(channels, bob):
    """Nobody writes fees of nothing into the log in an operator's name."""
    with refuses("AmountZero"):
        channels.contract.settle(channels.offer, [], {"from": bob})


def test_settle__twice__reverts(channels):
    held = channels.claim(channels.row(FEE))
    channels.settle(held)
    with refuses("ClaimMismatch", channels.offer_id, 0):
        channels.settle(held)


@pytest.mark.life
def test_settle__by_anyone__splits_as_a_fee(channels, contract, treasury, bob):
    total = 4 * FEE
    before = [contract.balanceOf(one) for one in (channels.operator, treasury)]
    held = channels.claim(channels.row(total, answers=4))
    assert contract.balanceOf(channels.contract) == DOLLAR
    transaction = channels.settle(held, sender=bob)
    operator, owner, data, protocol = split(total)
    settled = {"offerId": channels.offer_id, "slot": 0, "total": total}
    assert dict(transaction.events["ClaimSettled"]) == settled
    assert dict(transaction.events["Finalized"]) == {
        "requestId": ZERO32,
        "operator": channels.operator,
        "operatorFee": operator,
        "ownerFee": owner,
        "dataFee": data,
        "protocolFee": protocol,
        "refund": 0,
    }
    after = [contract.balanceOf(one) for one in (channels.operator, treasury)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [operator, protocol]
    assert contract.modelEarnings(1) == (owner, data)
    assert contract.balanceOf(channels.contract) == DOLLAR - total


def test_claim__with_one_that_is_due__settles_it_on_the_way(channels, contract):
    held = channels.claim(channels.row(FEE))
    at(held[3] + WINDOW)
    channels.claim(channels.row(2 * FEE, before=FEE), due=[held])
    assert contract.balanceOf(channels.operator) == split(FEE)[0]


@pytest.mark.parametrize("summoned", [1, 2])
def test_settle__answers_are_summoned__waits_when_they_are_as_many_as_locks(channels, summoned):
    held = channels.claim(channels.row(2 * FEE, answers=2))
    for index in range(summoned):
        channels.summon(channels.answer(channels.game.example.honest, index))
    if summoned < 2:
        channels.settle(held)
        return
    with refuses("SummonsOpen", channels.offer_id, 2):
        channels.settle(held)


# ── void ────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def exhausted(channels, bob, fault):
    """An offer whose two locks were slashed while a claim was held."""
    held = channels.claim(channels.row(FEE))
    exhaust(channels, bob, fault)
    return held


def exhaust(channels, bob, fault):
    lies = [channels.answer(channels.game.example.lie_inside, index) for index in (1, 2)]
    for lie in lies:
        channels.summon(lie)
        channels.convict(lie, bob, fault)
    assert channels.covered() == (0, 0, 0, True)


def test_void__offer_not_exhausted__reverts(channels, bob):
    row = channels.row(FEE)
    held = channels.claim(row)
    with refuses("OfferNotExhausted", channels.offer_id):
        channels.contract.void(channels.offer, held, [row], {"from": bob})


def test_settle__exhausted__reverts(channels, exhausted):
    with refuses("OfferUncovered", channels.offer_id):
        channels.settle(exhausted)


def test_void__other_rows__reverts(channels, exhausted, bob):
    with refuses("ClaimMismatch", channels.offer_id, 0):
        channels.contract.void(channels.offer, exhausted, [], {"from": bob})


def test_void__claims_of_one_channel_in_any_order__each_gives_back_its_own(channels, bob, fault):
    rows = [channels.row(FEE), channels.row(3 * FEE, before=FEE)]
    claims = [channels.claim(row, slot=slot) for slot, row in enumerate(rows)]
    exhaust(channels, bob, fault)
    for left, slot in ((FEE, 1), (0, 0)):
        channels.contract.void(channels.offer, claims[slot], [rows[slot]], {"from": bob})
        assert channels.channel() == (DOLLAR, left, 0)


def test_void__contract_that_denies_what_it_signed__all_payers_get_theirs_back(
    channels, wallet, deployer, bob, fault
):
    """One such row of the operator's own would keep what the others are owed for ever."""
    row, digest = row_of(channels, wallet)
    wallet.approve(digest, {"from": deployer})
    rows = [channels.row(FEE), row]
    held = channels.claim(*rows)
    exhaust(channels, bob, fault)
    wallet.approve(ZERO32, {"from": deployer})
    channels.contract.void(channels.offer, held, rows, {"from": bob})
    assert channels.channel() == channels.channel(wallet) == (DOLLAR, 0, 0)


def test_void__each_row__costs_no_more_gas_than_its_claim(channels, accounts, bob, fault):
    """An operator that fills a transaction with a claim must not keep it from being given back."""
    keys = [accounts.add() for _ in range(13)]
    for key in keys:
        channels.open(FEE, signer=key)
    first, *others = (channels.row(FEE, signer=key) for key in keys)
    claims = [([first], 0), (others, 1)]
    sender = {"from": channels.operator}
    taken = [
        channels.contract.claim(channels.offer, [], slot, rows, sender) for rows, slot in claims
    ]
    exhaust(channels, bob, fault)
    given = []
    for (rows, slot), claimed in zip(claims, taken, strict=True):
        held = (
            slot,
            claimed.events["VouchersClaimed"]["rowsHash"],
            len(rows) * FEE,
            claimed.timestamp,
        )
        given.append(channels.contract.void(channels.offer, held, rows, {"from": bob}))
    assert given[1].gas_used - given[0].gas_used <= taken[1].gas_used - taken[0].gas_used


@pytest.mark.life
def test_void__by_anyone__the_payers_get_all_back(channels, exhausted, contract, bob):
    voided = channels.contract.void(channels.offer, exhausted, [channels.row(FEE)], {"from": bob})
    event = {"offerId": channels.offer_id, "slot": 0, "total": FEE}
    assert dict(voided.events["ClaimVoided"]) == event
    assert channels.channel() == (DOLLAR, 0, 0)
    with refuses("ClaimMismatch", channels.offer_id, 0):
        channels.contract.void(channels.offer, exhausted, [channels.row(FEE)], {"from": bob})
    before = contract.balanceOf(channels.alice)
    channels.contract.close(channels.alice, channels.offer, 0, {"from": channels.alice})
    at(channels.channel()[2])
    channels.contract.withdraw(channels.alice, channels.alice, channels.offer, {"from": bob})
    assert contract.balanceOf(channels.alice) == before + DOLLAR
    assert contract.balanceOf(channels.contract) == 0


def test_claim__exhausted__reverts(channels, exhausted):
    with refuses("OfferUncovered", channels.offer_id):
        channels.claim(channels.row(2 * FEE, before=FEE), slot=1)
