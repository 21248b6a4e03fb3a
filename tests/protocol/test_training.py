"""What a schema of training data may say, and what commitments are made of."""

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.protocol import canonical, training
from oracle.protocol.training import Revealed, Submitted, TrainingData
from oracle.types import Address, Bytes32, Timestamp

GOOD = TrainingData(
    columns=("a", "b"), offset=(0.5, -1.0), scale=(0.25, 1e-3), labels=("no", "yes")
)
OWNER = Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
A, B, C = (Bytes32(bytes([n]) * 32) for n in range(1, 4))


# ── Schemas ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "change",
    [
        {"columns": (), "offset": (), "scale": ()},
        {"columns": ("a", "a")},
        {"columns": ("a", "label")},
        {"offset": (0.0,)},
        {"scale": (1.0, 0.0)},
        {"scale": (1.0, -1.0)},
        {"labels": ("no", "no")},
        {"image": (1, 1, 3)},
        {"columns": tuple(map(str, range(257))), "offset": (0.0,) * 257, "scale": (1.0,) * 257},
    ],
)
def test_check__rule_broken__is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid, match="schema of data"):
        replace(GOOD, **change).to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "tallystick/training-data/2"},
        {"color": "red"},
        {"scale": [1, "2"]},
        {"offset": [1, None]},
        {"label": 3},
    ],
)
def test_parse__not_a_schema__is_refused(change: dict[str, Any]) -> None:
    body = canonical.loads(GOOD.to_bytes()) | change
    with pytest.raises(InputInvalid, match="schema of data"):
        TrainingData.parse(canonical.dumps(body))


@pytest.mark.parametrize("data", [b"", b"[]", b"{ }", b"{}", b"0" * (training.MAX_BYTES + 1)])
def test_parse__other_bytes__are_refused(data: bytes) -> None:
    with pytest.raises(InputInvalid):
        TrainingData.parse(data)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(1e-300, 1e300))
def test_parse__what_was_written__is_the_same_to_the_bit(offset: float, scale: float) -> None:
    schema = replace(GOOD, offset=(offset, 0.1), scale=(scale, 0.3))
    read = TrainingData.parse(schema.to_bytes())
    assert (read.offset[0] == offset, read.scale[0] == scale) == (True, True)
    assert read.to_bytes() == schema.to_bytes()


# ── Commitments ─────────────────────────────────────────────────────────────────────────────────
def test_commitment__is_the_hash_of_the_abi_encoding() -> None:
    types = ("uint256", "address", "bytes32", "bytes32", "uint256")
    expected = canonical.keccak(encode(types, (7, OWNER, A, B, 9)))
    assert training.commitment(7, OWNER, A, B, 9) == expected
    assert training.test_commitment(7, OWNER, A, B, 9) == expected


def test_record__is_the_hash_of_the_abi_encoding() -> None:
    submitted = Submitted(1, 2, OWNER, A, 300, 10**7, Timestamp(5))
    types = ("bytes32", "uint256", "uint256", "address", "bytes32", *("uint256",) * 3)
    expected = canonical.keccak(encode(types, (C, 1, 2, OWNER, A, 300, 10**7, 5)))
    assert submitted.record(C) == expected
    revealed = Revealed(1, 2, OWNER, A, 40, B, C, Timestamp(6))
    types = ("bytes32", "uint256", "uint256", "address", "bytes32", "uint256", "bytes32",
             "bytes32", "uint256")  # fmt: skip
    expected = canonical.keccak(encode(types, (A, 1, 2, OWNER, A, 40, B, C, 6)))
    assert revealed.record(A) == expected
