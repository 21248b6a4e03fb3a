"""What payers and an operator's endpoint write into headers: vouchers, receipts, offers as JSON.

Names are those of the contracts, sums are decimal text, bytes are 0x-hex. A header is base64 of it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.address import is_address, to_checksum_address

from oracle.errors import InputInvalid
from oracle.protocol.hexadecimal import parse_bytes32, to_hex
from oracle.protocol.vouchers import Voucher, offer_id
from oracle.types import Address, Amount, Bytes32, Offer, Terms, Timestamp

# Headers
VOUCHER, RECEIPT, PARAMS = "Tallystick-Voucher", "Tallystick-Receipt", "Tallystick-Params"
CANONICAL = "application/vnd.tallystick.tensors"  # the very bytes that a receipt's digests are of
MAX_VOUCHER = 2048  # characters


@dataclass(frozen=True, slots=True)
class AnswerReceipt:
    """What an operator signed for one answer; with offer and channel it makes the request.

    Attributes:
        index: of the answer in its channel, from 1 on.
        answered_at: its challenge window begins there, in unix seconds.
        signature: over `vouchers.receipt_digest`, 65 bytes.
    """

    index: int
    answered_at: Timestamp
    input_root: Bytes32
    input_cid: Bytes32
    params: Bytes32
    output_root: Bytes32
    trace_root: Bytes32
    signature: bytes


# ── Headers ─────────────────────────────────────────────────────────────────────────────────────
def voucher_header(voucher: Voucher, signer: Address) -> str:
    """Return the header that pays for an answer."""
    return _packed(
        {
            "payer": voucher.payer,
            "signer": signer,
            "offerId": to_hex(voucher.offer_id),
            "cumulative": str(voucher.cumulative),
            "answers": voucher.answers,
            "receiptsRoot": to_hex(voucher.receipts_root),
            "signature": to_hex(voucher.signature),
        }
    )


def read_voucher(header: str) -> tuple[Voucher, Address]:
    """Return a voucher and who is said to have signed it; the signature is not looked at.

    Raises:
        InputInvalid: it is no voucher.
    """
    fields = _unpacked(header, MAX_VOUCHER)
    try:
        voucher = Voucher(
            address(fields["payer"]),
            parse_bytes32(fields["offerId"]),
            Amount(whole(fields["cumulative"], 128)),
            whole(fields["answers"], 64),
            parse_bytes32(fields["receiptsRoot"]),
            _bytes(fields["signature"]),
        )
        return voucher, address(fields["signer"])
    except (KeyError, ValueError) as error:
        raise InputInvalid(f"it is no voucher: {error}") from error


def receipt_header(receipt: AnswerReceipt) -> str:
    """Return the header that comes with an answer."""
    return _packed(receipt_json(receipt))


def receipt_json(receipt: AnswerReceipt) -> dict[str, Any]:
    """Return a receipt as JSON."""
    return {
        "index": receipt.index,
        "answeredAt": receipt.answered_at,
        "inputRoot": to_hex(receipt.input_root),
        "inputCid": to_hex(receipt.input_cid),
        "params": to_hex(receipt.params),
        "outputRoot": to_hex(receipt.output_root),
        "traceRoot": to_hex(receipt.trace_root),
        "signature": to_hex(receipt.signature),
    }


def read_receipt(header: str) -> AnswerReceipt:
    """Return a header's receipt; the signature is not looked at.

    Raises:
        InputInvalid: it is none.
    """
    return receipt_of(_unpacked(header, MAX_VOUCHER))


def receipt_of(fields: Mapping[str, Any]) -> AnswerReceipt:
    """Read a receipt from JSON. Raises as `read_receipt`."""
    try:
        return AnswerReceipt(
            whole(fields["index"], 64),
            Timestamp(whole(fields["answeredAt"], 40)),
            parse_bytes32(fields["inputRoot"]),
            parse_bytes32(fields["inputCid"]),
            parse_bytes32(fields["params"]),
            parse_bytes32(fields["outputRoot"]),
            parse_bytes32(fields["traceRoot"]),
            _bytes(fields["signature"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"it is no receipt: {error}") from error


def read_close(body: bytes) -> tuple[Amount, Timestamp, bytes]:
    """Return sum, deadline and signature of a wish to close a channel at once; none is checked.

    Raises:
        InputInvalid: it is none.
    """
    try:
        fields = json.loads(body)
        return (
            Amount(whole(fields["cumulative"], 96)), Timestamp(whole(fields["deadline"], 40)),
            _bytes(fields["signature"]),
        )  # fmt: skip
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputInvalid(f"it is no wish to close: {error}") from error


# ── Offers ──────────────────────────────────────────────────────────────────────────────────────
def offer_json(offer: Offer) -> dict[str, Any]:
    """Return all fields of an offer, its id and its fee."""
    return {
        "offerId": to_hex(offer_id(offer)),
        "operator": offer.operator,
        "modelId": offer.model_id,
        "version": offer.version,
        "terms": hex(offer.terms.pack()),
        "number": offer.number,
        "fee": str(offer.terms.fee),
    }


def offer_of(fields: Mapping[str, Any]) -> Offer:
    """Read an offer from JSON.

    Raises:
        InputInvalid: it is none, or has another id than its fields.
    """
    try:
        offer = Offer(
            address(fields["operator"]),
            whole(fields["modelId"], 48),
            whole(fields["version"], 24),
            Terms.unpack(int(fields["terms"], 16)),
            whole(fields["number"], 256),
        )
        if offer_id(offer) != parse_bytes32(fields["offerId"]):
            raise ValueError("its id is another one")
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"it is no offer: {error}") from error
    return offer


def _packed(fields: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode()


def _unpacked(header: str, most: int) -> Mapping[str, Any]:
    try:
        if len(header) > most:
            raise ValueError(f"{len(header)} characters, at most {most}")
        fields = json.loads(base64.b64decode(header, validate=True))
        if not isinstance(fields, dict):
            raise TypeError("no JSON object")
    except (binascii.Error, RecursionError, TypeError, ValueError) as error:
        raise InputInvalid(f"the header is no base64 of a JSON object: {error}") from error
    return fields


def address(given: Any) -> Address:
    """Read an address. Raises: ValueError."""
    if not isinstance(given, str) or not is_address(given):
        raise ValueError(f"{given!r:.60} is no address")
    return Address(to_checksum_address(given))


def whole(given: Any, bits: int) -> int:
    """Read a number, or its decimal digits. Raises: ValueError."""
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 80:
        given = int(given)
    if type(given) is not int or not 0 <= given < 1 << bits:
        raise ValueError(f"{given!r:.60} is no number of {bits} bits")
    return given


def _bytes(given: Any) -> bytes:
    if not isinstance(given, str) or not given.startswith("0x"):
        raise ValueError(f"{given!r:.60} is no 0x-hex")
    return bytes.fromhex(given[2:])
