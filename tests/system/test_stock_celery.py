"""Celery as its users know it: two stock workers do all, and the stock tools see them."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from oracle.chain.bindings.inference_market import Requested
from oracle.chain.bindings.model_registry import ModelRegistered, ModelRegistry, Publication
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.ipfs.client import IpfsClient
from oracle.ports import free_port
from oracle.protocol import tensor
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.queue.messages import MESSAGES
from oracle.store.job import JobState
from oracle.types import ZERO32, Assurance, Order
from tests.support.waiting import wait_until
from tests.system.world import FEE, LIFETIME, World
from tests.worker.builders import Published, images, write_digits

pytestmark = pytest.mark.real

BIN = Path(sys.executable).parent


class StockWorld(World):
    """A float model whose weights are on IPFS, and workers that `celery` started."""

    def __init__(self, home):
        super().__init__(home)

    def _people(self):
        super()._people()
        self.published = Published(
            IpfsClient(self.ipfs.api_url), write_digits(self.home / "digits")
        )
        registry = ModelRegistry(self.rpc, self.contracts.model_registry)
        made = self.owner.send(registry.register_model("digits", 0)).one(ModelRegistered)
        publication = Publication(
            self.published.digest, self.published.root, Assurance.COMMITTEE, 10**6, FEE, 7000, 0,
            1, self.window,
        )  # fmt: skip
        self.owner.send(registry.publish_version(made.model_id, ZERO32, publication))
        operators = OperatorRegistry(self.rpc, self.contracts.operator_registry)
        self.owner.send(operators.authorize(made.model_id, self.operator.address, True))
        return made.model_id

    def celery(self, *arguments, **more):
        """Run a command of `celery` that ends; return its output."""
        done = subprocess.run(
            [BIN / "celery", "-A", "worker.app", *arguments],
            env=self.environ(**more), cwd=self.home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def worker(self, name, *arguments, **more):
        """Start a worker with the command that Celery's documentation teaches."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [BIN / "celery", "-A", "worker.app", "worker", "-n", f"{name}@%h", *arguments],
                env=self.environ(**more), cwd=self.home, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def close(self):
        """Stop workers with their children: embedded beat outlives a worker that is killed."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(120)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        super().close()

    def log(self, name):
        return self.home / f"{name}.log"

    def ask_digits(self):
        data = tensor.encode({"image": images(seed=3)})
        self.published.ipfs.publish_bytes(data)
        order = self.order(self.requesters[0])
        order = Order(
            order.model_id, 1, order.lane, sha256(data), ZERO32, ZERO32, FEE, LIFETIME, LIFETIME,
            self.operator.address,
        )  # fmt: skip
        return self.requesters[0].send(self.market.request(order)).one(Requested).request_id


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = StockWorld(tmp_path_factory.mktemp("stock"))
    made.worker("one", "-B", "-Q", "op.watch,op.infer", "-c", "1")
    made.worker("two", "-Q", "op.submit", **made._secrets())
    wait_until(
        lambda: all(made.log(name).exists() and "ready." in _text(made, name) for name in NAMES),
        lambda: "\n".join(_text(made, name)[-3000:] for name in NAMES),
    )
    yield made
    made.close()


NAMES = ("one", "two")


def _text(world, name):
    return world.log(name).read_text()


def test_workers__request_on_chain__watched_computed_delivered_and_settled(world):
    request_id = world.ask_digits()
    world.wait_settled(1)

    job = world.job(request_id)
    assert job.state is JobState.SETTLED
    output = world.published.ipfs.fetch_bytes(raw_cid(job.delivery.output_root), 65536)
    assert tensor.decode(output, 65536)["logits"].shape == (1, 10)
    assert '"holds_key": false' in _text(world, "one")
    assert '"holds_key": true' in _text(world, "two")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("inspect", "ping"), ["one@", "two@", "pong", "2 nodes online"]),
        (("inspect", "active"), ["one@", "two@"]),
        (("inspect", "registered"), [kind.name for kind in MESSAGES]),
        (("status",), ["one@", "two@", "2 nodes online"]),
    ],
    ids=" ".join,
)
def test_tools__two_workers__are_seen(world, command, said):
    last = []

    def seen():  # who is busy answers the next call
        code, text = world.celery(*command, "--timeout", "2")
        last[:] = [text]
        return code == 0 and all(word in text for word in said)

    wait_until(seen, lambda: last[0])


def test_inspect__another_operator_of_the_same_redis__sees_nobody(world):
    code, text = world.celery("inspect", "ping", TALLYSTICK_OPERATOR="stranger")

    assert code != 0
    assert "one@" not in text
    assert "No nodes replied" in text


def test_flower__two_workers__are_shown(world):
    port = free_port()
    with world.log("flower").open("ab") as log:
        process = subprocess.Popen(
            [BIN / "celery", "-A", "worker.app", "flower", f"--port={port}", "--address=127.0.0.1"],
            env=world.environ(FLOWER_UNAUTHENTICATED_API="true"), cwd=world.home, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
    world.processes.append(process)

    def shown():
        with suppress(OSError):
            url = f"http://127.0.0.1:{port}/api/workers?refresh=1"
            with urllib.request.urlopen(url, timeout=300) as answer:
                return {name.split("@")[0] for name in json.load(answer)} >= set(NAMES)
        return False

    wait_until(shown, lambda: _text(world, "flower")[-3000:])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("worker", "-Q", "op.nothing"), 78, "op.nothing"),
        (("worker", "-Q", "op.submit"), 78, "TALLYSTICK_PASSWORD_FILE"),
    ],
)
def test_worker__cannot_serve_its_queues__exits_with_a_sentence(world, arguments, code, said):
    found, text = world.celery(*arguments)

    assert (found, said in text) == (code, True), text


def test_worker__cannot_start_what_runs_beside_its_tasks__exits_with_a_sentence(world):
    found, text = world.celery("worker", "-Q", "op.respond", TALLYSTICK_LISTEN="nowhere")

    assert (found, "TALLYSTICK_LISTEN='nowhere' is not host:port" in text) == (78, True), text


def test_worker__without_torch__says_so_and_takes_nothing(world):
    hide = "import sys; sys.modules['torch'] = None; from celery.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hide, "-A", "worker.app", "worker", "-Q", "op.infer"],
        env=world.environ(), cwd=world.home, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 72, done.stderr
    assert "pip install 'tallystick[worker]'" in done.stderr


def test_remote_control__turned_off__nobody_answers(world):
    # The setting is the worker's: whoever asks is not asked
    wait_until(lambda: world.celery("inspect", "ping", TALLYSTICK_REMOTE_CONTROL="false")[0] == 0)

    process = world.worker("three", "-Q", "op.infer", "-c", "1", TALLYSTICK_REMOTE_CONTROL="false")
    wait_until(
        lambda: world.log("three").exists() and "ready." in _text(world, "three"),
        lambda: _text(world, "three")[-3000:],
    )

    def answers():
        _, text = world.celery("inspect", "ping", "--timeout", "2")
        assert "three@" not in text
        return "one@" in text

    wait_until(answers, "an answer of the others")
    process.terminate()
    process.wait()
