"""An audit from the draw to the conviction: two operators, one of which lies."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from oracle.chain.wallet import Wallet
from oracle.errors import Unavailable
from oracle.exact.commitments import Committed
from oracle.queue.broker import MemoryQueue
from oracle.queue.messages import TraceJob
from oracle.services import balances, operators, requests
from oracle.services.audits import Audits
from oracle.services.request_timeline import RequestState
from oracle.store.audit_repository import AuditState
from oracle.store.store import Store
from oracle.types import Amount
from tests.agents.challenger.conftest import CHALLENGER, Arena
from tests.services.conftest import DOLLAR
from worker.tasks import audit
from worker.traces import OwnAnswerDiffers

pytestmark = pytest.mark.real


class Reexecution:
    """The responder's traces, of the one request there is."""

    def __init__(self, honest: Committed, error: Exception | None = None) -> None:
        self.honest = honest
        self.error = error

    def get(self, job: TraceJob) -> None:
        if self.error is not None:
            raise self.error
        if self.honest.output_root != job.output_root:
            raise OwnAnswerDiffers("the output has another root")


class Auditor:
    """The second operator: its store, its queue and its share of the audits."""

    def __init__(self, arena: Arena, store: Store) -> None:
        self.arena, self.store, self.queue = arena, store, MemoryQueue()
        world = arena.world
        network = replace(world.network, settings=replace(world.network.settings, audit_share=1.0))
        account = Wallet(network.rpc, CHALLENGER)
        balances.fund(network, account.address, Amount(100 * DOLLAR))
        operators.register(network, account, "")
        operators.stake(network, account, Amount(100 * DOLLAR))
        operators.authorize(network, world.owner, arena.model_id, account.address)
        self.audits = Audits(network, store, self.queue, account.address)

    def work(self, error: Exception | None = None) -> int:
        """Let the responder do what is on the queue."""
        taken = self.queue.take()
        for sent in taken:
            again = Reexecution(self.arena.example.honest, error)
            audit.run(sent.message.to_json(), again, self.store)  # type: ignore[arg-type]
        return len(taken)

    def look(self) -> list[str]:
        with self.arena.challenger(scope={"fraction": 0.0}, audits=self.audits) as challenger:
            return [t.what for t in challenger.once().transactions]


@pytest.fixture
def auditor(arena: Arena) -> Iterator[Auditor]:
    store = Store.open("sqlite://")
    yield Auditor(arena, store)
    store.close()


def test_audit__lie_drawn__the_other_operator_convicts(arena: Arena, auditor: Auditor) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id)
    assert auditor.look() == []  # the block that decides is not there yet
    assert auditor.queue.messages == []
    arena.world.network.rpc.call("evm_mine")
    assert auditor.look() == []
    assert auditor.work() == 1
    assert auditor.look() == ["challenge an answer", "prove a fault", "withdraw bonds"]
    assert requests.show(arena.world.network, request_id).state is RequestState.CONVICTED


def test_audit__honest_answer_drawn__noted_as_right(arena: Arena, auditor: Auditor) -> None:
    arena.deliver(arena.example.honest)
    arena.world.network.rpc.call("evm_mine")
    auditor.look()
    assert auditor.work() == 1
    assert auditor.look() == []
    assert auditor.audits.asked() == auditor.audits.wrong() == []
    with auditor.store.read() as tx:
        assert len(tx.audits(AuditState.RIGHT)) == 1


def test_audit__responder_cannot_execute__asked_again(arena: Arena, auditor: Auditor) -> None:
    arena.deliver(arena.example.lie_inside)
    arena.world.network.rpc.call("evm_mine")
    auditor.look()
    assert auditor.work(Unavailable("IPFS is away")) == 1
    auditor.look()
    assert auditor.work() == 0  # not at once
    auditor.audits._sent.clear()  # a minute later
    auditor.look()
    assert auditor.work() == 1
    assert len(auditor.audits.wrong()) == 1


def test_audit__responder_is_wrong_itself__nobody_is_challenged(
    arena: Arena, auditor: Auditor
) -> None:
    arena.deliver(arena.example.honest)
    arena.world.network.rpc.call("evm_mine")
    auditor.look()
    auditor.work(OwnAnswerDiffers("bad memory"))
    assert len(auditor.audits.wrong()) == 1
    assert auditor.look() == []


def test_audit__queue_away__is_sent_when_it_is_back(arena: Arena, auditor: Auditor) -> None:
    arena.deliver(arena.example.lie_inside)
    arena.world.network.rpc.call("evm_mine")
    auditor.queue.down = True
    auditor.look()
    auditor.queue.down = False
    auditor.look()
    assert auditor.work() == 1


def test_run__malformed_message__is_dropped(auditor: Auditor) -> None:
    audit.run({"request_id": "0x12"}, Reexecution(auditor.arena.example.honest), auditor.store)  # type: ignore[arg-type]
    assert auditor.audits.asked() == []
