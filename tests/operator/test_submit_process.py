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
from redis import Redis

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
from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.ports import free_port
from oracle.protocol.canonical import sha256
from oracle.queue import celery_app
from oracle.queue.messages import (
    ClaimMessage,
    DeliverMessage,
    FinalizeMessage,
    ReportFailureMessage,
)
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
from tests.support import clock
from tests.support.waiting import exit_code, wait_until

pytestmark = pytest.mark.real
DOLLAR = 10**6


class World:
    """A chain with a model and an operator, and that operator's store and queue."""

    def __init__(self, home, anvil, redis_url, ipfs_api):
        self.anvil = anvil
        self.ipfs = IpfsClient(ipfs_api)
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
                        fee=Amount(DOLLAR // 20),
                        operator_bps=7000,
                        data_bps=0,
                        insured_multiple=1,
                        challenge_window=1,
                        max_units=0,
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
            home=home, rpc_url=anvil.url, redis_url=redis_url, ipfs_api=ipfs_api,
            operator="op", key="me",
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

    def send(self, message):
        with celery_app.create(lambda: self.settings) as app:
            celery_app.send(app, message)

    def forge(self, message):
        """Do what whoever reaches Redis can do."""
        with Celery(broker=self.settings.redis_url, set_as_current=False) as app:
            app.send_task(message.name, kwargs=message.to_json(), queue="op.submit")

    def deliver(self, request_id, output=b"\4"):
        root = self.ipfs.publish_bytes(output).sha256
        self.send(DeliverMessage(request_id, root, ZERO32))

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
    url = redis_server.url_of(port, "a-password")
    spec = redis_server.spec(redis_server.find_server(), home / "redis", url, home / "redis.log")
    node = daemon.start_embedded(home / "ipfs", log=home / "ipfs.log")
    with Anvil(log=home / "anvil.log") as anvil, Supervisor([spec]) as redis:
        clock.stop(anvil.rpc)
        redis.start()
        world = World(home, anvil, url, node.api_url)
        yield world
        world.store.close()
    node.stop()


def test_submit__without_password__exits_with_a_sentence(world):
    with world.running(TALLYSTICK_PASSWORD_FILE="") as process:
        assert exit_code(process) == 78
        assert "TALLYSTICK_PASSWORD_FILE" in process.log.read_text()


def test_submit__answers_that_wait__share_a_transaction_and_are_settled(world):
    ids = world.request(5)
    unknown = RequestId(b"\7" * 32)
    for request_id in [*ids, ids[0], unknown]:
        world.deliver(request_id)
    world.deliver(ids[1], output=b"\5")  # another answer: the first stands
    with world.running() as process:
        delivered = wait_until(
            lambda: len(world.events(Delivered)) == 5 and world.events(Delivered),
            process=process,
            log=process.log,
        )
        assert {e.request_id for e in delivered} == set(ids)
        assert {e.output_root for e in delivered} == {sha256(b"\4")}
        with world.store.begin() as tx:
            for event in delivered:
                job = tx.job(event.request_id)
                delivery = Delivery(event.operator, event.stamp, event.output_root)
                tx.put_job(replace(job, phase=SlotPhase.DELIVERED, delivery=delivery))
        clock.pass_time(world.anvil.rpc, 5)
        world.send(FinalizeMessage(tuple(ids)))
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
        world.send(ClaimMessage(request_id))
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
        world.send(ReportFailureMessage(request_id, "InputInvalid", "NaN", permanent=True))

        def recorded():
            with world.store.read() as tx:
                return tx.failures(request_id) == (0, True)

        wait_until(recorded, process=process, log=process.log)


def test_submit__forged_replayed_and_broken_items__put_aside_and_work_goes_on(world):
    """FAULTS: whoever reached Redis had an invented root delivered within three seconds."""
    robbed, honest = world.request(2)
    already = len(world.events(Delivered))
    root = world.ipfs.publish_bytes(b"invented").sha256
    nowhere = DeliverMessage(robbed, Bytes32(b"\4" * 32), ZERO32)
    with Redis.from_url(world.settings.redis_url) as redis, world.running() as process:
        redis.delete("op.submit.dead", "op.submit.dead.count")
        sealed = DeliverMessage(honest, world.ipfs.publish_bytes(b"good").sha256, ZERO32)
        world.send(replace(sealed, request_id=RequestId(b"\6" * 32)))
        stolen = redis.lindex("op.submit", 0) or b"{}"  # unless it was taken already
        for item in (b"not JSON", b"[]", b"{}", b"7", b'"x"', b"[" * 100_000, b"\xff", stolen[:40]):
            redis.lpush("op.submit", item)
        world.forge(DeliverMessage(robbed, root, ZERO32))
        world.forge(ClaimMessage(robbed))
        world.send(nowhere)  # of a worker that was taken over: nobody has these bytes
        redis.lpush("op.submit", stolen)
        world.send(sealed)
        wait_until(
            lambda: len(world.events(Delivered)) == already + 1, process=process, log=process.log
        )
        wait_until(
            lambda: int(redis.get("op.submit.dead.count") or 0) >= 10,
            process=process,
            log=process.log,
        )
        assert process.poll() is None
        assert redis.llen("op.submit.dead") >= 10
    (event,) = world.events(Delivered)[already:]
    assert (event.request_id, event.output_root) == (honest, sealed.output_root)
