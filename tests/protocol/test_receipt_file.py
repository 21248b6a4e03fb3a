"""A receipt's file comes back as it was written; anything else is refused with a reason."""

import json
from dataclasses import replace

import pytest

from oracle.errors import InputInvalid
from oracle.protocol import receipt_file, vouchers
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_file import ReceiptFile, SignedChannel
from oracle.types import ZERO32, Address, Amount, Assurance, Bytes32, Offer, Terms, Timestamp

KEY, SIGNER_KEY = b"\x11" * 32, b"\x12" * 32


def address_of(key: bytes) -> Address:
    return vouchers.signer_of(ZERO32, vouchers.sign(key, ZERO32))


def channel(assurance: Assurance = Assurance.COMMITTEE) -> SignedChannel:
    terms = Terms(Amount(50_000), 7000, 0, 10, 60, 1000, assurance)
    contracts = (Address("0x" + digit * 40) for digit in "123")
    offer = Offer(address_of(KEY), 1, 1, terms, 0)
    return SignedChannel(31337, *contracts, offer, Address("0x" + "4" * 40), address_of(SIGNER_KEY))


def signed(index: int = 1, of: SignedChannel | None = None, **fields: object) -> ReceiptFile:
    """A receipt as its operator would sign it."""
    of = of or channel()
    receipt = AnswerReceipt(
        index, Timestamp(1_800_000_000), Bytes32(b"i" * 32), ZERO32, ZERO32, Bytes32(b"o" * 32),
        ZERO32, b"",
    )  # fmt: skip
    receipt = replace(receipt, **fields)
    return ReceiptFile(of, replace(receipt, signature=vouchers.sign(KEY, of.digest(receipt))))


def test_write__then_read__is_the_same():
    leaves = [signed(index).digest for index in range(1, 6)]
    whole = replace(signed(3), proof=receipt_file.proof_of(leaves, 3), input=b"\0\1", output=b"")
    assert receipt_file.read(receipt_file.write(whole).encode()) == whole
    bare = receipt_file.write(whole, without_bytes=True).encode()
    assert receipt_file.read(bare) == replace(whole, input=None, output=None)
    assert receipt_file.read(receipt_file.write(signed()).encode()) == signed()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "tallystick/receipt/2"),
        (("chainId",), -1),
        (("chainId",), None),
        (("payer",), "0x12"),
        (("disputeGame",), 7),
        (("offer",), []),
        (("offer", "number"), "1"),
        (("offer", "terms"), "0x" + "ff" * 40),
        (("receipt", "index"), 0),
        (("receipt", "index"), 1 << 64),
        (("receipt", "answeredAt"), 1.5),
        (("receipt", "signature"), "zz"),
        (("receipt",), None),
        (("input",), "no base64!"),
        (("output",), 5),
        (("proof", "count"), True),
        (("proof", "path"), ["0x00"]),
        (("proof",), 3),
    ],
)
def test_read__one_field_is_wrong__refused_with_a_hint(path, value):
    leaves = [signed(index).digest for index in range(1, 4)]
    whole = replace(signed(2), proof=receipt_file.proof_of(leaves, 2))
    body = json.loads(receipt_file.write(whole))
    at = body
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    with pytest.raises(InputInvalid, match="no receipt's file") as caught:
        receipt_file.read(json.dumps(body).encode())
    assert "receipts export" in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"\xff", b"[" * 100_000, b"{}", b"1" * 5000])
def test_read__no_document__refused(data):
    with pytest.raises(InputInvalid, match="no receipt's file"):
        receipt_file.read(data)


def test_read__too_long__refused_before_it_is_parsed():
    with pytest.raises(InputInvalid, match="bytes at most"):
        receipt_file.read(b"x" * (receipt_file.MAX_BYTES + 1))
