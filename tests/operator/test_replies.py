"""What an operator owes in disputes, and when it is put on the queue (again)."""

import pytest

from oracle.chain.bindings.dispute_game import (
    BondReleased,
    Challenged,
    ChallengeFailed,
    LeavesRevealed,
    NodeDemanded,
    NodeOpened,
    StepAnswered,
    StepDemanded,
    TraceCommitted,
)
from oracle.errors import Unavailable
from oracle.operator.jobs import Operator, from_events
from oracle.operator.replies import owed
from oracle.operator.watcher import Watcher
from oracle.queue.broker import MemoryQueue
from oracle.queue.messages import RespondMessage, TraceJob
from oracle.store.reply_repository import GameTurn, ReplyKind
from oracle.store.store import Store
from oracle.types import ZERO32, Address, Bytes32, Timestamp, Wei
from tests.operator.builders import (
    CANCELLED,
    ID,
    ME,
    OTHER,
    ROOT,
    authorized,
    convicted,
    delivered,
    published,
    requested,
)
from tests.operator.memory_chain import CONTRACTS, MemoryChain

SECOND = Address("0x" + "11" * 20)
WITNESS = Bytes32(b"\x07" * 32)
TRACE = TraceCommitted(ID, ROOT, (ROOT,))
FAILED = ChallengeFailed(ID, OTHER, Wei(1), Wei(1))


def challenged(who=OTHER, witness=ZERO32, deadline=2000):
    return Challenged(ID, who, witness, Wei(1), Timestamp(deadline))


def node(who=OTHER, place=(0, 6, 37), deadline=2000):
    return NodeDemanded(ID, who, *place, Timestamp(deadline))


def step(who=OTHER, place=(2, 4, 5), deadline=2000):
    return StepDemanded(ID, who, *place, Timestamp(deadline))


def asked(who, ask, place=(0, 0, 0), deadline=2000):
    return GameTurn(who, ask, Timestamp(deadline), *place)


# ── What is owed ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([delivered(OTHER), challenged()], []),
        ([delivered(ME), challenged(), convicted(ME)], []),
        ([delivered(ME), challenged(), CANCELLED], []),
        ([delivered(ME), challenged(witness=WITNESS)], []),
        ([delivered(ME), TRACE, challenged()], []),
        ([delivered(ME), challenged(), challenged(SECOND), TRACE], []),
        ([delivered(ME), node(), NodeOpened(ID, OTHER, 0, 0, 0, ())], []),
        ([delivered(ME), node(), LeavesRevealed(ID, OTHER, 0, 6, 37, b"")], []),
        ([delivered(ME), step(), StepAnswered(ID, OTHER, 2, 4, 5)], []),
        ([delivered(ME), step(), FAILED], []),
        ([delivered(ME), challenged(), BondReleased(ID, OTHER, Wei(1))], []),
        ([delivered(ME), challenged()], [asked(OTHER, ReplyKind.TRACE)]),
        ([delivered(ME), challenged(), TRACE, node()], [asked(OTHER, ReplyKind.NODE, (0, 6, 37))]),
        ([delivered(ME), challenged(), TRACE, step()], [asked(OTHER, ReplyKind.STEP, (2, 4, 5))]),
        (
            [delivered(ME), node(), node(SECOND), FAILED],
            [asked(SECOND, ReplyKind.NODE, (0, 6, 37))],
        ),
        ([delivered(ME), node(), TRACE], [asked(OTHER, ReplyKind.NODE, (0, 6, 37))]),
        (
            [delivered(ME), challenged(), challenged(SECOND, deadline=2010)],
            [asked(OTHER, ReplyKind.TRACE), asked(SECOND, ReplyKind.TRACE, deadline=2010)],
        ),
    ],
)
def test_owed__events_of_a_game__what_the_chain_waits_for(events, expected):
    assert list(owed(from_events(requested(), events), events, ME)) == expected


# ── When it is sent ─────────────────────────────────────────────────────────────────────────────
class World:
    """A chain with a delivery of ours at 1004, a queue, a store and a watcher."""

    def __init__(self):
        self.chain = MemoryChain()
        self.chain.mine(published(), authorized())
        self.chain.mine(requested())
        self.chain.mine(delivered(ME, at=1004), at=1004)
        self.queue = MemoryQueue()
        self.store = Store.open("sqlite://")
        self.wall = 0.0
        self.watcher = Watcher(
            self.chain, self.store, self.queue, Operator(ME), CONTRACTS,
            now=lambda: self.wall,
        )  # fmt: skip
        self.cycle()

    def cycle(self):
        """Run one cycle; return what was asked of the responder."""
        self.watcher.cycle()
        return [m for m in self.queue.take() if isinstance(m.message, RespondMessage)]

    def owed(self):
        with self.store.read() as tx:
            return [reply.demand.ask for reply in tx.replies_to(ID)]


@pytest.fixture
def world():
    made = World()
    yield made
    made.store.close()


def test_cycle__queue_down__demand_stays_and_is_sent_when_it_is_back(world):
    world.queue.down = True
    world.chain.mine(challenged(deadline=1100))
    with pytest.raises(Unavailable):
        world.cycle()
    world.queue.down = False
    assert len(world.cycle()) == 1


def test_cycle__deadline_reached__nothing_more_is_sent(world):
    world.chain.mine(challenged(deadline=1100), at=1010)
    assert len(world.cycle()) == 1
    world.chain.mine_until(1100)
    world.wall += 1000
    world.queue.lose()
    assert world.cycle() == []
    assert world.owed() == [ReplyKind.TRACE]  # a reorg may turn the time back
    world.chain.revert(1)
    world.chain.mine_until(1050)
    assert len(world.cycle()) == 1


def test_cycle__demand__message_says_all_that_an_answer_is_made_of(world):
    world.chain.mine(node(deadline=1100))
    (sent,) = world.cycle()
    assert sent.message == RespondMessage(
        TraceJob(
            request_id=ID, manifest_digest=ROOT, model_root=ROOT, input_root=ROOT,
            input_cid=ZERO32, output_root=ROOT,
        ),
        GameTurn(OTHER, ReplyKind.NODE, 1100, 0, 6, 37),
    )  # fmt: skip


def test_cycle__no_answer__sent_again_after_a_quarter_of_the_time_that_is_left(world):
    world.chain.mine(challenged(deadline=1110), at=1010)
    assert len(world.cycle()) == 1
    world.wall = 24.9
    assert world.cycle() == []
    world.wall = 25.0
    assert len(world.cycle()) == 1


def test_cycle__queue_lost_its_memory__sent_again_at_once(world):
    world.chain.mine(challenged(deadline=1100))
    assert len(world.cycle()) == 1
    assert world.cycle() == []
    world.queue.lose()
    assert len(world.cycle()) == 1


def test_cycle__answered__next_demand_of_the_game_is_sent_at_once(world):
    world.chain.mine(challenged(deadline=1100))
    assert len(world.cycle()) == 1
    world.chain.mine(TRACE, node(deadline=1100))
    (sent,) = world.cycle()
    assert sent.message.demand.ask is ReplyKind.NODE


def test_cycle__reorg_takes_the_answer_back__it_is_asked_for_again(world):
    world.chain.mine(challenged(deadline=1100))
    world.chain.mine(TRACE)
    assert world.cycle() == []
    world.chain.revert(1)
    world.chain.mine()
    assert len(world.cycle()) == 1


def test_cycle__reorg_takes_the_challenge_back__nothing_is_owed(world):
    world.chain.mine(challenged(deadline=1100))
    world.cycle()
    world.chain.revert(1)
    world.chain.mine()
    assert world.cycle() == []
    assert world.owed() == []


def test_cycle__reorg_takes_the_request_back__nothing_is_owed(world):
    world.chain.mine(challenged(deadline=1100))
    world.cycle()
    world.chain.revert(3)
    for _ in range(3):
        world.chain.mine()
    assert world.cycle() == []
    assert world.owed() == []
