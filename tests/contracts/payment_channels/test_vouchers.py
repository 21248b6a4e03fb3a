"""oracle/protocol/vouchers.py computes and signs what the contracts compute and take."""

import pytest
from eth_account import Account

from oracle.errors import InputInvalid
from oracle.protocol import vouchers
from oracle.protocol.records import pack_request, request_id
from oracle.types import Address, Amount, Bytes32, Offer, Terms, Timestamp
from tests.contracts.chain import chain, now
from tests.contracts.dispute_game.game import signer_of
from tests.contracts.market import DOLLAR, FEE

ROOT = Bytes32(b"\x07" * 32)


@pytest.fixture
def offer(channels):
    fields = channels.offer
    return Offer(Address(fields[0]), 1, 1, Terms.unpack(fields[3]), channels.number)


def digest_of(channels, voucher):
    return vouchers.voucher_digest(domain(channels.contract), voucher)


def domain(contract):
    return vouchers.separator(chain.id, Address(contract.address))


def voucher_of(channels, offer, cumulative=FEE, answers=1):
    payer = Address(channels.alice.address)
    return vouchers.Voucher(payer, vouchers.offer_id(offer), Amount(cumulative), answers, ROOT)


def test_ids__as_the_contract_says(channels, offer):
    ours, payer = vouchers.offer_id(offer), Address(channels.alice.address)
    assert "0x" + ours.hex() == str(channels.contract.offerIdOf(channels.offer))
    channel = vouchers.channel_id(payer, payer, ours)
    assert "0x" + channel.hex() == channels.channel_id()
    assert vouchers.lane_of(channel, 77) == channels.contract.laneOf(channel, 77)


def test_voucher__signed_here__is_claimed(channels, offer):
    voucher = voucher_of(channels, offer)
    digest = digest_of(channels, voucher)
    fields = (voucher.payer, voucher.offer_id, voucher.cumulative, voucher.answers, ROOT)
    assert "0x" + digest.hex() == str(channels.contract.voucherHash(*fields))
    key = bytes.fromhex(channels_key(channels))
    signature = vouchers.sign(key, digest)
    assert vouchers.signer_of(digest, signature) == voucher.payer
    r, s, parity = signature[:32], signature[32:64], signature[64] - 27
    vs = (int.from_bytes(s, "big") | parity << 255).to_bytes(32, "big")
    row = (int(voucher.payer, 16) | 1 << 160, FEE, ROOT, r, vs)
    sender = {"from": channels.operator}
    channels.contract.claim(channels.offer, [], 0, [row], sender)
    assert channels.channel() == (DOLLAR, FEE, 0)


def test_answer__computed_here__is_summoned(channels, offer, contract):
    committed = channels.game.example.honest
    payer = Address(channels.alice.address)
    request = vouchers.answer_request(
        offer, payer, payer, 5, Timestamp(now()), Bytes32(committed.input_root)
    )
    ours = request_id(chain.id, Address(contract.address), request)
    digest = vouchers.receipt_digest(
        domain(channels.game.contract), ours, Bytes32(committed.output_root)
    )
    signature = vouchers.sign(bytes(signer_of(channels.operator.address).private_key), digest)
    packed = pack_request(request)
    words = [packed[at : at + 32] for at in range(0, 256, 32)]
    numbers = [int.from_bytes(word, "big") for word in words]
    struct = (*numbers[:3], *words[3:7], numbers[7])
    receipt = (committed.output_root, b"\0" * 32, signature)
    channels.contract.summon(
        struct, channels.alice, channels.offer, receipt, {"from": channels.alice}
    )
    assert channels.covered()[1] == 1


def test_close__signed_here__closes(channels):
    channel = Bytes32(bytes.fromhex(channels.channel_id()[2:]))
    deadline = Timestamp(now() + 100)
    digest = vouchers.close_digest(domain(channels.contract), channel, Amount(0), deadline)
    signature = vouchers.sign(bytes(signer_of(channels.operator.address).private_key), digest)
    arguments = (channels.alice, channels.offer, 0, deadline, signature)
    channels.contract.closeAgreed(*arguments, {"from": channels.alice})
    assert channels.channel() == (0, 0, 0)


# ── Signatures ──────────────────────────────────────────────────────────────────────────────────
DIGEST = Bytes32(b"\x05" * 32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_signer_of__the_other_s__is_refused():
    signature = vouchers.sign(b"\x11" * 32, DIGEST)
    s = ORDER - int.from_bytes(signature[32:64], "big")
    other = signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])
    with pytest.raises(InputInvalid, match="EIP-2"):
        vouchers.signer_of(DIGEST, other)


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(65), bytes(64) + b"\x1b", bytes(66)])
def test_signer_of__no_signature__is_refused(signature):
    with pytest.raises(InputInvalid):
        vouchers.signer_of(DIGEST, signature)


def test_sign__any_key__that_accounts_address():
    key = b"\x22" * 32
    assert vouchers.signer_of(DIGEST, vouchers.sign(key, DIGEST)) == Account.from_key(key).address


def channels_key(channels):
    return bytes(signer_of(channels.alice.address).private_key).hex()
