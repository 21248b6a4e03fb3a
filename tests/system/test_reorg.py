"""The chain takes back what it said: requests vanish, change places, lose their deliveries."""

import pytest

from oracle.chain.bindings.inference_market import Requested
from oracle.store.job import JobState
from tests.support.waiting import wait_until
from tests.system.world import World, kill

pytestmark = pytest.mark.real


@pytest.fixture
def make_world(tmp_path):
    made = []

    def make(finality_depth=0):
        made.append(World(tmp_path, block_time=None, finality_depth=finality_depth))
        return made[-1]

    yield make
    for world in made:
        world.close()


def requests_on_chain(world):
    """Ids in the order of the chain."""
    return [event.request_id for event in world.events(Requested)]


def mine_together(world, calls, timestamp):
    """Put calls of dev accounts into one block, in this order."""
    world.rpc.call("evm_setAutomine", False)
    for place, (wallet, call) in enumerate(calls):
        tip = hex((len(calls) - place) * 10**9)  # the node sorts by tip
        body = {
            "from": wallet.address, "to": call.to, "data": "0x" + call.data.hex(),
            "gas": hex(500_000), "maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": tip,
        }  # fmt: skip
        world.rpc.call("eth_sendTransaction", body)
    world.rpc.call("evm_setNextBlockTimestamp", timestamp)
    world.rpc.call("evm_mine")
    world.rpc.call("evm_setAutomine", True)


def now(world):
    return int(world.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


def let_time_pass(world):
    """Mine until everything that was asked is settled."""

    def settled():
        world.rpc.call("evm_mine")
        return set(world.states()) == {JobState.SETTLED}

    wait_until(settled, lambda: f"all settled, there are {dict(world.states())}")


def saw_reorg(world):
    return any(line["event"] == "chain_reorganised" for line in world.log_of("watcher"))


def test_watcher__reorg_removes_the_request__forgets_it_and_serves_what_comes_instead(make_world):
    world = make_world()
    world.fork_watcher()
    (lost,) = world.ask(1)
    wait_until(lambda: world.job(lost) is not None, "the job")
    world.rpc.call("anvil_reorg", 1, [])
    wait_until(lambda: world.job(lost) is None, "no job")
    world.start_worker()  # finds a message of the request that is gone
    world.start_submitter()
    wait_until(lambda: len(world.journal()) == 1, "its answer")
    world.requesters.reverse()  # a wallet that does not count nonces of the other history
    kept = world.ask(2)
    let_time_pass(world)

    world.assert_exactly_once(kept)
    assert world.job(lost) is None


def test_watcher__reorg_changes_the_order_of_two_requests__answers_each_with_its_first_answer(
    make_world,
):
    world = make_world()
    first, second = [
        (wallet, world.market.request(world.order(wallet))) for wallet in world.requesters[:2]
    ]
    world.rpc.call("evm_mine")
    snapshot, timestamp = world.rpc.call("evm_snapshot"), now(world) + 100
    world.fork_watcher()
    world.start_worker()
    mine_together(world, [first, second], timestamp)
    ids = requests_on_chain(world)
    wait_until(lambda: len(world.journal()) == 2, "two answers")
    submitter = world.start_submitter()
    wait_until(lambda: world.states()[JobState.DELIVERED] == 2, "two deliveries")

    world.rpc.call("evm_revert", snapshot)
    mine_together(world, [second, first], timestamp)
    assert requests_on_chain(world) == ids[::-1]  # the same requests in another order
    let_time_pass(world)
    assert saw_reorg(world)
    assert submitter.poll() is None
    assert len(world.journal()) == 2  # what was computed before the reorg is what is delivered
    world.assert_exactly_once(ids)


def test_watcher__reorg_above_the_finality_depth__never_sees_it(make_world):
    world = make_world(finality_depth=3)
    world.fork_watcher()
    world.start_worker()
    world.start_submitter()
    (lost,) = world.ask(1)
    world.rpc.call("evm_mine")
    world.rpc.call("anvil_reorg", 2, [])
    world.requesters.reverse()
    kept = world.ask(2)
    let_time_pass(world)

    world.assert_exactly_once(kept)
    assert not saw_reorg(world)
    assert "0x" + lost.hex() not in {entry["request_id"] for entry in world.journal()}


def test_watcher__reorg_while_it_was_down__is_found_at_the_next_start(make_world):
    world = make_world()
    pid = world.fork_watcher()
    (lost,) = world.ask(1)
    wait_until(lambda: world.job(lost) is not None, "the job")
    kill(pid)
    world.rpc.call("anvil_reorg", 1, [])
    for _ in range(3):
        world.rpc.call("evm_mine")
    world.fork_watcher()

    wait_until(lambda: world.job(lost) is None, "no job")
