"""A submitter that is killed anywhere has every answer delivered, and each with one transaction."""

import random
import threading
import time
from collections import Counter

import pytest

from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.store.outbox import SqlOutbox
from tests.support.effort import KILLS
from tests.support.waiting import wait_until
from tests.system.rpc_proxy import RpcProxy
from tests.system.world import kill

pytestmark = pytest.mark.real

REQUESTS = 6 * KILLS
IMPATIENT = {"TALLYSTICK_REQUEUE_AFTER": "1"}  # seconds until a lost message is sent again


@pytest.fixture
def proxy(world):
    made = RpcProxy(world.anvil.url)
    yield made
    made.close()


def entries(world, ids) -> list[OutboxEntry]:
    """Every transaction that was ever meant, by id."""
    outbox = SqlOutbox(world.store)
    found = {entry.id: entry for request_id in ids for entry in outbox.of(request_id)}
    return [found[key] for key in sorted(found)]


def assert_each_transaction_was_meant_once(world, ids, nonce_before) -> None:
    """One mined delivery and settlement for each; nothing on chain that the outbox lacks.

    The watcher may see a settlement before the submitter does.
    """
    wait_until(lambda: not SqlOutbox(world.store).live(), "the end of all transactions")
    mined = [entry for entry in entries(world, ids) if entry.state is EntryState.MINED]
    for kind in ("deliver", "finalize"):
        served = [i for entry in mined if entry.kind == kind for i in entry.request_ids]
        assert Counter(served) == Counter(ids)
    assert world.nonce() - nonce_before == len(mined)


@pytest.mark.parametrize(
    ("method", "forwarded", "state", "signatures"),
    [
        pytest.param("eth_estimateGas", False, EntryState.INTENT, 0, id="intent-committed"),
        pytest.param("eth_sendRawTransaction", False, EntryState.SENT, 1, id="before-broadcast"),
        pytest.param("eth_sendRawTransaction", True, EntryState.SENT, 1, id="after-broadcast"),
        pytest.param("eth_getTransactionReceipt", True, EntryState.SENT, 1, id="while-following"),
    ],
)
def test_submitter__killed_at_a_step_of_a_delivery__the_next_one_delivers_once(
    world, proxy, method, forwarded, state, signatures
):
    nonce = world.nonce()
    world.start_worker()
    world.fork_watcher(**IMPATIENT)
    proxy.hold(method, forwarded=forwarded)
    pid = world.fork_submitter(TALLYSTICK_RPC_URL=proxy.url)
    ids = world.ask(1)
    wait_until(proxy.held.is_set, "the submitter at that step")
    kill(pid)
    (entry,) = entries(world, ids)
    assert (entry.kind, entry.state, len(entry.raws)) == ("deliver", state, signatures)
    if not forwarded:
        world.rpc.call("evm_mine")
        assert world.nonce() == nonce

    world.fork_submitter()
    world.wait_settled(1)
    world.assert_exactly_once(ids)
    assert_each_transaction_was_meant_once(world, ids, nonce)
    (delivery,) = [found for found in entries(world, ids) if found.kind == "deliver"]
    assert delivery.raws[:signatures] == entry.raws  # not signed a second time


def test_submitter__killed_at_random_while_answers_flow__delivers_each_once(world):
    """A third of the requests has to be claimed before it can be delivered."""
    nonce = world.nonce()
    world.start_worker()
    world.fork_watcher(**IMPATIENT)
    ids = []

    def flow():
        for _ in range(REQUESTS // 6):
            ids.extend(world.ask(4))
            ids.extend(world.ask(2, preferred=world.other.address, priority=1))
            time.sleep(0.5)

    asking = threading.Thread(target=flow)
    asking.start()
    dice = random.Random(2)
    for _ in range(KILLS):
        pid = world.fork_submitter()
        time.sleep(dice.uniform(0.1, 0.9))  # on a slow machine some die before they are ready
        kill(pid)
    asking.join()
    world.fork_submitter()
    world.wait_settled(REQUESTS)

    world.assert_exactly_once(ids)
    assert_each_transaction_was_meant_once(world, ids, nonce)
