"""Short words for what a chain may tell about one request, for the tests of the watcher."""

from eth_utils.address import to_checksum_address

from oracle.chain.bindings.inference_market import (
    Annulled,
    Cancelled,
    Claimed,
    Convicted,
    Delivered,
    DisputeClosed,
    DisputeOpened,
    Finalized,
    OutputDemanded,
    OutputPosted,
    Requested,
    Verdict,
)
from oracle.chain.bindings.model_registry import VersionPublished
from oracle.chain.bindings.operator_registry import OperatorAuthorized
from oracle.operator.jobs import Clock, Operator
from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    Amount,
    Assurance,
    Bytes32,
    OperatorAnswer,
    Request,
    RequestId,
    Stamp,
    Terms,
    Timestamp,
    VersionRecord,
)
from tests.support import samples

ME = Address(to_checksum_address("0x" + "aa" * 20))
OTHER = Address(to_checksum_address("0x" + "bb" * 20))
REQUESTER = Address(to_checksum_address("0x" + "cc" * 20))
ID = RequestId(b"\x01" * 32)
ROOT = Bytes32(b"\x02" * 32)
ANSWER = OperatorAnswer(ROOT, ZERO32)

MADE, PRIORITY, CLAIMED_UNTIL, EXPIRES, WINDOW = 1000, 1030, 1060, 1300, 100
OPERATOR = Operator(ME, requeue_after=60.0, retry_failed_after=2.0, claim_margin=2)
TERMS = Terms(Amount(10**6), 7000, 0, 2, WINDOW, 0, Assurance.COMMITTEE)


def request(operator: Address = ME) -> Request:
    return samples.request(
        requester=REQUESTER,
        operator=operator,
        priority_until=Timestamp(PRIORITY if operator != ZERO_ADDRESS else MADE),
        expires_at=Timestamp(EXPIRES),
        input_root=ROOT,
        terms=TERMS,
    )


def requested(operator: Address = ME, request_id: RequestId = ID) -> Requested:
    return Requested(request_id, 1, REQUESTER, request(operator))


def authorized(operator: Address = ME, flag: bool = True) -> OperatorAuthorized:
    return OperatorAuthorized(1, operator, flag)


def published(version: int = 1) -> VersionPublished:
    record = VersionRecord(
        1, version, OTHER, ZERO32, ZERO32, ROOT, ROOT, Assurance.COMMITTEE, 0, Timestamp(MADE)
    )
    return VersionPublished(record)


def claimed(operator: Address, until: int = CLAIMED_UNTIL) -> Claimed:
    return Claimed(ID, operator, Timestamp(until))


def delivered(operator: Address, at: int = 1040) -> Delivered:
    return Delivered(ID, operator, ROOT, ZERO32, Stamp(Timestamp(at)))


def finalized(operator: Address) -> Finalized:
    return Finalized(ID, operator, Amount(7), Amount(3), Amount(0), Amount(0), Amount(0))


def demanded(deadline: int) -> OutputDemanded:
    return OutputDemanded(ID, OTHER, Timestamp(deadline), 1)


def convicted(operator: Address) -> Convicted:
    zero = Amount(0)
    return Convicted(ID, operator, Verdict.WITHHELD, zero, zero, zero, zero)


POSTED = OutputPosted(ID, ME, b"", Timestamp(1097))
ANNULLED = Annulled(ID, ME, Amount(1))
CANCELLED = Cancelled(ID, OTHER, Amount(1))
DISPUTED = DisputeOpened(ID, OTHER, 1)
APPEASED = DisputeClosed(ID, OTHER, 0)


def clock(chain: int, wall: float = 5000.0, generation: str = "g1") -> Clock:
    return Clock(Timestamp(chain), wall, generation)
