"""A request's life folded from its events."""

from dataclasses import replace

import pytest

from oracle.chain.bindings.inference_market import (
    Annulled,
    Cancelled,
    Claimed,
    Convicted,
    Delivered,
    DisputeOpened,
    Finalized,
    OutputDemanded,
    Requested,
    Verdict,
)
from oracle.protocol.cid import raw_cid
from oracle.services.metering import Bill
from oracle.services.request_timeline import RequestState, detail, fold
from oracle.types import (
    ZERO32,
    Address,
    Assurance,
    Bytes32,
    Claim,
    RequestId,
    Stamp,
    Terms,
    Timestamp,
)
from tests.support import samples

ALICE, OP = Address("0x" + "a" * 40), Address("0x" + "b" * 40)
ID = RequestId(b"\1" * 32)
ROOT, CID = Bytes32(b"\2" * 32), Bytes32(b"\3" * 32)
TERMS = Terms(50_000, 7000, 0, 10, 60, 0, Assurance.COMMITTEE)
REQUEST = samples.request(
    nonce=5,
    requester=ALICE,
    operator=OP,
    priority_until=130,
    expires_at=200,
    input_root=ROOT,
    terms=TERMS,
)
ASKED = Requested(ID, 1, ALICE, REQUEST)
DELIVERED = Delivered(ID, OP, ROOT, ZERO32, Stamp(Timestamp(140)))


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([ASKED], RequestState.REQUESTED),
        ([ASKED, Claimed(ID, OP, 150)], RequestState.CLAIMED),
        ([ASKED, Claimed(ID, OP, 150), DELIVERED], RequestState.DELIVERED),
        ([ASKED, DELIVERED, Finalized(ID, OP, 1, 2, 3, 4, 0)], RequestState.SETTLED),
        ([ASKED, Cancelled(ID, ALICE, 50_000)], RequestState.CANCELLED),
        (
            [ASKED, DELIVERED, Convicted(ID, OP, Verdict.WITHHELD, 1, 2, 3, 4)],
            RequestState.CONVICTED,
        ),
        ([ASKED, DELIVERED, Annulled(ID, OP, 50_000)], RequestState.ANNULLED),
    ],
)
def test_fold__events__end_in_a_state(events, state):
    info = fold(events, now=100)
    assert info.state is state
    assert info.open == (
        state in (RequestState.REQUESTED, RequestState.CLAIMED, RequestState.DELIVERED)
    )
    assert all(isinstance(detail(event), str) for event in events)


@pytest.mark.parametrize(("now", "expired"), [(199, False), (200, True)])
def test_fold__time_of_expiry__counts_from_its_first_second(now, expired):
    assert fold([ASKED], now).expired is expired
    assert fold([ASKED, DELIVERED], now).expired is False


def test_fold__claimed_twice__keeps_the_last():
    info = fold([ASKED, Claimed(ID, ALICE, 150), Claimed(ID, OP, 190)], now=160)
    assert info.claim == Claim(OP, 190)


def test_fold__output_elsewhere__cid_is_that_of_its_block():
    assert fold([ASKED, DELIVERED], 0).output_cid == raw_cid(ROOT)
    elsewhere = Delivered(ID, OP, ROOT, CID, Stamp(Timestamp(140)))
    info = fold([ASKED, elsewhere, DisputeOpened(ID, OP, 1)], 0)
    assert (info.output_cid, info.final_at, info.disputes) == (raw_cid(CID), 200, 1)


def test_fold__demanded_while_disputed__counts_the_dispute_alone():
    demanded = OutputDemanded(ID, ALICE, 160, 10**17)
    info = fold([ASKED, DELIVERED, demanded, DisputeOpened(ID, OP, 2)], 0)
    assert info.disputes == 1


def test_fold__metered__bill_says_what_is_paid_and_what_comes_back():
    terms = replace(TERMS, max_units=8)
    asked = replace(ASKED, request=replace(REQUEST, terms=terms))
    delivered = replace(DELIVERED, stamp=Stamp(Timestamp(140), 3))
    info = fold([asked, delivered], 150)
    assert info.bill == Bill(50_000, 8, 3, 18_750, 31_250)
    assert str(info.bill) == "3 of 8 units: $0.01875 used, $0.03125 returned"
    assert detail(delivered).endswith(", 3 units")
    settled = Finalized(ID, OP, 1, 2, 3, 4, 31_250)
    assert fold([asked, delivered, settled], 300).bill == info.bill
    assert detail(settled).endswith("; $0.03125 back to the requester")
    convicted = Convicted(ID, OP, Verdict.WRONG_OUTPUT, 50_000, 2, 3, 4)
    assert fold([asked, delivered, convicted], 300).bill is None
    assert fold([ASKED], 100).bill is None


def test_detail__money__is_written_with_its_unit():
    assert "$0.05 in escrow" in detail(ASKED)
    demand = OutputDemanded(ID, ALICE, 60, 10**17)
    assert detail(demand) == f"by {ALICE} until 1970-01-01 00:01:00 UTC, bond 0.1 ETH"
