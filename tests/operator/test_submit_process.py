"""A real `python -m worker --role submit` on Anvil and Redis: deliveries, settlement, kill -9."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from celery import Celery

from oracle.chain import keystore
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.inference_market import (
    Claimed,
    Delivered,
    Finalized,
    InferenceMarket,
    Requested,
)
from oracle.chain.bindings.model_access import ModelAccess, Policy
from oracle.chain.bindings.model_registry import ModelRegistered, ModelRegistry, Publication
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.deploy import deploy
from oracle.chain.logs import decode_all, parse
from oracle.chain.wallet import Wallet
from oracle.config import Settings, save_network
from oracle.devnet import redis as redis_server
from oracle.devnet.supervisor import Supervisor
from oracle.ports import free_port
from oracle.protocol.hexadecimal import to_hex
from oracle.store.job import Job, SlotPhase
from oracle.store.store import Store
from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Amount,
    Assurance,
    Bytes32,
    Claim,
    Delivery,
    Order,
    RequestId,
)
from tests.support.waiting import exit_code, wait_until

pytestmark = pytest.mark.real
DOLLAR = 10**6


class World:
    """A chain with a model and an operator, and that operator's store and queue."""

    def __init__(self, home, anvil, redis_url):
        self.anvil = anvil
        owner, me, asker = (Wallet(anvil.rpc, dev_account(n)) for n in (0, 1, 2))
        contracts = deploy(owner)
        self.me, self.asker = me.address, asker
        self.market = InferenceMarket(anvil.rpc, contracts.inference_market)
        registry = ModelRegistry(anvil.rpc, contracts.model_registry)
        access = ModelAccess(anvil.rpc, contracts.model_access)
        operators = OperatorRegistry(anvil.rpc, contracts.operator_registry)
        token = TestDollar(anvil.rpc, contracts.token)
        self.model = owner.send(registry.register_model("m", 0)).one(ModelRegistered).model_id
        owner.send_all(
            [
                registry.publish_version(
                    self.model,
                    registry.head_of(self.model),
                    Publication(
                        Bytes32(b"\1" * 32),
                        Bytes32(b"\2" * 32),
                        Assurance.COMMITTEE,
                        tolerance=1,
                        fee=Amount(DOLLAR),
                        operator_bps=7000,
                        data_bps=0,
                        insured_multiple=1,
                        challenge_window=1,
                    ),
                ),
                access.set_policy(self.model, Policy.OPEN, 0, 0),
            ]
        )
        for wallet in (me, asker):
            wallet.send(token.faucet(wallet.address, Amount(1000 * DOLLAR)))
        me.send(operators.register(ZERO32, ""))
        owner.send(operators.authorize(self.model, me.address, True))
        me.send(token.approve(operators.address, Amount(500 * DOLLAR)))
        me.send(operators.stake(me.address, Amount(500 * DOLLAR)))
        asker.send(token.approve(self.market.address, Amount(500 * DOLLAR)))
        asker.send(self.market.deposit(asker.address, Amount(500 * DOLLAR)))
        password = home / "password"
        password.write_text("secret\n")
        keystore.save(home / "keys" / "me.json", dev_account(1), lambda: "secret", scrypt_n=2)
        self.settings = Settings(
            home=home, rpc_url=anvil.url, redis_url=redis_url, operator="op", key="me",
            password_file=str(password), contracts=contracts, poll_interval=0.05,
        )  # fmt: skip
        save_network(self.settings)
        self.store = Store.open(self.settings.database_url)
        self.lane = 0

    def request(self, count, priority_window=3600):
        """Ask and tell the store, as the watcher would; return the ids."""
        ids = []
        for _ in range(count):
            self.lane += 1
            order = Order(
                model_id=self.model, version=1, lane=self.lane, input_root=Bytes32(b"\3" * 32),
                input_cid=ZERO32, params=ZERO32, max_fee=Amount(DOLLAR),
                priority_window=priority_window, lifetime=7200,
                operator=self.me if priority_window else ZERO_ADDRESS,
            )  # fmt: skip
            event = self.asker.send(self.market.request(order)).one(Requested)
            with self.store.begin() as tx:
                tx.put_job(Job(event.request_id, event.request))
            ids.append(event.request_id)
        return ids

    def send(self, task, **payload):
        with Celery(broker=self.settings.redis_url, set_as_current=False) as app:
            app.send_task(f"tallystick.{task}", kwargs=payload, queue="op.submit")

    def deliver(self, request_id, root=b"\4"):
        hexed = {"request_id": to_hex(request_id), "output_root": to_hex(root * 32)}
        self.send("deliver", **hexed, output_cid=to_hex(ZERO32))

    def events(self, kind):
        """All events of a kind that the market has logged."""
        raw = self.anvil.rpc.call(
            "eth_getLogs", {"fromBlock": "0x0", "address": self.market.address}
        )
        return [e for e in decode_all([parse(entry) for entry in raw]) if isinstance(e, kind)]

    @contextmanager
    def running(self, **changes):
        environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
        environ |= {
            "TALLYSTICK_HOME": str(self.settings.home),
            "TALLYSTICK_OPERATOR": "op",
            "TALLYSTICK_KEY": "me",
            "TALLYSTICK_PASSWORD_FILE": self.settings.password_file,
            "TALLYSTICK_POLL_INTERVAL": "0.05",
            "TALLYSTICK_LOG_FORMAT": "json",
            **changes,
        }
        log = self.settings.home / f"submit-{time.monotonic_ns()}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "--role", "submit"],
                env=environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        process.log = log
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    port = free_port()
    spec = redis_server.spec(redis_server.find_server(), home / "redis", port, home / "redis.log")
    with Anvil(log=home / "anvil.log") as anvil, Supervisor([spec]) as redis:
        redis.start()
        world = World(home, anvil, redis_server.url_of(port))
        yield world
        world.store.close()


def test_submit__without_password__exits_with_a_sentence(world):
    with world.running(TALLYSTICK_PASSWORD_FILE="") as process:
        assert exit_code(process) == 78
        assert "TALLYSTICK_PASSWORD_FILE" in process.log.read_text()


def test_submit__answers_that_wait__share_a_transaction_and_are_settled(world):
    ids = world.request(5)
    unknown = RequestId(b"\7" * 32)
    for request_id in [*ids, ids[0], unknown]:
        world.deliver(request_id)
    world.deliver(ids[1], root=b"\5")  # another answer: the first stands
    world.send("deliver", request_id="0x00")  # malformed
    with world.running() as process:
        delivered = wait_until(
            lambda: len(world.events(Delivered)) == 5 and world.events(Delivered),
            process=process,
            log=process.log,
        )
        assert {e.request_id for e in delivered} == set(ids)
        assert {e.output_root for e in delivered} == {b"\4" * 32}
        with world.store.begin() as tx:
            for event in delivered:
                job = tx.job(event.request_id)
                delivery = Delivery(event.operator, event.delivered_at, event.output_root)
                tx.put_job(replace(job, phase=SlotPhase.DELIVERED, delivery=delivery))
        world.anvil.rpc.call("evm_increaseTime", 5)
        world.anvil.rpc.call("evm_mine")
        world.send("finalize", request_ids=[to_hex(i) for i in ids])
        wait_until(lambda: len(world.events(Finalized)) == 5, process=process, log=process.log)
        process.send_signal(signal.SIGTERM)
        assert exit_code(process) == 0
    mined = [line for line in process.log.read_text().splitlines() if '"submit.mined"' in line]
    deliveries = [line for line in mined if '"kind": "deliver"' in line]
    # How many share one depends on how fast the messages are read
    assert len(deliveries) < len(ids), "deliveries that wait share a transaction"


def test_submit__killed_before_the_block__the_same_transaction_is_mined_once(world):
    (request_id,) = world.request(1)
    already = len(world.events(Delivered))
    world.anvil.rpc.call("evm_setAutomine", False)
    try:
        with world.running() as process:
            world.deliver(request_id)
            wait_until(
                lambda: int(world.anvil.rpc.call("txpool_status")["pending"], 16) == 1,
                process=process,
                log=process.log,
            )
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with world.running() as process:
            world.deliver(request_id)  # the watcher's repeat
            wait_until(
                lambda: '"submit.ready"' in process.log.read_text(),
                process=process,
                log=process.log,
            )
            time.sleep(1.0)  # it may look at its outbox, and must not send anything else
            assert int(world.anvil.rpc.call("txpool_status")["pending"], 16) == 1
            world.anvil.rpc.call("evm_mine")
            wait_until(
                lambda: '"submit.mined"' in process.log.read_text(),
                process=process,
                log=process.log,
            )
    finally:
        world.anvil.rpc.call("evm_setAutomine", True)
    assert len(world.events(Delivered)) == already + 1


def test_submit__claim_then_deliver__uses_the_claim(world):
    (request_id,) = world.request(1, priority_window=0)
    already = len(world.events(Delivered))
    with world.running() as process:
        world.send("claim", request_id=to_hex(request_id))
        (event,) = wait_until(lambda: world.events(Claimed), process=process, log=process.log)
        with world.store.begin() as tx:
            job = tx.job(request_id)
            tx.put_job(
                replace(job, phase=SlotPhase.CLAIMED, claim=Claim(event.operator, event.until))
            )
        world.deliver(request_id)
        wait_until(
            lambda: len(world.events(Delivered)) == already + 1, process=process, log=process.log
        )


def test_submit__report_failure__reaches_the_store(world):
    (request_id,) = world.request(1)
    with world.running() as process:
        world.send(
            "report_failure", request_id=to_hex(request_id), error="InputInvalid",
            message="NaN", permanent=True,
        )  # fmt: skip

        def recorded():
            with world.store.read() as tx:
                return tx.failures(request_id) == (0, True)

        wait_until(recorded, process=process, log=process.log)
