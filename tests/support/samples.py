"""The sample request of all tests: a field that requests gain is added here."""

from dataclasses import replace
from typing import Any

from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    Amount,
    Assurance,
    Bytes32,
    Request,
    Terms,
    Timestamp,
)

ALICE = Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
BOB = Address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
TERMS = Terms(Amount(50_000), 7000, 0, 10, 60, 0, Assurance.COMMITTEE)
_PLAIN = Request(
    model_id=1,
    version=1,
    lane=0,
    nonce=0,
    requester=ALICE,
    operator=BOB,
    priority_until=Timestamp(130),
    expires_at=Timestamp(200),
    consumer=ZERO_ADDRESS,
    callback_gas=0,
    input_root=Bytes32(b"\2" * 32),
    input_cid=ZERO32,
    params=ZERO32,
    envelope=ZERO32,
    terms=TERMS,
)


def request(**changes: Any) -> Request:
    """Return a plain request of ALICE to BOB with these fields changed."""
    return replace(_PLAIN, **changes)
