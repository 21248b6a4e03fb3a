"""Celery as its users know it: two stock workers do all, and the stock tools see them."""

import json
import subprocess
import sys
import urllib.request
from contextlib import suppress

import pytest

from oracle.ports import free_port
from oracle.protocol import tensor
from oracle.protocol.cid import raw_cid
from oracle.queue.messages import MESSAGES
from oracle.store.job import JobState
from tests.support.waiting import wait_until
from tests.system.stock_world import BIN, StockWorld

pytestmark = pytest.mark.real


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
