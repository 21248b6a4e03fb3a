"""The store equals the chain, or the follower says why not: any nodes, in any order of events.

Several nodes answer behind one address. They lag, answer `[]` for what they do not have, refuse
ranges and batches in any wording, leave logs out, double them, or answer other blocks' logs.
"""

import random

from hypothesis import stateful
from hypothesis import strategies as st
from urllib3 import exceptions

from oracle.chain.blocks import Blocks
from oracle.chain.logs import parse
from oracle.chain.memory import MemoryNode
from oracle.chain.rpc import Rpc, RpcError
from oracle.chain.scan import Scanner
from oracle.operator.follower import Follower
from oracle.operator.watcher import PASSING
from oracle.store import Store
from oracle.types import Address, Bytes32, Log
from tests.operator.memory_chain import CONTRACTS
from tests.support.answering import REFUSALS, Answering, Refused, Response, answered_each
from tests.support.effort import READINGS, machine

OURS = (CONTRACTS.inference_market, CONTRACTS.model_registry)
FOREIGN = Address("0x" + "ee" * 20)
ME = Address("0x" + "aa" * 20)
HEALED = 30  # cycles until a healed network must have been followed to its head
LIES = ("omit_first", "omit_all", "double", "other_block", "other_contract", "removed", "garbled")
HANGS_UP = (0, 0, "")


class Balancer:
    """Nodes behind one address, each some blocks behind the chain."""

    def __init__(self, chain: MemoryNode) -> None:
        self.chain = chain
        self.rng = random.Random(0)
        self.heal()

    def heal(self) -> None:
        """Let all nodes be well."""
        self.lags: tuple[int, ...] = (0,)
        self.lies: frozenset[str] = frozenset()
        self.unknown_is_empty = False  # `[]` for a hash that the node does not have
        self.splits = False  # a batch is divided among nodes
        self.range_limit = self.batch_limit = 10**9
        self.refusal = REFUSALS[0]
        self.reorg_in = 0  # requests until the chain changes under the reader's eyes
        self.turned = False

    def answer(self, body) -> Response:
        """Answer one HTTP request."""
        self.reorg_in -= 1
        if self.reorg_in == 0:
            self.turned = True
            self.chain.reorg(min(3, int(self.chain.call("eth_blockNumber"), 16)))
            self.chain.mine(2)
        lag = self.rng.choice(self.lags)

        def result(method, params):
            if isinstance(body, list) and len(body) > self.batch_limit:
                self._refuse()
            return self._result(method, params, self.rng.choice(self.lags) if self.splits else lag)

        return answered_each(body, result)

    def _refuse(self):
        if self.refusal is HANGS_UP:
            raise exceptions.ProtocolError("server disconnected")
        raise Refused(*self.refusal)

    def _result(self, method, params, lag):
        chain = self.chain
        head = max(0, int(chain.call("eth_blockNumber"), 16) - lag)
        if method == "eth_blockNumber":
            return hex(head)
        if method == "eth_getBlockByNumber":
            known = params[0] == "earliest" or int(params[0], 16) <= head
            return chain.call(method, *params) if known else None
        if method != "eth_getLogs":
            return chain.call(method, *params)
        return self._lie(self._logs(params[0], head))

    def _logs(self, question, head):
        if "fromBlock" in question:
            size = int(question["toBlock"], 16) - int(question["fromBlock"], 16) + 1
            if size > self.range_limit:
                self._refuse()
        else:
            block = self.chain.call("eth_getBlockByHash", question["blockHash"], False)
            if block is None or int(block["number"], 16) > head:
                if self.unknown_is_empty:
                    return []
                raise RpcError(-32000, "unknown block")
        found = self.chain.call("eth_getLogs", question)
        return [log for log in found if int(log["blockNumber"], 16) <= head]

    def _lie(self, found):
        if not self.lies or self.rng.random() < 0.5:
            return found
        lie = self.rng.choice(sorted(self.lies))
        everything = self.chain.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})
        some = self.rng.choice(everything) if everything else None
        match lie:
            case "omit_first":
                return found[1:]
            case "omit_all":
                return []
            case "double":
                return [log for log in found for _ in range(2)]
            case "other_block" if some:
                return [*found, some | {"logIndex": "0x77"}]
            case "other_contract" if found:
                return [*found, found[0] | {"address": OURS[1], "logIndex": "0x77"}]
            case "removed":
                return [log | {"removed": True} for log in found]
            case "garbled":
                return [log | {"topics": None} for log in found]
        return found


class Reading(stateful.RuleBasedStateMachine):
    """One follower, one chain, nodes of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = MemoryNode()
        self.chain.mine()
        self.balancer = Balancer(self.chain)
        self.rpc = Rpc(
            "http://node.example", attempts=1, backoff=0,
            http=Answering(self.balancer.answer),
        )  # fmt: skip
        self.store = Store.open("sqlite://")
        blocks = Blocks(self.rpc, pause=lambda _: None)
        scanner = Scanner(self.rpc, OURS, blocks=blocks)
        self.follower = Follower(scanner, self.store, ME, CONTRACTS)
        self.serial = 0

    @stateful.rule(blocks=st.sampled_from([1, 2, 9, 40, 150]))
    def rule_mine(self, blocks):
        self.chain.mine(blocks)

    @stateful.rule(
        places=st.lists(st.sampled_from([*OURS, FOREIGN]), min_size=1, max_size=4),
        times=st.integers(1, 5),
    )
    def rule_log(self, places, times):
        for _ in range(times):
            self.chain.emit(*[self.log(place) for place in places])

    def log(self, place):
        self.serial += 1
        topic = Bytes32(self.serial.to_bytes(32))
        nowhere = Bytes32(bytes(32))
        return Log(place, (Bytes32(b"\x01" * 32), topic), b"", 0, nowhere, nowhere, 0)

    @stateful.rule(depth=st.integers(1, 64), more=st.integers(1, 9))
    def rule_reorganise(self, depth, more):
        self.chain.reorg(min(depth, int(self.chain.call("eth_blockNumber"), 16)))
        self.chain.mine(more)

    @stateful.rule(
        lags=st.lists(st.integers(0, 8), min_size=1, max_size=3),
        unknown_is_empty=st.booleans(),
        splits=st.booleans(),
        seed=st.integers(0, 2**16),
    )
    def rule_nodes_lag(self, lags, unknown_is_empty, splits, seed):
        self.balancer.lags = tuple(lags)
        self.balancer.unknown_is_empty = unknown_is_empty
        self.balancer.splits = splits
        self.balancer.rng = random.Random(seed)

    @stateful.rule(lies=st.sets(st.sampled_from(LIES), min_size=1, max_size=3))
    def rule_nodes_lie(self, lies):
        self.balancer.lies = frozenset(lies)

    @stateful.rule(
        blocks=st.sampled_from([0, 1, 2, 7, 10, 100]),
        calls=st.sampled_from([0, 1, 2, 20, 10**9]),
        refusal=st.sampled_from([*REFUSALS, HANGS_UP]),
    )
    def rule_nodes_limit(self, blocks, calls, refusal):
        self.balancer.range_limit, self.balancer.batch_limit = blocks, calls
        self.balancer.refusal = refusal

    @stateful.rule(after=st.integers(1, 9))
    def rule_reorganise_while_reading(self, after):
        self.balancer.reorg_in = after

    @stateful.rule()
    def rule_heal(self):
        self.balancer.heal()

    @stateful.rule(times=st.integers(1, 3))
    def rule_follow(self, times):
        for _ in range(times):
            self.follow()

    def follow(self):
        """Look once; what is in the store after a look without an error is the chain."""
        self.balancer.turned = False
        try:
            self.follower.follow()
        except PASSING:  # it says why not
            return
        if not self.balancer.turned:
            self.check()

    def check(self):
        with self.store.read() as tx:
            cursor, stored = tx.cursor(), tx.logs_above(-1)
        if cursor is not None:
            assert stored == [log for log in self.truth() if log.block_number <= cursor]

    def truth(self):
        asked = {"fromBlock": hex(CONTRACTS.deployed_at), "toBlock": "latest", "address": OURS}
        return [parse(raw) for raw in self.chain.call("eth_getLogs", asked)]

    def teardown(self):
        self.balancer.heal()
        self.chain.mine(70)  # above any branch that was left
        for _ in range(HEALED):
            self.follow()
        with self.store.read() as tx:
            assert tx.cursor() == int(self.chain.call("eth_blockNumber"), 16)
            assert tx.logs_above(-1) == self.truth()
        self.store.close()
        self.rpc.close()


TestReading = Reading.TestCase
TestReading.settings = machine(READINGS, 50)
