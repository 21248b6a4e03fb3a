"""What the submitter makes of messages: one answer for ever, few transactions, no bad neighbour."""

from dataclasses import replace

import pytest
import structlog

from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, MemoryOutbox
from oracle.errors import Unavailable
from oracle.ipfs.memory import MemoryIpfs
from oracle.operator.submitter import MAX_DELIVERIES, Submitter
from oracle.queue.messages import DeliverMessage, ReportFailureMessage
from oracle.store.job import Job, JobState, SlotPhase
from oracle.store.outbox import SqlOutbox
from oracle.store.store import Store
from oracle.types import (
    NO_CLAIM,
    ZERO32,
    Bytes32,
    Claim,
    Delivery,
    OperatorAnswer,
    RequestId,
    Stamp,
    Timestamp,
)
from tests.operator.builders import ME, OTHER, request


class Chain:
    """A sender that mines what it is given, unless a request is on the list of the refused."""

    def __init__(self):
        self.outbox = MemoryOutbox()
        self.refused = set()
        self.down = False

    def submit(self, kind, request_ids, call):
        return self.outbox.add(kind, request_ids, call)

    def step(self):
        if self.down:
            raise Unavailable("no node")
        ended = []
        for entry in self.outbox.live():
            bad = self.refused.intersection(entry.request_ids)
            state = EntryState.FAILED if bad else EntryState.MINED
            ended.append(replace(entry, state=state, error="no" if bad else ""))
            self.outbox.put(ended[-1])
        return ended

    def sent(self):
        return [(e.kind, e.request_ids, e.state.value) for e in self.outbox.entries.values()]


class Market(InferenceMarket):
    """The real wrapper; remembers what it was asked for instead of encoding it."""

    def __init__(self):
        self.asked = []

    def _call(self, function, *arguments, value=0, label=""):
        self.asked.append((function, arguments))
        return Call(ME, b"", value, label)


@pytest.fixture
def chain():
    return Chain()


@pytest.fixture
def market():
    return Market()


@pytest.fixture
def store():
    store = Store.open("sqlite://")
    yield store
    store.close()


@pytest.fixture
def ipfs():
    return MemoryIpfs()


@pytest.fixture
def submitter(store, market, chain, ipfs):
    return Submitter(store, market, chain, ipfs, structlog.get_logger())


def rid(number):
    return RequestId(number.to_bytes(32, "big"))


def root(number):
    return Bytes32((1000 + number).to_bytes(32, "big"))


def answered(number, other=0):
    return DeliverMessage(rid(number), root(number + other), ZERO32)


def put(store, number, **changes):
    with store.begin() as tx:
        tx.put_job(Job(rid(number), request(), **changes))


def drive(submitter, steps=12):
    for _ in range(steps):
        submitter.tend()


@pytest.mark.parametrize("state", [JobState.COMPUTING, JobState.CLAIMING])
def test_deliver__before_it_is_claimed__is_recorded_and_not_sent(submitter, store, chain, state):
    put(store, 1, state=state)  # claiming: the answer came a second time
    submitter.deliver([answered(1)])
    drive(submitter)
    assert chain.sent() == []
    with store.read() as tx:
        assert tx.job(rid(1)).answer == OperatorAnswer(root(1), ZERO32)


def test_deliver__second_answer_for_a_request__first_one_is_sent(submitter, store, market):
    put(store, 1)
    submitter.deliver([answered(1)])
    submitter.tend()
    submitter.deliver([answered(1, other=7)])
    assert [arguments[2].output_root for _, arguments in market.asked] == [root(1), root(1)]
    with store.read() as tx:
        assert tx.answer(rid(1)) == OperatorAnswer(root(1), ZERO32)


def test_deliver__twice_while_under_way__one_transaction(submitter, store, chain):
    put(store, 1)
    put(store, 2)
    submitter.deliver([answered(1)])
    submitter.deliver([answered(1), answered(2)])
    assert [ids for _, ids, _ in chain.sent()] == [(rid(1),), (rid(2),)]


def test_deliver__unknown_request__answer_is_kept_and_nothing_sent(submitter, store, chain):
    submitter.deliver([answered(1)])
    assert chain.sent() == []
    with store.read() as tx:
        assert tx.answer(rid(1)) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": SlotPhase.DELIVERED, "delivery": Delivery(OTHER, Stamp(Timestamp(1)), root(1))},
        {"phase": SlotPhase.CANCELLED},
    ],
)
def test_deliver__request_that_is_over__nothing_sent(submitter, store, chain, changes):
    put(store, 1, **changes)
    submitter.deliver([answered(1)])
    assert chain.sent() == []


def test_deliver__one_of_many_is_refused__all_others_are_mined(submitter, store, chain):
    for number in range(8):
        put(store, number)
    chain.refused = {rid(5)}
    submitter.deliver([answered(number) for number in range(8)])
    drive(submitter)
    mined = [i for _, ids, state in chain.sent() if state == "mined" for i in ids]
    assert sorted(mined) == [rid(n) for n in range(8) if n != 5]
    with store.read() as tx:
        assert tx.failures(rid(5)) == (1, False)
        assert tx.failures(rid(4)) == (0, False)


def test_deliver__more_than_a_batch__several_transactions(submitter, store, chain, market):
    count = MAX_DELIVERIES + 1
    with store.begin() as tx:
        tx.put_jobs([Job(rid(number), request()) for number in range(count)])
    submitter.deliver([answered(number) for number in range(count)])
    assert [len(ids) for _, ids, _ in chain.sent()] == [MAX_DELIVERIES, 1]
    assert [function for function, _ in market.asked] == ["deliverBatch", "deliver"]


def test_deliver__metered_and_flat__name_the_units_of_the_metered_one(submitter, store, market):
    """A manifest may have a unit where the version's terms have none."""
    flat = request()
    put(store, 1)
    with store.begin() as tx:
        metered = replace(flat, terms=replace(flat.terms, max_units=8))
        tx.put_job(Job(rid(2), metered))
    submitter.deliver([replace(answered(number), units=3) for number in (1, 2)])
    ((_, arguments),) = market.asked
    assert sorted(answer.units for answer in arguments[2]) == [0, 3]
    with store.read() as tx:
        assert tx.answer(rid(2)).units == 3


def test_deliver__claimed_request__passes_the_claim(submitter, store, market):
    claim = Claim(ME, Timestamp(1060))
    put(store, 1, phase=SlotPhase.CLAIMED, claim=claim)
    put(store, 2)
    submitter.deliver([answered(1), answered(2)])
    assert market.asked[0][1][1] == [claim, NO_CLAIM]


def test_deliver__node_is_down__answer_and_intent_are_kept(submitter, store, chain):
    put(store, 1)
    chain.down = True
    submitter.deliver([answered(1)])
    with pytest.raises(Unavailable):
        submitter.tend()
    chain.down = False
    submitter.tend()
    assert chain.sent() == [("deliver", (rid(1),), "mined")]


def test_claim__after_a_lapsed_claim__passes_it(submitter, store, market):
    lapsed = Claim(OTHER, Timestamp(5))
    put(store, 1, phase=SlotPhase.CLAIMED, claim=lapsed)
    put(store, 2)
    submitter.claim(rid(1))
    submitter.claim(rid(2))
    assert [arguments[1] for _, arguments in market.asked] == [lapsed, NO_CLAIM]


def test_claim__refused__is_not_a_failure_of_the_request(submitter, store, chain):
    put(store, 1)
    chain.refused = {rid(1)}
    submitter.claim(rid(1))
    submitter.tend()
    with store.read() as tx:
        assert tx.failures(rid(1)) == (0, False)


def test_finalize__one_with_a_dispute__others_are_settled(submitter, store, chain, market):
    delivery = Delivery(ME, Stamp(Timestamp(1)), root(1))
    for number in range(4):
        put(store, number, phase=SlotPhase.DELIVERED, delivery=delivery)
    put(store, 4, phase=SlotPhase.FINALIZED, delivery=delivery)
    chain.refused = {rid(2)}
    submitter.finalize([rid(number) for number in range(5)])
    drive(submitter)
    assert market.asked[0][1][1] == [delivery] * 4
    mined = [i for _, ids, state in chain.sent() if state == "mined" for i in ids]
    assert sorted(mined) == [rid(0), rid(1), rid(3)]


def test_finalize__settled_in_a_block_that_is_not_read_yet__sent_again_only_if_a_reorg_took_it(
    submitter, store, chain
):
    chain.outbox = SqlOutbox(store)
    put(store, 1, phase=SlotPhase.DELIVERED, delivery=Delivery(ME, Stamp(Timestamp(1)), root(1)))
    submitter.finalize([rid(1)])
    (entry,) = chain.outbox.live()
    chain.outbox.put(replace(entry, state=EntryState.MINED, block_number=7))

    submitter.finalize([rid(1)])
    assert chain.outbox.live() == []
    with store.begin() as tx:
        tx.set_cursor(7)  # and it is not settled
    submitter.finalize([rid(1)])
    assert [again.request_ids for again in chain.outbox.live()] == [(rid(1),)]


def test_post_output__demanded__sends_the_bytes(submitter, store, market, ipfs):
    published = ipfs.publish_bytes(b"the answer")
    delivery = Delivery(ME, Stamp(Timestamp(1)), published.sha256)
    put(store, 1, phase=SlotPhase.DELIVERED, delivery=delivery)
    submitter.post_output(rid(1))
    assert market.asked == [("postOutput", (request(), delivery, b"the answer"))]


def test_report_failure__told_twice__counts_once(submitter, store):
    put(store, 1)
    for _ in range(2):
        failure = ReportFailureMessage(rid(1), "InputInvalid", "NaN", permanent=True)
        submitter.report_failure(failure, "task-1")
    with store.read() as tx:
        assert [f.error for f in tx.failures_of(rid(1))] == ["InputInvalid"]
        assert tx.job(rid(1)).permanent
