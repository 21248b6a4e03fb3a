"""Small values to put into stores."""

from dataclasses import replace
from typing import Any

from oracle.protocol.canonical import sha256
from oracle.store import StoredLog
from oracle.store.job import Job
from oracle.store.payment_repository import Payment
from oracle.types import (
    Address,
    Amount,
    Assurance,
    BlockRef,
    Bytes32,
    Log,
    Request,
    RequestId,
    Terms,
    Timestamp,
)
from tests.support import samples

ALICE = Address("0x90F8bf6A479f320ead074411a4B0e7944Ea8c9C1")
BOB = Address("0xFFcf8FDEE72ac11b5c542428B35EEF5769C409f0")
TERMS = Terms(Amount(2**64 - 1), 7000, 500, 10, 3600, 2**64 - 1, Assurance.EXACT, retired=True)


def word(text: str) -> Bytes32:
    """Return a recognisable digest."""
    return sha256(text.encode())


def request_id(text: str) -> RequestId:
    """Return a recognisable id."""
    return RequestId(word(text))


def request(**changes: Any) -> Request:
    """Return a request with every field set."""
    made = samples.request(
        model_id=7,
        version=2,
        lane=3,
        nonce=4,
        requester=ALICE,
        operator=BOB,
        priority_until=Timestamp(100),
        expires_at=Timestamp(200),
        callback_gas=5,
        input_root=word("input"),
        input_cid=word("cid"),
        params=word("params"),
        envelope=word("envelope"),
        terms=TERMS,
    )
    return replace(made, **changes)


def payment(name: str, **changes: Any) -> Payment:
    """Return a payment of ALICE's that was just taken."""
    made = Payment(
        id=request_id(name),
        payer=ALICE,
        nonce=word(name),
        amount=Amount(10_000),
        valid_before=2**40,
        digest=word("signed"),
        question=word("question"),
        model_id=7,
        version=2,
        block=5,
        created_at=1_000.0,
    )
    return replace(made, **changes)


def job(name: str, **changes: Any) -> Job:
    """Return a fresh job of the request called `name`."""
    return replace(Job(request_id(name), request()), **changes)


def block(number: int, fork: str = "") -> BlockRef:
    """Return a block of a fork."""
    return BlockRef(
        number, word(f"{number}{fork}"), word(f"{number - 1}{fork}"), Timestamp(number * 10)
    )


def log(
    number: int, index: int = 0, about: str | None = None, model: int | None = None, fork: str = ""
) -> StoredLog:
    """Return a log in a block of a fork."""
    return StoredLog(
        Log(
            address=ALICE,
            topics=(word("event"), word("indexed")),
            data=f"{number}/{index}".encode(),
            block_number=number,
            block_hash=word(f"{number}{fork}"),
            tx_hash=word(f"tx{number}"),
            log_index=index,
        ),
        request_id(about) if about else None,
        model,
    )
