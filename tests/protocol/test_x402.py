"""x402's headers: what its package writes is read, and nothing else is."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.protocol import x402
from oracle.protocol.x402 import PaymentInvalid, PaymentRequirements, Token
from oracle.types import Address, Amount, Timestamp

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "x402.json").read_text())
HEADER = VECTOR["payment_signature"]
PAYLOAD = json.loads(base64.b64decode(HEADER))
TOKEN = Token(
    Address("0x5FbDB2315678afecb367f032d93F642f64180aa3"), 31337, "Test Dollar", "1"
)  # fmt: skip
WANTED = PaymentRequirements(
    TOKEN, Address("0x90F8bf6A479f320ead074411a4B0e7944Ea8c9C1"), Amount(10_000)
)
SIGNED_AT = 1_700_000_000


def changed(**changes):
    """The header of the package's payment, with other fields."""
    document = json.loads(json.dumps(PAYLOAD))
    for path, value in changes.items():
        *folders, last = path.split("__")
        inner = document
        for name in folders:
            inner = inner[name]
        inner[last] = value
    return x402.encode(document)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "invalid_payload"),
        ("ÿ", "invalid_payload"),
        ("A" * (x402.MAX_HEADER + 4), "invalid_payload"),
        (x402.encode({}), "invalid_payload"),
        (base64.b64encode(b"[" * 9_000).decode(), "invalid_payload"),
        (changed(x402Version=1), "invalid_x402_version"),
        (changed(x402Version=3), "invalid_x402_version"),
        (changed(x402Version="2.5"), "invalid_payload"),
        (changed(payload__signature="0x" + "11" * 64 + "1"), "invalid_payload"),
        (changed(payload__signature="11" * 65), "invalid_payload"),
        (changed(payload__authorization__value="-1"), "invalid_payload"),
        (changed(payload__authorization__value="1e4"), "invalid_payload"),
        (changed(payload__authorization__value="١"), "invalid_payload"),
        (changed(payload__authorization__value=10_000), "invalid_payload"),
        (changed(payload__authorization__validBefore=str(2**256)), "invalid_payload"),
        (changed(payload__authorization__nonce="0x" + "07" * 31), "invalid_payload"),
        (changed(payload__authorization={"permit2": {}}), "invalid_payload"),
        (changed(payload={"permit2Authorization": {}}), "invalid_payload"),
        (changed(accepted__scheme="upto"), "unsupported_scheme"),
        (
            changed(accepted__scheme="upto", payload={"permit2Authorization": {}}),
            "unsupported_scheme",
        ),
        (changed(accepted__scheme="batch-settlement", payload={}), "unsupported_scheme"),
        (x402.encode({"x402Version": 1, "scheme": "exact", "payload": {}}), "invalid_x402_version"),
        (changed(accepted__network="eip155:1"), "network_mismatch"),
        (changed(accepted__asset="0x" + "00" * 20), "asset_mismatch"),
    ],
)
def test_read__no_payment_of_ours__says_why(header, code):
    with pytest.raises(PaymentInvalid) as caught:
        x402.read(header, TOKEN)
    assert caught.value.code == code


@given(st.binary(max_size=400) | st.recursive(st.none() | st.text(), st.lists))
def test_read__anything__is_a_payment_or_refused(given):
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    with pytest.raises(PaymentInvalid):
        x402.read(base64.b64encode(raw).decode(), TOKEN)


def test_read__of_the_package__has_its_fields_and_its_signature():
    found = x402.read(HEADER, TOKEN)
    assert found.payer == VECTOR["payer"]
    assert (found.to, found.value) == (WANTED.pay_to, WANTED.amount)
    assert (found.valid_after, found.valid_before) == (0, SIGNED_AT + 300)
    assert len(TOKEN.digest(found)) == 32
    WANTED.check(found, SIGNED_AT)


@pytest.mark.parametrize(
    "token",
    [
        replace(TOKEN, chain_id=1),
        replace(TOKEN, name="Other Dollar"),
        replace(TOKEN, version="2"),
        replace(TOKEN, address=WANTED.pay_to),
    ],
)
def test_signed_by_key__another_domain__is_not_signed(token):
    found = x402.read(HEADER, TOKEN)
    assert x402.signed_by_key(found, TOKEN.digest(found))
    assert not x402.signed_by_key(found, token.digest(found))


@pytest.mark.parametrize("signature", [b"", b"\x11" * 64, b"\x11" * 96])
def test_signed_by_key__no_signature_of_a_key__is_not_signed(signature):
    found = x402.read(changed(payload__signature="0x" + signature.hex()), TOKEN)
    assert not x402.signed_by_key(found, TOKEN.digest(found))


@pytest.mark.parametrize(
    ("now", "fine"),
    [
        (SIGNED_AT + 300 - x402.MARGIN, True),
        (SIGNED_AT + 300 - x402.MARGIN + 1, False),
        (SIGNED_AT - x402.SKEW, True),
        (SIGNED_AT - x402.SKEW - 1, False),
    ],
)
def test_check__at_the_edges_of_its_time__is_taken_within(now, fine):
    payment = x402.read(HEADER, TOKEN)
    if fine:
        WANTED.check(payment, now)
        return
    with pytest.raises(PaymentInvalid) as caught:
        WANTED.check(payment, now)
    assert caught.value.code.endswith("valid_before")


def test_check__good_from_this_second_on__is_not_good_yet():
    """EIP-3009: a transfer is good strictly after `validAfter`."""
    payment = replace(x402.read(HEADER, TOKEN), valid_after=Timestamp(SIGNED_AT))
    with pytest.raises(PaymentInvalid):
        WANTED.check(payment, SIGNED_AT)
    WANTED.check(payment, SIGNED_AT + 1)


def test_id__same_payer_and_nonce__is_the_same_whatever_else_differs():
    payment = x402.read(HEADER, TOKEN)
    assert replace(payment, value=Amount(1), signature=b"").id == payment.id
    assert replace(payment, payer=WANTED.pay_to).id != payment.id


def test_decode__what_was_encoded__is_the_document():
    document = {"success": True, "amount": "50000"}
    assert x402.decode(x402.encode(document)) == document
