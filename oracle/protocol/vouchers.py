"""What payer and operator of a channel sign, and the request that both compute for an answer.

PaymentChannels.sol and DisputeGame.sol compute the same hashes; their views are compared in
tests/contracts/payment_channels/test_vouchers.py. Signatures are 65 bytes, r ‖ s ‖ v, with the low
of the two s (EIP-2): an answer costs two of them, so they are made by libsecp256k1 without the
detour over typed data.
"""

from dataclasses import dataclass
from functools import cache

from eth_utils.address import to_checksum_address

from oracle.errors import InputInvalid
from oracle.protocol.canonical import keccak
from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    Amount,
    Bytes32,
    Offer,
    Request,
    RequestId,
    Timestamp,
)

FIRST_LANE = 1 << 31  # of summoned answers; orders use those below
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_DOMAIN = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_VOUCHER = keccak(
    b"Voucher(address payer,bytes32 offer,uint128 cumulative,uint64 answers,bytes32 receiptsRoot)"
)
_CLOSE = keccak(b"Close(bytes32 channelId,uint256 cumulative,uint256 deadline)")
_RECEIPT = keccak(b"Receipt(bytes32 requestId,bytes32 outputRoot,bytes32 traceRoot)")


@dataclass(frozen=True, slots=True)
class Voucher:
    """A payer's promise: this much in all, for so many answers, with these receipts.

    Attributes:
        payer: whose channel it is.
        offer_id: of what is paid for.
        cumulative: token units since the channel was opened first; the highest voucher counts.
        answers: how many that pays, the one that is asked for included.
        receipts_root: `ReceiptTree.root` over the receipts of all answers before it.
        signature: 65 bytes, by the channel's signer.
    """

    payer: Address
    offer_id: Bytes32
    cumulative: Amount
    answers: int
    receipts_root: Bytes32
    signature: bytes = b""


# ── Names ───────────────────────────────────────────────────────────────────────────────────────
def offer_id(offer: Offer) -> Bytes32:
    """Return PaymentChannels.offerIdOf."""
    return _hash(offer.operator, offer.model_id, offer.version, offer.terms.pack(), offer.number)


def channel_id(payer: Address, signer: Address, offer: Bytes32) -> Bytes32:
    """Return PaymentChannels.channelIdOf."""
    return _hash(payer, signer, offer)


def lane_of(channel: Bytes32, index: int) -> int:
    """Return PaymentChannels.laneOf: where answer `index` of a channel would be summoned."""
    return FIRST_LANE | int.from_bytes(_hash(channel, index), "big") % FIRST_LANE


def answer_request(  # noqa: PLR0917 -- what an answer is made of
    offer: Offer,
    payer: Address,
    signer: Address,
    index: int,
    answered_at: Timestamp,
    input_root: Bytes32,
    input_cid: Bytes32 = ZERO32,
    params: Bytes32 = ZERO32,
) -> Request:
    """Return the request that answer `index` of a channel answers, as `summon` wants it.

    Args:
        offer: what is sold.
        payer: of the channel; the request's requester.
        signer: of the channel's vouchers.
        index: of the answer in the channel, from 1 on: the voucher's `answers`.
        answered_at: when the operator signed, in unix seconds; its challenge window begins there.
        input_root: digest of the canonical input.
        input_cid: where its bytes are, when they are published.
        params: run-time parameters; zero = the manifest's defaults.
    """
    return Request(
        requester=payer,
        lane=lane_of(channel_id(payer, signer, offer_id(offer)), index),
        nonce=index,
        operator=offer.operator,
        priority_until=Timestamp(0),
        expires_at=answered_at,
        consumer=ZERO_ADDRESS,
        model_id=offer.model_id,
        version=offer.version,
        callback_gas=0,
        input_root=input_root,
        input_cid=input_cid,
        params=params,
        envelope=ZERO32,
        terms=offer.terms,
    )


# ── Digests ─────────────────────────────────────────────────────────────────────────────────────
@cache
def separator(chain_id: int, contract: Address) -> Bytes32:
    """Return the EIP-712 domain separator of one of the system's contracts."""
    return _hash(_DOMAIN, keccak(b"Tallystick"), keccak(b"1"), chain_id, contract)


def voucher_digest(domain: Bytes32, voucher: Voucher) -> Bytes32:
    """Return what a voucher's signer signs; `domain` is that of the payment channels."""
    fields = (voucher.payer, voucher.offer_id, voucher.cumulative, voucher.answers)
    return _typed(domain, _hash(_VOUCHER, *fields, voucher.receipts_root))


def close_digest(
    domain: Bytes32, channel: Bytes32, cumulative: Amount, deadline: Timestamp
) -> Bytes32:
    """Return what an operator signs to let a channel close at once."""
    return _typed(domain, _hash(_CLOSE, channel, cumulative, deadline))


def receipt_digest(
    domain: Bytes32, request: RequestId, output_root: Bytes32, trace_root: Bytes32 = ZERO32
) -> Bytes32:
    """Return what an operator signs for an answer; `domain` is that of the dispute game."""
    return _typed(domain, _hash(_RECEIPT, request, output_root, trace_root))


# ── Signatures ──────────────────────────────────────────────────────────────────────────────────
def sign(key: bytes, digest: Bytes32) -> bytes:
    """Sign a digest with a private key of 32 bytes; 65 bytes come back."""
    from coincurve import PrivateKey  # noqa: PLC0415 - a shared library; who reads signs nothing

    signature = PrivateKey(key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def address_of(key: bytes) -> Address:
    """Return the address of a private key."""
    from coincurve import PrivateKey  # noqa: PLC0415

    return _address(PrivateKey(key).public_key.format(compressed=False))


def signer_of(digest: Bytes32, signature: bytes) -> Address:
    """Return whose key signed a digest.

    Raises:
        InputInvalid: it is no signature, or the other form of one (high s).
    """
    from coincurve import PublicKey  # noqa: PLC0415

    if len(signature) != 65 or signature[64] not in (27, 28):
        raise InputInvalid("a signature has 65 bytes, the last of them 27 or 28")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise InputInvalid("a signature has the low one of its two values for s (EIP-2)")
    recoverable = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except Exception as error:  # coincurve says ValueError or its own, by version
        raise InputInvalid(f"no key made this signature: {error}") from None
    return _address(key.format(compressed=False))


def _address(public: bytes) -> Address:
    return Address(to_checksum_address(keccak(public[1:])[12:]))


def _typed(domain: Bytes32, struct: Bytes32) -> Bytes32:
    return keccak(b"\x19\x01" + domain + struct)


def _hash(*words: int | str | bytes) -> Bytes32:
    """Return keccak256 over words: numbers, addresses, 32 bytes."""
    return keccak(b"".join(map(_word, words)))


def _word(value: int | str | bytes) -> bytes:
    if isinstance(value, str):
        return bytes(12) + bytes.fromhex(value[2:])
    return value.to_bytes(32, "big") if isinstance(value, int) else value
