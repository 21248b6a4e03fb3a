"""What receipts say by themselves: one changed field, one changed byte, two of one index."""

from dataclasses import fields, replace

import numpy as np
import pytest

from oracle.protocol import receipt_file, tensor, vouchers
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.services.channels.receipt_findings import CheckResult, offline, together
from oracle.types import ZERO32, Address, Amount, Assurance, Bytes32, Timestamp
from tests.protocol.test_receipt_file import KEY, channel, signed

OTHER = Address("0x" + "9" * 40)
DATA = tensor.encode({"x": np.ones(3, np.float32)})
ROOT = tensor.digest(DATA)


def results(file):
    return {check.what: check.result.name for check in offline(file)}


def test_offline__all_that_belongs_to_it__is_checked():
    file = signed(input_root=ROOT, output_root=ROOT)
    leaves = [file.digest, signed(2).digest]
    whole = replace(file, input=DATA, output=DATA, proof=receipt_file.proof_of(leaves, 1))
    assert results(whole) == dict.fromkeys(("signature", "question", "answer", "root"), "CHECKED")


def test_offline__receipt_alone__says_what_it_did_not_check():
    assert results(signed()) == {
        "signature": "CHECKED", "question": "UNKNOWN", "answer": "UNKNOWN", "root": "UNKNOWN",
    }  # fmt: skip


@pytest.mark.parametrize(
    "field", ["index", "answered_at", "input_root", "input_cid", "params", "output_root",
              "trace_root"],
)  # fmt: skip
def test_offline__field_of_the_receipt_changed__operator_did_not_sign_it(field):
    file = signed()
    old = getattr(file.receipt, field)
    new = old + 1 if isinstance(old, int) else Bytes32(b"\x77" * 32)
    changed = replace(file, receipt=replace(file.receipt, **{field: new}))
    assert results(changed)["signature"] == "WRONG"


@pytest.mark.parametrize("field", [f.name for f in fields(channel()) if f.name != "channels"])
def test_offline__field_of_the_channel_changed__operator_did_not_sign_it(field):
    file = signed()
    changes = {
        "chain_id": 5, "offer": replace(file.channel.offer, number=7),
    }  # fmt: skip
    other = replace(file.channel, **{field: changes.get(field, OTHER)})
    assert results(replace(file, channel=other))["signature"] == "WRONG"


@pytest.mark.parametrize("signature", [b"", b"\1" * 64, b"\0" * 64 + b"\x1b", b"\xff" * 65])
def test_offline__no_signature__wrong(signature):
    file = signed()
    changed = replace(file, receipt=replace(file.receipt, signature=signature))
    assert results(changed)["signature"] == "WRONG"


@pytest.mark.parametrize("assurance", [Assurance.COMMITTEE, Assurance.EXACT])
def test_offline__other_bytes__wrong(assurance):
    file = signed(of=channel(assurance), input_root=ROOT, output_root=ROOT)
    found = results(replace(file, input=DATA[:-1], output=b""))
    assert (found["question"], found["answer"]) == ("WRONG", "WRONG")


def test_offline__proof_of_another_receipt__wrong():
    leaves = [signed(index).digest for index in range(1, 4)]
    proof = receipt_file.proof_of(leaves, 2)
    assert results(replace(signed(2), proof=proof))["root"] == "CHECKED"
    assert results(replace(signed(1), proof=proof))["root"] == "WRONG"
    assert results(replace(signed(2), proof=replace(proof, count=2)))["root"] == "WRONG"


# ── Several ─────────────────────────────────────────────────────────────────────────────────────
def test_together__whole_channel__in_order_below_one_root():
    files = [signed(index) for index in (2, 1, 3)]
    equivocation, order = together(files)
    assert equivocation.result is order.result is CheckResult.CHECKED
    root = ReceiptTree(signed(index).digest for index in (1, 2, 3)).root
    assert root.hex() in order.why


def test_together__gap__is_not_called_whole():
    _, order = together([signed(1), signed(3)])
    assert order.result is CheckResult.UNKNOWN
    assert "2 of 1 to 3" in order.why


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"output_root": Bytes32(b"p" * 32)}, "two answers are signed for one question"),
        ({"answered_at": Timestamp(1_800_000_001)}, "two receipts are signed for index 2"),
    ],
)
def test_together__two_of_one_index__equivocation(changed, sentence):
    (found,) = together([signed(1), signed(2), signed(2, **changed)])
    assert found.result is CheckResult.WRONG
    assert sentence in found.why


def test_together__second_is_not_signed_or_the_same__nobody_is_accused():
    forged = signed(2, output_root=Bytes32(b"p" * 32))
    forged = replace(
        forged, receipt=replace(forged.receipt, signature=vouchers.sign(b"\x55" * 32, ZERO32))
    )
    again = vouchers.sign(KEY, signed(2).digest)
    same = replace(signed(2), receipt=replace(signed(2).receipt, signature=again))
    found, _ = together([signed(1), signed(2), same, forged])
    assert found.result is CheckResult.CHECKED


def test_together__same_index_of_two_channels__nobody_is_accused():
    other = replace(channel(), payer=OTHER)
    cheap = replace(channel(), offer=replace(channel().offer, terms=replace(
        channel().offer.terms, fee=Amount(1))))  # fmt: skip
    (found,) = together([signed(1), signed(1, of=other), signed(1, of=cheap)])
    assert found.result is CheckResult.CHECKED
