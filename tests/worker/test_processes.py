"""A real Redis, the embedded IPFS node and a real `python -m worker`, also when they are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from redis import Redis

from oracle.config import Settings
from oracle.devnet import redis as redis_server
from oracle.devnet.supervisor import Supervisor
from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.ports import free_port
from oracle.protocol import tensor
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.protocol.hexadecimal import parse_bytes32, to_hex
from oracle.queue import celery_app
from oracle.types import ZERO32
from tests.support.waiting import exit_code, wait_until
from tests.worker.builders import Published, images, write_digits

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Redis and IPFS, started once for all tests of this file."""
    home = tmp_path_factory.mktemp("home")
    url = redis_server.url_of(free_port())
    spec = redis_server.spec(redis_server.find_server(), home / "redis", url, home / "redis.log")
    with Supervisor([spec]) as redis:
        redis.start()
        node = daemon.start_embedded(home / "ipfs", log=home / "ipfs.log")
        try:
            yield Settings(home=home, redis_url=url, ipfs_api=node.api_url, operator="op")
        finally:
            node.stop()


@pytest.fixture
def redis(settings):
    with Redis.from_url(settings.redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def model(settings, tmp_path):
    return Published(IpfsClient(settings.ipfs_api), write_digits(tmp_path / "digits"))


@contextmanager
def running(settings, *, code="", arguments=("--processes", "1")):
    """A worker in a process group of its own; `code` runs first in its main process."""
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")},
        "TALLYSTICK_HOME": str(settings.home),
        "TALLYSTICK_REDIS_URL": settings.redis_url,
        "TALLYSTICK_IPFS_API": settings.ipfs_api,
        "TALLYSTICK_OPERATOR": settings.operator,
        "TALLYSTICK_LOG_FORMAT": "json",
        "TALLYSTICK_CACHE_BYTES": "1000000000",
    }
    start = f"{code}\nfrom worker.__main__ import main\nimport sys\nsys.exit(main(sys.argv[1:]))"
    log = settings.home / f"worker-{time.monotonic_ns()}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", start, "--role", "infer", *arguments],
            env=environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    process.log = log
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def enqueue(settings, job, **changes):
    """Send a job as the watcher does; `changes` make a sealed one that no reader takes."""
    sent = SimpleNamespace(name=job.name, to_json=lambda: job.to_json() | changes)
    with celery_app.create(lambda: settings) as app:
        celery_app.send(app, sent)


def messages(redis, settings):
    """What waits on the submit queue: (task, payload)."""
    return [
        (body["headers"]["task"], json.loads(_decode(body))[1])
        for body in map(json.loads, redis.lrange(settings.queue("submit"), 0, -1))
    ]


def _decode(body):
    import base64

    return base64.b64decode(body["body"])


def test_worker__good_and_bad_jobs__deliver_and_report_messages(settings, redis, model):
    good = [model.job(n, {"image": images(seed=n)}) for n in range(5)]
    bad = model.job(9, {"image": images()[:, :, :7]})
    for job in [*good, bad]:
        enqueue(settings, job)
    enqueue(settings, good[0], request_id="0x12")  # malformed: nobody to report to
    with running(settings) as process:
        wait_until(lambda: len(messages(redis, settings)) >= 6, process=process, log=process.log)
        process.send_signal(signal.SIGTERM)
        assert exit_code(process) == 0
    sent = messages(redis, settings)
    delivered = {p["request_id"]: p for name, p in sent if name == "tallystick.deliver"}
    assert delivered.keys() == {to_hex(job.request_id) for job in good}
    for payload in delivered.values():
        data = model.ipfs.fetch_bytes(raw_cid(parse_bytes32(payload["output_root"])), 65536)
        assert to_hex(sha256(data)) == payload["output_root"]
        assert payload["output_cid"] == to_hex(ZERO32)  # the root is the CID's digest
        assert tensor.decode(data, 65536)["logits"].shape == (1, 10)
    ((_, failure),) = [item for item in sent if item[0] == "tallystick.report_failure"]
    assert failure["request_id"] == to_hex(bad.request_id)
    assert (failure["error"], failure["permanent"]) == ("InputInvalid", True)
    assert redis.llen(settings.queue("infer")) == 0
    assert redis.hlen("unacked") == 0
    assert '"event": "infer.malformed"' in process.log.read_text()


SLOW = """
import worker.pipeline, time, pathlib
run = worker.pipeline.Pipeline.run
def slow(self, jobs):
    marker = pathlib.Path({marker!r})
    with marker.open("a") as f:
        f.write(" ".join(job.request_id.hex() for job in jobs) + chr(10))
    {then}
    return run(self, jobs)
worker.pipeline.Pipeline.run = slow
"""


def test_worker__killed_in_the_middle__job_is_redelivered(settings, redis, model, tmp_path):
    job = model.job(1, {"image": images()})
    enqueue(settings, job)
    marker = tmp_path / "marker"
    code = SLOW.format(marker=str(marker), then="time.sleep(3600)")
    with running(settings, code=code) as process:
        wait_until(marker.exists, process=process, log=process.log)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert messages(redis, settings) == []
    assert redis.hlen("unacked") == 1
    short = "import oracle.queue.celery_app; oracle.queue.celery_app.VISIBILITY_TIMEOUT = 1"
    with running(settings, code=short) as process:
        (sent,) = wait_until(lambda: messages(redis, settings), process=process, log=process.log)
    assert sent[0] == "tallystick.deliver"
    assert sent[1]["request_id"] == to_hex(job.request_id)


def test_worker__model_kills_its_process__neighbours_are_answered(settings, redis, model, tmp_path):
    jobs = [model.job(n, {"image": images(seed=n)}) for n in range(3)]
    poison = jobs[1].request_id
    marker = tmp_path / "marker"
    is_poison = f"any(job.request_id.hex() == {poison.hex()!r} for job in jobs)"
    then = f"import os; {is_poison} and os.kill(os.getpid(), 9)"
    for job in jobs:
        enqueue(settings, job)
    with running(settings, code=SLOW.format(marker=str(marker), then=then)) as process:
        wait_until(lambda: len(messages(redis, settings)) >= 3, process=process, log=process.log)
        # only then: results first
        wait_until(lambda: redis.hlen("unacked") == 0, process=process, log=process.log)
    sent = {payload["request_id"]: (name, payload) for name, payload in messages(redis, settings)}
    assert {name for name, _ in sent.values()} == {
        "tallystick.deliver", "tallystick.report_failure",
    }  # fmt: skip
    name, payload = sent[to_hex(poison)]
    assert name == "tallystick.report_failure"
    assert (payload["error"], payload["permanent"]) == ("WorkerCrashed", False)
