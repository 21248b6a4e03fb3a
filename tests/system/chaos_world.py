"""A network whose every process can be killed at any time: what a chaos run plays with.

```
 watcher, submitter ─▶ TcpProxy ─▶ RpcProxy ─▶ Anvil        stock Celery infer worker, a small model
                       (outages)   (two heights)            embedded IPFS, Redis
```
Requesters speak to Anvil itself: their transactions are what a reorganisation removes.
"""

import json
import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from oracle.chain.bindings.inference_market import Delivered, Finalized, Requested
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.ipfs import daemon
from oracle.protocol import tensor
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.store.job import JobState
from oracle.store.outbox import SqlOutbox
from oracle.types import NO_CLAIM, ZERO32, Order
from tests.system.rpc_proxy import RpcProxy
from tests.system.stock_world import StockWorld
from tests.system.tcp_proxy import TcpProxy
from tests.system.world import FEE, LIFETIME, PLENTY
from tests.worker.builders import digits_module, images

INPUTS = 16  # different ones
UNSERVED = 3600  # seconds that a request lives which nobody may answer
IMPATIENT = {"TALLYSTICK_REQUEUE_AFTER": "2"}  # seconds until a lost message is sent again
FINALITY = 4  # blocks
GAS = 500_000
# Anvil 1.7 keeps ever fewer states in memory, 10 after a thousand blocks, and a reorganisation to
# one of those on disk leaves no contract. With this it keeps so many, and none on disk
NODE = ("--prune-history", "512")
_LOG = {"watcher": "watcher", "submitter": "submit", "worker": "infer"}
_SIGN = {"watcher": b'"watching"', "submitter": b" ready.", "worker": b"infer.answered"}


class ChaosWorld(StockWorld):
    """One operator under faults; `tend` starts again what has ended by itself."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, block_time=None, finality_depth=FINALITY, node=NODE)
        self.counts: Counter[str] = Counter()
        self.deepest = 0
        self._two_nodes = RpcProxy(self.anvil.url)
        self.node = TcpProxy(int(self._two_nodes.url.rpartition(":")[2]))
        self.images = [images(seed=seed) for seed in range(INPUTS)]
        self.inputs = [tensor.encode({"image": image}) for image in self.images]
        for data in self.inputs:
            self.published.ipfs.publish_bytes(data)
        self._number_of = {sha256(data): at for at, data in enumerate(self.inputs)}
        self._settled_nonce = self.nonce()
        self._floor = self.head()  # what stands before the first request stays
        self._pids: dict[str, int] = {}
        self._logged: dict[str, int] = {}  # bytes of a process's log when it was started
        self._mining, self._stop_mining = threading.Lock(), threading.Event()
        threading.Thread(target=self._mine, daemon=True).start()

    def _mine(self) -> None:
        """Let blocks come; their transactions come with those that they are in."""
        while not self._stop_mining.wait(0.5):
            with self._mining:
                self.rpc.call("evm_mine")

    def close(self) -> None:
        self._stop_mining.set()
        self.kill("worker")
        with self._mining:
            super().close()
        self.node.close()
        self._two_nodes.close()

    # ── Chain ───────────────────────────────────────────────────────────────────────────────────

    def head(self) -> int:
        return int(self.rpc.call("eth_blockNumber"), 16)

    def send(self, account: str, call) -> None:
        """Send from an account of the node's own, which remembers nothing of what is removed."""
        body = {"from": account, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(GAS)}
        self.rpc.call("eth_sendTransaction", body)

    def ask_one(self, requester: int, number: int, kind: str) -> None:
        """Ask about an input; `kind`: who may answer (named, anybody, nobody)."""
        order = self.order(self.requesters[requester])
        whom = self.operator if kind == "named" else self.other
        life = UNSERVED if kind == "nobody" else LIFETIME
        order = Order(
            order.model_id, 1, order.lane, sha256(self.inputs[number]), ZERO32, ZERO32, FEE,
            1 if kind == "anybody" else life, life, whom.address,
        )  # fmt: skip
        self.send(self.requesters[requester].address, self.market.request(order))
        self.counts["requests sent"] += 1

    def requests(self) -> list[Requested]:
        return self.events(Requested)

    def all_mined(self) -> bool:
        """Say whether no requester's transaction waits for a block."""
        return all(self.nonce(wallet) == wallet.next_nonce() for wallet in self.requesters)

    def lag(self, blocks: int) -> None:
        """Put the second node behind the balancer so many blocks behind."""
        self._two_nodes.lag = blocks

    def reorg(self, depth: int, places: list[float]) -> None:
        """Replace the last blocks.

        `places` says where the removed transactions come back, as shares of the depth and in
        their old order; with an empty one they are gone.
        """
        with self._mining:
            self.rpc.call("evm_setAutomine", False)
            depth = min(depth, self.head() - self._floor)
            numbers = range(self.head() - depth + 1, self.head() + 1)
            blocks = self.rpc.batch([("eth_getBlockByNumber", hex(n), False) for n in numbers])
            hashes = [tx_hash for block in blocks for tx_hash in block["transactions"]]
            raws = [self.rpc.call("debug_getRawTransaction", tx_hash) for tx_hash in hashes]
            back = raws if places else []
            at = sorted(int(places[n % len(places)] * depth) for n in range(len(back)))
            self.rpc.call("anvil_reorg", depth, list(zip(back, at, strict=True)))
            self.rpc.call("evm_setAutomine", True)
            assert self.rpc.call("eth_getCode", self.market.address, "latest") != "0x"
        self.deepest = max(self.deepest, depth)
        self.counts["blocks removed"] += depth
        self.counts["transactions removed" if not places else "transactions moved"] += len(raws)

    # ── Processes ───────────────────────────────────────────────────────────────────────────────

    def tend(self) -> None:
        """Start what does not run, as a supervisor does."""
        for role in ("watcher", "submitter", "worker"):
            if not self.runs(role):
                self.counts[f"{role} started"] += 1
                log = self.log(_LOG[role])
                self._logged[role] = log.stat().st_size if log.exists() else 0
                self._pids[role] = self._start(role)

    def runs(self, role: str) -> bool:
        if role == "worker":
            return any(p.pid == self._pids.get(role) and p.poll() is None for p in self.processes)
        return role in self._pids and Path(f"/proc/{self._pids[role]}").exists()

    def at_work(self, role: str) -> bool:
        """Say whether a process that was started has done something since; starts what ended."""
        self.tend()
        text = self.log(_LOG[role]).read_bytes()[self._logged[role] :]
        waits = self.states()[JobState.QUEUED] + self.states()[JobState.COMPUTING]
        return _SIGN[role] in text or (role == "worker" and not waits)

    def kill(self, role: str) -> None:
        """kill -9 with all children, if it runs."""
        if self.runs(role):
            with suppress(ProcessLookupError):
                (os.killpg if role == "worker" else os.kill)(self._pids[role], signal.SIGKILL)
        for process in self.processes:
            if process.pid == self._pids.get(role):
                process.wait()

    def _start(self, role: str) -> int:
        url = {"TALLYSTICK_RPC_URL": f"http://127.0.0.1:{self.node.port}"}
        if role == "watcher":
            return self.fork_watcher(**url, **IMPATIENT)
        if role == "submitter":
            return self.fork_submitter(**url)
        return self.worker("infer", "-Q", "op.infer", "-c", "1").pid

    def kill_ipfs(self) -> None:
        os.killpg(self.ipfs.process.pid, signal.SIGKILL)
        self.ipfs.process.wait()

    def start_ipfs(self) -> None:
        port = int(self.settings.ipfs_api.rpartition(":")[2])
        self.ipfs = daemon.start_embedded(self.home / "ipfs", log=self.home / "ipfs.log", port=port)

    def stand(self) -> str:
        """Where jobs and transactions stand, and what the submitter said last."""
        live = SqlOutbox(self.store).live()
        last = self.log("submit").read_text().splitlines()[-40:]
        return "\n".join([str(dict(self.states())), *map(str, live[:5]), *last])

    # ── What came of it ─────────────────────────────────────────────────────────────────────────

    def journal(self) -> list[dict[str, str]]:
        """What the worker computed, as its log tells."""
        lines = []
        for line in self.log("infer").read_text().splitlines():
            with suppress(ValueError):  # cut off by a kill, or Celery's own
                lines.append(json.loads(line))
        return [line for line in lines if line.get("event") == "infer.answered"]

    def figures(self) -> dict[str, int]:
        """What the network counted."""
        broadcasts = self._two_nodes.broadcasts
        mined = self.nonce() - self._settled_nonce
        return {
            **self.counts,
            "deepest reorg": self.deepest,
            "computations": len(self.journal()),
            "operator's transactions on chain": mined,
            "operator's transactions sent": len(broadcasts),
            "of them sent again": broadcasts.total() - len(broadcasts),
        }

    def is_unserved(self, asked: Requested) -> bool:
        """Say whether nobody may answer a request but an operator that never does."""
        request = asked.request
        return request.operator == self.other.address and (
            request.priority_until == request.expires_at
        )

    def cancel(self, asked: Requested) -> None:
        """Have an expired request refunded."""
        self.send(self.requesters[0].address, self.market.cancel_expired(asked.request, NO_CLAIM))

    def assert_answers_are_right(self, asked: list[Requested]) -> None:
        """Fetch every delivered answer, and compare it with the model's."""
        inputs = {one.request_id: self._number_of[one.request.input_root] for one in asked}
        model = digits_module()
        right = [model(torch.from_numpy(image)).detach().numpy() for image in self.images]
        for event in self.events(Delivered):
            data = self.published.ipfs.fetch_bytes(raw_cid(event.output_root), 65536)
            logits = tensor.decode(data, 65536)["logits"]
            np.testing.assert_allclose(logits, right[inputs[event.request_id]], atol=1e-4)

    def assert_money_adds_up(self) -> None:
        """Every unit that was funded is where the events say, and nobody has been paid twice."""
        token = TestDollar(self.rpc, self.contracts.token)
        operators = OperatorRegistry(self.rpc, self.contracts.operator_registry)
        paid = self.events(Finalized)
        people = [w.address for w in (self.owner, self.operator, self.other, *self.requesters)]
        prepaid = {account: self.market.balance_of(account) for account in people}
        earnings = [self.market.model_earnings(model) for model in (1, 2)]
        stakes = [operators.stake_of(account) for account in people]
        held = [token.balance_of(a) for a in (self.market.address, operators.address)]

        assert held[0] == sum(prepaid.values()) + sum(map(sum, earnings))
        assert held[1] == sum(stake.staked for stake in stakes) == 2 * PLENTY
        assert all(stake.locked == 0 for stake in stakes)
        wallets = sum(token.balance_of(account) for account in people)
        assert sum(held) + wallets == token.total_supply() == 5 * PLENTY
        assert prepaid[self.operator.address] == sum(event.operator_fee for event in paid)
        asking = sum(prepaid[wallet.address] for wallet in self.requesters)
        assert asking == 3 * PLENTY - len(paid) * FEE

    def assert_all_on_chain_was_kept(self) -> None:
        """Every transaction of the operator is one that its outbox saw end."""
        outbox, found = SqlOutbox(self.store), 0
        numbers = range(self._floor, self.head() + 1)
        for block in self.rpc.batch([("eth_getBlockByNumber", hex(n), True) for n in numbers]):
            for sent in block["transactions"]:
                if sent["from"] == self.operator.address.lower():
                    found += 1
                    entry = outbox.mined_under(int(sent["nonce"], 16))
                    assert entry is not None
                    assert sent["hash"] in ["0x" + known.hex() for known in entry.hashes]
        assert found == self.nonce() - self._settled_nonce
