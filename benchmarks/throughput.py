"""Answers per second of an infer worker (queue, IPFS, checks, canonical bytes) against raw torch.

One request is one sentence of 32 tokens through all-MiniLM-L6-v2, or one digit through a small CNN:
the first is bound by the model, the second by everything around it. What is measured is the time
from the first message on the queue to the last `tallystick.deliver` message; the answers' bytes are
on IPFS by then. Raw torch then runs the same inputs in batches of 64 in this process, once with all
cores in one process and once with one process per core (as the worker does).
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from examples.digits import build as digits
from examples.minilm import build as minilm
from oracle.config import Settings
from oracle.devnet import redis as redis_server
from oracle.devnet.supervisor import Supervisor
from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.ports import free_port
from oracle.protocol import tensor
from oracle.protocol.canonical import dumps
from oracle.protocol.files import FileEntry
from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.manifest import Manifest
from oracle.queue import celery_app
from oracle.queue.messages import InferMessage
from oracle.types import ZERO32, Bytes32, RequestId
from worker import infer_process, runtimes

SENTENCES = 400
DIGITS = 1000
TOKENS = 32
BATCH = 64
_PATIENCE = 300.0  # seconds

Inputs = list[dict[str, "np.ndarray[Any, Any]"]]


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured for one model."""

    model: str
    answers: int
    processes: int
    worker_per_second: float
    raw_per_second: float  # one process, all cores
    raw_forked_per_second: float  # one process per core
    share: float  # of the better of the two


def measure(folder: Path) -> list[Result]:
    """Start Redis, IPFS and a worker; measure both models."""
    url = redis_server.url_of(free_port())
    spec = redis_server.spec(redis_server.find_server(), folder / "redis", url, folder / "r.log")
    with Supervisor([spec]) as redis:
        redis.start()
        node = daemon.start_embedded(folder / "ipfs", log=folder / "ipfs.log")
        try:
            settings = Settings(
                home=folder,
                redis_url=url,
                ipfs_api=node.api_url,
                operator="bench",
            )
            return [
                _measure_one(settings, minilm.build(folder / "minilm"), _sentences()),
                _measure_one(settings, digits.build(folder / "digits"), _digits()),
            ]
        finally:
            node.stop()


def _measure_one(settings: Settings, model: Path, inputs: Inputs) -> Result:
    ipfs = IpfsClient(settings.ipfs_api)
    manifest, digest = _publish(ipfs, model)
    messages = [_message(ipfs, manifest, digest, tensors) for tensors in inputs]
    processes = infer_process.processes()
    with Redis.from_url(settings.redis_url) as redis:
        worker = _start(settings)
        try:
            _through_queue(settings, redis, messages[: 4 * processes])  # load the model everywhere
            seconds = _through_queue(settings, redis, messages)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait()
    rate = len(inputs) / seconds
    paths = {entry.path: model / entry.path for entry in manifest.files}
    began, ended = _raw(manifest, paths, inputs)
    raw = len(inputs) / (ended - began)
    forked = _raw_forked(manifest, paths, inputs, processes)
    return Result(manifest.name, len(inputs), processes, rate, raw, forked, rate / max(raw, forked))


def _through_queue(settings: Settings, redis: Any, messages: list[InferMessage]) -> float:
    """Return the seconds until there are as many deliver messages as questions."""
    queue = settings.queue("submit")
    redis.delete(queue)
    with celery_app.create(lambda: settings) as app:
        began = time.perf_counter()
        for message in messages:
            celery_app.send(app, message)
        while (done := redis.llen(queue)) < len(messages):
            if time.perf_counter() - began > _PATIENCE:
                raise TimeoutError(f"{done} of {len(messages)} answers")
            time.sleep(0.005)
        return time.perf_counter() - began


def _raw(
    manifest: Manifest,
    paths: dict[str, Path],
    inputs: Inputs,
    threads: int = 0,
    together: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Run everything in batches; return when that began and ended (wall clock)."""
    import torch  # noqa: PLC0415 - after the forks

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    model = runtimes.load(
        manifest, paths, manifest.model_root(), "cuda" if torch.cuda.is_available() else "cpu"
    )
    batches = [
        {name: np.concatenate([i[name] for i in inputs[at : at + BATCH]]) for name in inputs[0]}
        for at in range(0, len(inputs), BATCH)
    ]
    model.run(batches[0], {})
    together()
    began = time.time()
    for batch in batches:
        model.run(batch, {})
    return began, time.time()


def _raw_forked(
    manifest: Manifest, paths: dict[str, Path], inputs: Inputs, processes: int
) -> float:
    """Return answers per second of processes that begin together, one thread each."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(processes) as pool:
        barrier = manager.Barrier(processes)
        jobs = [
            (manifest.to_bytes(), paths, inputs[n::processes], barrier) for n in range(processes)
        ]
        spans = pool.starmap(_raw_share, jobs, chunksize=1)
    return len(inputs) / (max(end for _, end in spans) - min(began for began, _ in spans))


def _raw_share(
    manifest: bytes, paths: dict[str, Path], inputs: Inputs, barrier: Any
) -> tuple[float, float]:
    return _raw(Manifest.parse(manifest), paths, inputs, threads=1, together=barrier.wait)


def _start(settings: Settings) -> "subprocess.Popen[bytes]":
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")} | {
        "TALLYSTICK_HOME": str(settings.home),
        "TALLYSTICK_REDIS_URL": settings.redis_url,
        "TALLYSTICK_IPFS_API": settings.ipfs_api,
        "TALLYSTICK_OPERATOR": settings.operator,
        "TALLYSTICK_LOG_LEVEL": "warning",
    }
    with (settings.home / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "worker", "--role", "infer"],
            env=environ, stdout=log, stderr=log,
        )  # fmt: skip


def _publish(ipfs: IpfsClient, model: Path) -> tuple[Manifest, Bytes32]:
    files = []
    for path in sorted(p for p in model.iterdir() if p.name != "model.json"):
        published = ipfs.publish_file(path)
        files.append(FileEntry(path.name, published.cid, published.sha256, published.size))
    listed = [
        {"path": f.path, "cid": f.cid, "sha256": to_hex(f.sha256), "size": f.size} for f in files
    ]
    described = json.loads((model / "model.json").read_text())
    data = dumps({"schema": "tallystick/manifest/1", "files": listed, **described})
    return Manifest.parse(data), ipfs.publish_bytes(data).sha256


def _message(
    ipfs: IpfsClient, manifest: Manifest, digest: Bytes32, tensors: dict[str, Any]
) -> InferMessage:
    root = ipfs.publish_bytes(tensor.encode(tensors)).sha256
    return InferMessage(
        RequestId(os.urandom(32)), 1, 1, digest, manifest.model_root(), root, ZERO32, ZERO32
    )


def _sentences() -> Inputs:
    draw = np.random.default_rng(0)
    ids = draw.integers(1000, 30000, (SENTENCES, 1, TOKENS))
    mask = np.ones((1, TOKENS), np.int64)
    return [{"input_ids": row, "attention_mask": mask} for row in ids]


def _digits() -> Inputs:
    images = np.random.default_rng(0).random((DIGITS, 1, 1, 8, 8), np.float32)
    return [{"image": image} for image in images]


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per figure."""
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:
        results = measure(Path(folder))
    for result in results:
        report(
            f"{result.model + ' answers/s':28} {result.worker_per_second:>9,.0f}   "
            f"raw torch {result.raw_per_second:,.0f}, one process per core "
            f"{result.raw_forked_per_second:,.0f} ({result.share:.0%})"
        )
    return {result.model: asdict(result) for result in results}


if __name__ == "__main__":
    run(print, Path("build/bench"))
