"""A whole network of real processes for the system tests: chain, Redis, operator; and its people.

The operator is a real watcher (forked from a zygote, so that it can be killed often), the real
submitter, and a stub in place of the GPU.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from oracle.chain import keystore as keys
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.inference_market import (
    Cancelled,
    Delivered,
    Finalized,
    InferenceMarket,
    Requested,
)
from oracle.chain.bindings.model_registry import ModelRegistered, ModelRegistry, Publication
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.event import Event
from oracle.chain.logs import decode_all
from oracle.chain.rpc import Rpc, quantity
from oracle.chain.scan import Scanner
from oracle.chain.wallet import Wallet
from oracle.config import Settings, save_network
from oracle.devnet import redis as redis_server
from oracle.devnet.supervisor import Supervisor
from oracle.ipfs import daemon
from oracle.ports import free_port
from oracle.store.job import Job, JobState
from oracle.store.store import Store
from oracle.types import ZERO32, Address, Amount, Assurance, Bytes32, Order, RequestId
from tests.support.waiting import wait_until

DOLLAR = 10**6
FEE = Amount(DOLLAR // 20)
PLENTY = Amount(10_000 * DOLLAR)  # what each operator stakes, and each requester pays in
WINDOW = 2  # seconds of challenge
# Longer than any test, whatever the machine; tests move the chain's clock on
DEMAND = 1800  # seconds to post a demanded output
TURN, CLOCK = 60, 900  # seconds: shortest turn of a dispute, thinking beyond it
LIFETIME = 86_400  # blocks come faster than seconds here: each one moves the chain's time by one


class World:
    """One deployment: owner (account 0), operator (1), one that never answers (2), requesters."""

    def __init__(
        self,
        home: Path,
        *,
        block_time: int | None = 1,
        finality_depth: int = 0,
        window: int = WINDOW,
        node: Sequence[str] = (),
    ) -> None:
        """Start servers and deploy; `node`: more arguments of Anvil."""
        self.home = home
        self.window = window
        self.ipfs = daemon.start_embedded(home / "ipfs", log=home / "ipfs.log")
        self.anvil = Anvil(
            block_time=block_time, log=home / "anvil.log", state=home / "anvil.json", extra=node
        )
        self.anvil.start()
        self.rpc = self.anvil.rpc
        self.owner, self.operator, self.other = (Wallet(self.rpc, dev_account(i)) for i in range(3))
        self.requesters = [Wallet(self.rpc, dev_account(i)) for i in range(3, 6)]
        config = DeployConfig(
            claim_period=3600, demand_period=DEMAND, min_reply=TURN, clock=CLOCK,
            unbonding_delay=4 * 3600,
        )  # fmt: skip
        self.contracts = deploy(self.owner, config)
        self.market = InferenceMarket(self.rpc, self.contracts.inference_market)
        self.model_id = self._people()
        self.redis_port = free_port()
        self._redis: Supervisor | None = None
        self.start_redis()
        self.settings = Settings(
            home=home,
            rpc_url=self.anvil.url,
            redis_url=redis_server.url_of(self.redis_port),
            ipfs_api=self.ipfs.api_url,
            finality_depth=finality_depth,
            contracts=self.contracts,
            operator="op",
        )
        save_network(self.settings)
        self.store = Store.open(self.settings.database_url)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._zygote: subprocess.Popen[str] | None = None
        self._lanes: Counter[Address] = Counter()

    # ── Before anything is asked ────────────────────────────────────────────────────────────────

    def _people(self) -> int:
        rpc, contracts = self.rpc, self.contracts
        registry = ModelRegistry(rpc, contracts.model_registry)
        operators = OperatorRegistry(rpc, contracts.operator_registry)
        token = TestDollar(rpc, contracts.token)
        publication = Publication(
            Bytes32(b"\x01" * 32), Bytes32(b"\x02" * 32), Assurance.COMMITTEE,
            1, FEE, 7000, 0, 1, self.window, 0,
        )  # fmt: skip
        receipt = self.owner.send(registry.register_model("stub", 0))
        (made,) = [e for e in decode_all(receipt.logs) if isinstance(e, ModelRegistered)]
        self.owner.send(registry.publish_version(made.model_id, ZERO32, publication))
        for wallet in (self.operator, self.other):
            wallet.send_all(
                [
                    token.faucet(wallet.address, PLENTY),
                    token.approve(contracts.operator_registry, PLENTY),
                ]
            )
            wallet.send(operators.register(ZERO32, ""))
            wallet.send(operators.stake(wallet.address, PLENTY))
            self.owner.send(operators.authorize(made.model_id, wallet.address, True))
        for wallet in self.requesters:
            wallet.send_all(
                [
                    token.faucet(wallet.address, PLENTY),
                    token.approve(contracts.inference_market, PLENTY),
                ]
            )
            wallet.send(self.market.deposit(wallet.address, PLENTY))
        return made.model_id

    # ── Requests ────────────────────────────────────────────────────────────────────────────────

    def order(
        self, wallet: Wallet, *, preferred: Address | None = None, priority: int = 0
    ) -> Order:
        """Make the next order of a requester; for the operator unless another is preferred."""
        lane = self._lanes[wallet.address]
        self._lanes[wallet.address] += 1
        return Order(
            model_id=self.model_id,
            version=1,
            lane=lane,
            input_root=Bytes32(os.urandom(32)),
            input_cid=ZERO32,
            params=ZERO32,
            max_fee=FEE,
            priority_window=priority or LIFETIME,
            lifetime=LIFETIME,
            operator=preferred or self.operator.address,
        )

    def ask(self, count: int, **order: object) -> list[RequestId]:
        """Send requests of one requester and return their ids."""
        wallet = self.requesters[0]
        calls = [self.market.request(self.order(wallet, **order)) for _ in range(count)]  # type: ignore[arg-type]
        receipts = wallet.send_all(calls)
        events = [event for receipt in receipts for event in decode_all(receipt.logs)]
        return [event.request_id for event in events if isinstance(event, Requested)]

    # ── Servers ─────────────────────────────────────────────────────────────────────────────────

    def start_redis(self) -> None:
        program = redis_server.find_server()
        spec = redis_server.spec(
            program,
            self.home / "redis",
            redis_server.url_of(self.redis_port),
            self.home / "redis.log",
        )
        self._redis = Supervisor([replace(spec, restart=False)])
        self._redis.start()

    def kill_redis(self) -> None:
        """kill -9: everything that was in it is gone."""
        with Redis.from_url(self.settings.redis_url) as client:
            pid = int(client.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not redis_server.answers(self.settings.redis_url), "Redis is gone")
        if self._redis:
            self._redis.stop()

    # ── The operator's processes ────────────────────────────────────────────────────────────────

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of the operator's processes."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
        return {
            **inherited,
            "TALLYSTICK_HOME": str(self.home),
            "TALLYSTICK_OPERATOR": "op",
            "TALLYSTICK_OPERATOR_ADDRESS": self.operator.address,
            "TALLYSTICK_POLL_INTERVAL": "0.05",
            "TALLYSTICK_LOG_FORMAT": "json",
            **more,
        }

    def fork_watcher(self, **more: str) -> int:
        """Start a watcher and return its pid."""
        return self._fork("watcher", **more)

    def fork_submitter(self, **more: str) -> int:
        """Start the real submitter and return its pid."""
        return self._fork("submit", **(self._secrets() | more))

    def _fork(self, role: str, **more: str) -> int:
        if self._zygote is None:
            with (self.home / "zygote.log").open("ab") as log:
                self._zygote = subprocess.Popen(
                    [sys.executable, "-m", "tests.system.zygote"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                )  # fmt: skip
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        log_path = str(self.home / f"{role}.log")
        order = {"role": role, "environ": self.environ(**more), "log": log_path}
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())

    def start(self, *argv: str, **more: str) -> subprocess.Popen[bytes]:
        """Start one of the operator's processes."""
        name = argv[-1].replace("/", "_")
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *argv], env=self.environ(**more), stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start the stub in place of the infer worker."""
        return self.start("tests.system.stub_worker", str(self.home / "journal"))

    def start_submitter(self) -> subprocess.Popen[bytes]:
        """Start the real submitter."""
        return self.start("worker", "--role", "submit", **self._secrets())

    def _secrets(self) -> dict[str, str]:
        """Return the variables that only the submitter gets."""
        keystore, password = self.home / "op.json", self.home / "password"
        if not keystore.exists():
            password.write_text("secret")
            password.chmod(0o600)
            keys.save(keystore, dev_account(1), keys.password_file(password), scrypt_n=2)
        return {"TALLYSTICK_KEY": str(keystore), "TALLYSTICK_PASSWORD_FILE": str(password)}

    # ── What came of it ─────────────────────────────────────────────────────────────────────────

    def job(self, request_id: RequestId) -> Job | None:
        with self.store.read() as tx:
            return tx.job(request_id)

    def states(self) -> Counter[JobState]:
        with self.store.read() as tx:
            return Counter(tx.job_counts())

    def journal(self) -> list[dict[str, str]]:
        """What the worker computed, in order."""
        path = self.home / "journal"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log_of(self, role: str) -> list[dict[str, Any]]:
        """What a process has logged."""
        path = self.home / f"{role}.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_settled(self, count: int) -> None:
        """Wait until so many jobs are settled."""
        wait_until(
            lambda: self.states()[JobState.SETTLED] == count,
            lambda: f"{count} settled jobs, there are {dict(self.states())}",
            progress=self.states,
        )

    def events(self, kind: type[Event] = Event) -> list[Any]:
        """What market and dispute game have said, in the order of the chain."""
        watched = [self.contracts.inference_market, self.contracts.dispute_game]
        with Rpc(self.anvil.url) as rpc:
            scanner = Scanner(rpc, watched)
            logs = [log for chunk in scanner.scan(0, scanner.head()) for log in chunk.logs]
        return [event for event in decode_all(logs) if isinstance(event, kind)]

    def nonce(self, wallet: Wallet | None = None) -> int:
        """How many transactions of an account, the operator's by default, are on the chain."""
        account = (wallet or self.operator).address
        return quantity(self.rpc.call("eth_getTransactionCount", account, "latest"))

    def staked(self) -> int:
        operators = OperatorRegistry(self.rpc, self.contracts.operator_registry)
        return operators.stake_of(self.operator.address).staked

    def assert_exactly_once(
        self, ids: Sequence[RequestId], refunded: Sequence[RequestId] = ()
    ) -> None:
        """Hold chain, store and journal against each other, request by request."""
        events = self.events()
        for kind, served in ((Delivered, ids), (Finalized, ids), (Cancelled, refunded)):
            assert Counter(e.request_id for e in events if isinstance(e, kind)) == Counter(served)
        delivered = {e.request_id: e for e in events if isinstance(e, Delivered)}
        with self.store.read() as tx:
            jobs = tx.jobs(limit=10 * (len(ids) + len(refunded)))
        states = {job.request_id: job.state for job in jobs}
        assert states == dict.fromkeys(ids, JobState.SETTLED) | dict.fromkeys(
            refunded, JobState.CANCELLED
        )
        computed: dict[str, set[str]] = {}
        for entry in self.journal():
            computed.setdefault(entry["request_id"], set()).add(entry["output_root"])
        for job in (job for job in jobs if job.state is JobState.SETTLED):
            root = delivered[job.request_id].output_root
            assert job.answer is not None
            assert job.answer.output_root == root  # the answer it stands by is the one on chain
            assert "0x" + root.hex() in computed["0x" + job.request_id.hex()]

    def close(self) -> None:
        """Stop everything that was started."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        if self._zygote is not None:
            for forked in psutil.Process(self._zygote.pid).children():
                with suppress(psutil.NoSuchProcess):
                    forked.kill()
            self._zygote.kill()
            self._zygote.wait()
        self.store.close()
        if self._redis:
            self._redis.stop()
        self.ipfs.stop()
        self.anvil.stop()


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal and wait until the process is gone."""
    os.kill(pid, number)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"process {pid} is gone")
