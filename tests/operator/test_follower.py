"""The store stays in step with the chain, whatever the chain and the node do."""

from dataclasses import replace
from threading import Event

import pytest
from sqlalchemy import event

from oracle.chain.blocks import Reorganised
from oracle.chain.rpc import RpcMalformed, WrongChain
from oracle.errors import Unavailable
from oracle.operator.follower import Followed, Follower, NodeBehind
from oracle.store.job import JobState, SlotPhase
from oracle.store.store import Store
from oracle.types import ZERO32, OperatorAnswer, RequestId
from tests.operator.builders import (
    ID,
    ME,
    OTHER,
    ROOT,
    authorized,
    claimed,
    delivered,
    published,
    requested,
)
from tests.operator.memory_chain import CONTRACTS, MemoryChain

ID2 = RequestId(b"\x09" * 32)


@pytest.fixture
def chain():
    made = MemoryChain()
    made.mine(published(), authorized())
    return made


@pytest.fixture
def store():
    opened = Store.open("sqlite://")
    yield opened
    opened.close()


@pytest.fixture
def follower(chain, store):
    return Follower(chain, store, ME, CONTRACTS)


def job_of(store, request_id=ID):
    with store.read() as tx:
        return tx.job(request_id)


def cursor_of(store):
    with store.read() as tx:
        return tx.cursor()


def contents(store):
    with store.read() as tx:
        return (
            tx.cursor(),
            tx.blocks(),
            tx.logs_above(-1),
            tx.job(ID),
            tx.job(ID2),
            tx.is_authorized(1, ME),
        )


# ── Refused ─────────────────────────────────────────────────────────────────────────────────────


def test_follow__wrong_chain__applies_nothing(chain, store, follower):
    chain.chain_id = 1

    with pytest.raises(WrongChain):
        follower.follow()
    assert cursor_of(store) is None


def test_follow__node_down__keeps_the_cursor(chain, store, follower):
    follower.follow()
    chain.mine(requested())
    chain.down = True

    with pytest.raises(Unavailable):
        follower.follow()
    assert cursor_of(store) == 1


def test_follow__node_dies_between_ranges__keeps_what_came_before(chain, store, follower):
    for _ in range(6):
        chain.mine()
    scan = chain.scan

    def dying(start, end, parent=None):
        for chunk in scan(start, end, parent):
            yield chunk
            chain.down = True

    chain.scan = dying
    with pytest.raises(Unavailable):
        follower.follow()
    assert cursor_of(store) == 2

    chain.scan, chain.down = scan, False
    follower.follow()
    assert cursor_of(store) == chain.head()


def test_follow__malformed_log__is_refused_and_read_again(chain, store, follower):
    follower.follow()
    block = chain.mine(requested())
    whole = chain.blocks[-1]
    chain.blocks[-1] = (block, (replace(whole[1][0], data=b"\x01"),))

    with pytest.raises(RpcMalformed):
        follower.follow()
    assert (cursor_of(store), job_of(store)) == (1, None)

    chain.blocks[-1] = whole
    follower.follow()
    assert job_of(store).phase is SlotPhase.REQUESTED


def test_follow__node_behind_on_the_same_history__waits_and_forgets_nothing(chain, store, follower):
    chain.mine(requested())
    follower.follow()
    before = contents(store)
    newest = chain.blocks.pop()

    with pytest.raises(NodeBehind):
        follower.follow()
    assert contents(store) == before

    chain.blocks.append(newest)
    assert follower.follow() == Followed(0, 0, 0)


# ── What becomes a job ──────────────────────────────────────────────────────────────────────────


def test_follow__request_of_a_strange_model__makes_no_job(store):
    chain = MemoryChain()
    chain.mine(published(), requested(OTHER))
    Follower(chain, store, ME, CONTRACTS).follow()

    assert job_of(store) is None


@pytest.mark.parametrize("before", [0, 1])
def test_follow__mine_among_strangers__mine_alone_and_no_more_questions(store, before):
    def statements(strangers):
        chain = MemoryChain()
        chain.mine(published())
        opened = Store.open("sqlite://")
        names = [RequestId(n.to_bytes(32)) for n in range(100, 100 + strangers)]
        chain.mine(requested(ME), *(requested(OTHER, request_id=name) for name in names))
        for _ in range(before):
            Follower(chain, opened, ME, CONTRACTS).follow()
            chain.mine(claimed(ME), *(replace(claimed(OTHER), request_id=name) for name in names))
        asked = []
        event.listen(opened._engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        Follower(chain, opened, ME, CONTRACTS).follow()
        questions = len(asked)
        assert job_of(opened).phase is (SlotPhase.CLAIMED if before else SlotPhase.REQUESTED)
        assert all(job_of(opened, name) is None for name in names)
        opened.close()
        return questions

    assert statements(2) == statements(200)


def test_follow__request_before_the_authorisation__becomes_a_job_with_it(store):
    chain = MemoryChain()
    chain.mine(published(), requested(OTHER))
    follower = Follower(chain, store, ME, CONTRACTS)
    follower.follow()
    chain.mine(claimed(OTHER))
    chain.mine(authorized())
    follower.follow()

    assert job_of(store).claim.operator == OTHER


def test_follow__duplicate_logs__change_nothing(chain, store, follower):
    chain.mine(requested())
    follower.follow()
    before = contents(store)
    with store.begin() as tx:
        tx.set_cursor(0)  # as if the same blocks had to be told again
        tx.rewind(99)
    Follower(chain, store, ME, CONTRACTS).follow()

    assert contents(store)[1:] == before[1:]


def test_follow__node_tells_a_log_twice__counts_it_once(chain, store, follower):
    block = chain.mine(requested())
    log = chain.blocks[-1][1][0]
    chain.blocks[-1] = (block, (log, log))

    assert follower.follow().logs == 3  # with the publication and the authorisation
    with store.read() as tx:
        assert tx.logs_of_all([ID])[ID] == [log]


def test_follow__finality_depth__leaves_the_newest_blocks(chain, store):
    chain.mine(requested())
    follower = Follower(chain, store, ME, CONTRACTS, finality_depth=1)
    follower.follow()
    first = job_of(store)
    chain.mine()
    follower.follow()

    assert (first, job_of(store).phase) == (None, SlotPhase.REQUESTED)


# ── Reorgs ──────────────────────────────────────────────────────────────────────────────────────


def test_follow__request_removed__removes_the_job_and_keeps_the_answer(chain, store, follower):
    chain.mine(requested())
    follower.follow()
    store.record_answer(ID, ROOT, ZERO32)
    chain.revert(1)
    chain.mine()
    found = follower.follow()

    with store.read() as tx:
        assert (tx.job(ID), tx.answer(ID)) == (None, OperatorAnswer(ROOT, ZERO32))
    assert found == Followed(1, 0, 1)


def test_follow__same_request_comes_back__finds_its_answer(chain, store, follower):
    chain.mine(requested())
    follower.follow()
    store.record_answer(ID, ROOT, ZERO32)
    chain.revert(1)
    chain.mine()
    follower.follow()
    chain.mine(requested())
    follower.follow()

    assert job_of(store).answer == OperatorAnswer(ROOT, ZERO32)


def test_follow__two_requests_change_places__keeps_both(chain, store, follower):
    chain.mine(requested())
    chain.mine(requested(request_id=ID2))
    follower.follow()
    chain.revert(2)
    chain.mine(requested(request_id=ID2))
    chain.mine(requested())
    follower.follow()

    straight = Store.open("sqlite://")
    Follower(chain, straight, ME, CONTRACTS).follow()
    assert contents(store) == contents(straight)


def test_follow__delivery_removed__reopens_the_job(chain, store, follower):
    chain.mine(requested())
    chain.mine(delivered(OTHER))
    follower.follow()
    with store.begin() as tx:
        tx.put_job(replace(tx.job(ID), state=JobState.LOST))
    chain.revert(1)
    chain.mine()
    follower.follow()

    job = job_of(store)
    assert (job.phase, job.delivery, job.open) == (SlotPhase.REQUESTED, None, True)


def test_follow__authorisation_removed__is_forgotten(chain, store, follower):
    follower.follow()
    chain.revert(1)
    chain.mine()
    follower.follow()

    with store.read() as tx:
        assert not tx.is_authorized(1, ME)


def test_follow__everything_replaced__starts_anew(chain, store, follower):
    chain.mine(requested())
    follower.follow()
    other = MemoryChain(salt=100)
    for _ in range(5):
        other.mine(requested(request_id=ID2) if other.head() == 3 else authorized())
    Follower(other, store, ME, CONTRACTS).follow()

    assert job_of(store) is None
    assert job_of(store, ID2) is not None
    assert cursor_of(store) == 5


def test_follow__reorg_while_reading__goes_on_at_the_next_look(chain, store, follower):
    chain.mine(requested())
    follower.follow()
    chain.revert(1)
    chain.mine(requested(request_id=ID2))
    chain.mine()
    has, chain.has = chain.has, lambda block: True  # asked just before the chain changed
    with pytest.raises(Reorganised):
        follower.follow()
    chain.has = has
    follower.follow()

    assert (job_of(store), job_of(store, ID2).phase) == (None, SlotPhase.REQUESTED)


def test_follow__stopped_on_a_long_way__ends_between_two_ranges(chain, store):
    for _ in range(9):
        chain.mine()
    stop = Event()
    stop.set()
    Follower(chain, store, ME, CONTRACTS, stop=stop).follow()

    assert cursor_of(store) == 2
