"""Reading events again: a long chain is read once, and what a reorg took is not believed."""

import pytest

from oracle.chain.bindings.model_registry import ModelRegistered
from oracle.services.event_history import History
from oracle.services.history_cache import HistoryCache

pytestmark = pytest.mark.real


class Counting:
    """A node that writes down which blocks it was asked for logs of."""

    def __init__(self, rpc):
        self.rpc = rpc
        self.asked = []

    def call(self, method, *params):
        self.note(method, *params)
        return self.rpc.call(method, *params)

    def batch(self, calls):
        for call in calls:
            self.note(*call)
        return self.rpc.batch(calls)

    def note(self, method, *params):
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            self.asked.append((int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)))


@pytest.fixture
def node(world):
    return Counting(world.network.rpc)


@pytest.fixture
def read(world, node, tmp_path):
    """Return a function that lists models as a new process would: names, oldest first."""

    def names(span=10):
        history = History(
            node, world.network.contracts, HistoryCache(tmp_path / "history", node), span
        )
        found = history.read(world.network.registry.address, (ModelRegistered,))
        return [happened.event.name for happened in found]

    return names


def register(world, name):
    world.owner.send(world.network.registry.register_model(name, 0))


def head(world):
    return int(world.network.rpc.call("eth_blockNumber"), 16)


def test_read__second_time__asks_for_new_blocks_alone(world, node, read):
    register(world, "first")
    world.network.rpc.call("anvil_mine", hex(30))
    assert read() == ["first"]
    known = head(world)
    node.asked.clear()
    register(world, "second")
    assert read() == ["first", "second"]
    assert node.asked == [(known + 1, known + 1)]


def test_read__reorg_since__reads_everything_again(world, node, read):
    world.network.rpc.call("anvil_mine", hex(30))
    register(world, "gone")
    assert read() == ["gone"]
    start = node.asked[0][0]
    node.asked.clear()
    world.network.rpc.call("anvil_reorg", 1, [])
    assert read() == []
    assert node.asked[0][0] == start


def test_read__file_cut_short__reads_everything_again(world, read, tmp_path):
    register(world, "first")
    world.network.rpc.call("anvil_mine", hex(30))
    read()
    (file,) = (tmp_path / "history").iterdir()
    file.write_text(file.read_text()[:50])
    assert read() == ["first"]


def test_read__chain_shorter_than_a_span__keeps_nothing(world, read, tmp_path):
    register(world, "first")
    assert read(span=100_000) == ["first"]
    assert not (tmp_path / "history").exists()
