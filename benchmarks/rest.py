"""REST on a development network: what an answer takes and where, what the gateway adds, a crowd.

Everything is real: Anvil, Redis, IPFS, one operator with one worker process on the CPU, the gateway
as `tallystick serve` starts it, MiniLM. The breakdown is the gateway's own `Server-Timing`:

```
 prepare   tokenizer, canonical bytes, digests          ┐
 accept    input to IPFS, simulated, charged, committed ├ the gateway
 chain     signed, sent, mined, concluded               ┘
 queue     accepted → a worker has it (its watcher, the queue)
 fetch · inference · publish                              the worker
 deliver   published → delivery seen (submitter, chain, follower)
```
`chain` overlaps `queue`; p50 and p99 are what the client sees, body to body.

    python -m benchmarks.rest            the table
    python -m benchmarks.rest crowd      200 clients for 60 seconds
    python -m benchmarks.rest cpu        milliseconds of CPU an answer, by process, with 64 clients
"""

import asyncio
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from examples.minilm import build as minilm
from oracle.devnet.network import Devnet, DevnetPlan, running
from oracle.gateway import api_keys
from oracle.gateway import gateway as gateways
from oracle.ports import free_port
from oracle.protocol.manifest import Manifest
from oracle.services import models, operators, publishing
from oracle.services.publishing import SaleTerms
from oracle.store import Store
from oracle.types import Amount
from worker import runtimes

ALONE = 60  # answers, one after the other
NOOPS = 2_000
CONCURRENT = 64
BATCH = 64  # of raw torch
CROWD = 200  # clients
CROWD_SECONDS = 60.0
NAME = "all-MiniLM-L6-v2"
WORDS = (Path(__file__).parents[1] / "README.md").read_text().split()
_NOOP = """
import uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
async def noop() -> dict[str, bool]:
    return {"live": True}
uvicorn.run(app, port=%d, log_level="error", access_log=False)
"""


def sentence(dice: random.Random) -> str:
    """Return a sentence that was not asked before."""
    return " ".join(dice.choices(WORDS, k=12)) + f" {dice.random()}"


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of some values."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


# ── What the gateway adds ───────────────────────────────────────────────────────────────────────
def noop_ms(url: str, path: str) -> list[float]:
    """Return milliseconds of GETs, one after the other, on one connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    took = []
    for _ in range(NOOPS):
        began = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        took.append(1000 * (time.perf_counter() - began))
    return took[NOOPS // 10 :]


@contextmanager
def bare_fastapi() -> Iterator[str]:
    """Serve a FastAPI app that does nothing."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _NOOP % port])
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(url, trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────
def alone(url: str, secret: str) -> dict[str, Any]:
    """Ask one sentence after the other; return percentiles and the breakdown's medians."""
    dice, took, parts = random.Random(1), [], []
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
        for number in range(ALONE + 5):
            began = time.perf_counter()
            body = {"model": NAME, "input": sentence(dice)}
            answered = client.post("/v1/embeddings", json=body)
            answered.raise_for_status()
            if number >= 5:  # before that the model is loaded
                took.append(1000 * (time.perf_counter() - began))
                parts.append(timing(answered.headers["server-timing"]))
    names = dict.fromkeys(name for one in parts for name in one)
    return {
        "p50": percentile(took, 50),
        "p99": percentile(took, 99),
        "breakdown": {n: median(one.get(n, 0.0) for one in parts) for n in names},
    }


def timing(header: str) -> dict[str, float]:
    """Read a Server-Timing header: milliseconds by name."""
    parts = (part.strip().partition(";dur=") for part in header.split(","))
    return {name: float(took) for name, _, took in parts}


async def crowd(
    url: str, secret: str, clients: int, *, answers: int = 0, seconds: float = 0.0
) -> dict[str, Any]:
    """Ask with many clients at once, for so many answers or so long."""
    took: list[float] = []
    wrong: list[str] = []
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {secret}"}
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def one(number: int, client: httpx.AsyncClient) -> None:
        dice = random.Random(1000 + number)
        while (
            time.perf_counter() - began < seconds if seconds else len(took) + len(wrong) < answers
        ):
            start = time.perf_counter()
            try:
                body = {"model": NAME, "input": sentence(dice)}
                answered = await client.post("/v1/embeddings", json=body)
                if answered.status_code != 200:
                    wrong.append(f"{answered.status_code} {answered.text[:200]}")
                    continue
            except httpx.HTTPError as error:
                wrong.append(repr(error))
                continue
            took.append(1000 * (time.perf_counter() - start))

    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=120, limits=limits, trust_env=False
    ) as client:
        await asyncio.gather(*(one(number, client) for number in range(clients)))
    spent = time.perf_counter() - began
    return {
        "clients": clients,
        "answers": len(took),
        "errors": len(wrong),
        "first_error": wrong[0] if wrong else "",
        "answers_per_second": len(took) / spent,
        "p50": percentile(took, 50),
        "p99": percentile(took, 99),
    }


def raw_torch(manifest: Manifest, folder: Path, count: int) -> float:
    """Return sentences a second of the same weights with nothing around them, in batches of 64."""
    import torch  # noqa: PLC0415 - after the forks

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    paths = {entry.path: folder / entry.path for entry in manifest.files}
    model = runtimes.load(manifest, paths, manifest.model_root(), "cpu")
    dice = random.Random(7)
    texts = [sentence(dice) for _ in range(count)]
    model.run(minilm.tokenize(folder, texts[:BATCH]), {})
    began = time.perf_counter()
    for at in range(0, count, BATCH):
        model.run(minilm.tokenize(folder, texts[at : at + BATCH]), {})
    return count / (time.perf_counter() - began)


# ── CPU by process ──────────────────────────────────────────────────────────────────────────────
_NAMES = {  # by what a command line holds; the first that fits
    "anvil": "Anvil",
    "redis": "Redis",
    "--role infer": "infer worker",
    "--role submit": "submitter",
    "--role respond": "responder",
    "watch": "watcher",
    "serve": "gateway",
    "ipfs": "IPFS node",
}


def cpu_seconds() -> Counter[str]:
    """Return the CPU seconds that each kind of process below this one has used."""
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415 - it ships no types

    used: Counter[str] = Counter()
    for process in (me := psutil.Process(), *me.children(recursive=True)):
        with suppress(psutil.Error):
            command, times = " ".join(process.cmdline()), process.cpu_times()
            kinds = (name for part, name in _NAMES.items() if part in command)
            name = "clients" if process == me else next(kinds, "other")
            used[name] += times.user + times.system
    return used


def measure_cpu(answers: int = 384) -> dict[str, Any]:
    """Measure milliseconds of CPU an answer: what else the machine does matters little to them."""
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-") as folder,
        network(Path(folder)) as (devnet, secret),
    ):
        asyncio.run(crowd(devnet.rest_url, secret, 2, answers=4))  # the model is loaded
        before = cpu_seconds()
        found = asyncio.run(crowd(devnet.rest_url, secret, CONCURRENT, answers=answers))
        spent = cpu_seconds() - before
    each = {name: 1000 * took / found["answers"] for name, took in spent.most_common()}
    return {**found, "cpu_ms": each, "cpu_ms_in_all": sum(each.values())}


# ── The network ─────────────────────────────────────────────────────────────────────────────────
@contextmanager
def network(folder: Path) -> Iterator[tuple[Devnet, str]]:
    """A network with MiniLM published, and an API key."""
    plan = DevnetPlan(folder / "net", operators=("alpha",), rest=True)
    with running(plan, os.environ) as devnet:
        network, owner = devnet.network, devnet.wallet("owner")
        model = minilm.build(folder / "minilm")
        # soon final: every answer in its window holds a dollar of the operator's stake
        sale = SaleTerms(fee=Amount(1_000), challenge_window=10)
        published = publishing.publish(network, owner, model, sale)
        operators.authorize(network, owner, published.model_id, devnet.accounts["alpha"])
        store = Store.open(gateways.store_url(devnet.settings))
        secret = api_keys.mint(store, "benchmark", Amount(900 * 10**6)).secret
        store.close()
        yield devnet, secret


def measure() -> dict[str, Any]:
    """Measure everything but the long crowd."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
        with network(Path(folder)) as (devnet, secret), bare_fastapi() as bare:
            noops = noop_ms(bare, "/")
            gateway = noop_ms(devnet.rest_url, "/v2/health/live")
            found["fastapi_noop_ms"] = median(noops)
            found["gateway_noop_ms"] = median(gateway)
            found["added_ms"] = median(gateway) - median(noops)
            found["alone"] = alone(devnet.rest_url, secret)
            found["concurrent"] = asyncio.run(
                crowd(devnet.rest_url, secret, CONCURRENT, answers=640)
            )
            manifest = models.manifest(devnet.network, 1, 1)
        found["raw_torch_per_second"] = raw_torch(manifest, Path(folder) / "minilm", 640)
    return found


def measure_crowd(seconds: float = CROWD_SECONDS) -> dict[str, Any]:
    """Ask with 200 clients for a minute, and count what the chain has."""
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-") as folder,
        network(Path(folder)) as (devnet, secret),
    ):
        alone(devnet.rest_url, secret)
        found = asyncio.run(crowd(devnet.rest_url, secret, CROWD, seconds=seconds))
        store = Store.open(gateways.store_url(devnet.settings))
        with store.read() as tx:
            tickets = tx.open_tickets()
        store.close()
        found["accepted"] = len(tickets)
        found["without_a_request"] = sum(ticket.request_id is None for ticket in tickets)
        return found


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report."""
    found = measure()
    report(
        f"no-op: FastAPI {found['fastapi_noop_ms']:.2f} ms, gateway {found['gateway_noop_ms']:.2f} "
        f"ms: {found['added_ms']:+.2f} ms"
    )
    one = found["alone"]
    report(f"MiniLM, one client: p50 {one['p50']:.0f} ms, p99 {one['p99']:.0f} ms")
    report("  " + "  ".join(f"{n} {took:.1f}" for n, took in one["breakdown"].items()))
    many = found["concurrent"]
    share = many["answers_per_second"] / found["raw_torch_per_second"]
    report(
        f"MiniLM, {many['clients']} clients: {many['answers_per_second']:.1f} answers/s, "
        f"{many['errors']} errors; raw torch in batches {found['raw_torch_per_second']:.1f}/s "
        f"({share:.0%})"
    )
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["crowd"]:
        print(json.dumps(measure_crowd(), indent=1))
    elif sys.argv[1:] == ["cpu"]:
        print(json.dumps(measure_cpu(), indent=1))
    else:
        run(print, Path("build/bench"))
