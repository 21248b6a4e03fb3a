"""What an answer of an operator's endpoint costs besides its model, beside an empty FastAPI route.

64 clients with channels of their own sign ahead; the model answers zeros, and the chain's answers
are constants. Vouchers, receipts, the books on disk and HTTP are the real ones. Figures are CPU
milliseconds of the server's process. Then 1,000 clients ask for a minute: how many are told to come
back later, and whether the server's memory grows. At last 64 clients ask MiniLM, beside the same
weights with nothing around them.

    python -m benchmarks endpoint
"""

import asyncio
import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types
import structlog
from fastapi import FastAPI, Request

from benchmarks import rest
from examples.minilm import build as minilm
from oracle.api.config import ApiConfig
from oracle.api.header_limits import BoundedServer
from oracle.chain.bindings.payment_channels import Channel, Cover
from oracle.errors import InputInvalid
from oracle.exact import form
from oracle.ports import free_port
from oracle.protocol import channel_wire, tensor, vouchers
from oracle.protocol.canonical import dumps, sha256
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import Manifest
from oracle.protocol.vouchers import Voucher
from oracle.services import folders
from oracle.services.inputs import Encoder
from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    Amount,
    Assurance,
    Bytes32,
    Contracts,
    Offer,
    Terms,
    Timestamp,
)
from worker import runtimes
from worker.endpoint.desk import Desk, Sold
from worker.endpoint.file_books import FileBooks
from worker.endpoint.recorder import Recorder
from worker.endpoint.runner import ModelRunner
from worker.endpoint.server import create_app
from worker.models import LoadedModel

CLIENTS, EACH = 64, 100
CROWD, SECONDS = 1000, 60
SENTENCES = 10  # of a client
_quiet: Callable[..., None] = lambda *_: None  # noqa: E731 - of progress
KEY = b"\2" * 32
NAME = "nothing"
_EMPTY = sha256(b"")
FILE = {"path": "model.onnx", "cid": raw_cid(_EMPTY), "sha256": "0x" + _EMPTY.hex(), "size": 0}
DESCRIPTION = {
    "schema": "tallystick/manifest/1", "name": NAME, "files": [FILE], "tolerance": 1000,
    "runtime": {"format": "onnx", "entry": "model.onnx"},
    "inputs": [{"name": "tokens", "dtype": "I64", "shape": [None, 16]}],
    "outputs": [{"name": "embedding", "dtype": "F32", "shape": [None, 384]}],
}  # fmt: skip
OPERATOR = vouchers.signer_of(ZERO32, vouchers.sign(KEY, ZERO32))
OFFER = Offer(
    OPERATOR, 1, 1, Terms(Amount(1000), 7000, 1000, 10, 3600, 1000, Assurance.COMMITTEE), 0
)
CONTRACTS = Contracts(
    chain_id=1,
    deployed_at=0,
    **{f.name: ZERO_ADDRESS for f in fields(Contracts) if f.type is Address},
)


def run(say: Callable[[str], None], build: Path) -> dict[str, float]:
    """Measure both servers and return the figures."""
    del build
    found = dict[str, float]()
    for kind in ("noop", "endpoint", "endpoint", "noop"):
        with (
            tempfile.TemporaryDirectory() as folder,
            _serving(kind, Path(folder)) as (port, server),
        ):
            before, began = _cpu(server), time.perf_counter()
            assert asyncio.run(_crowd(port, [0] * CLIENTS, EACH)) == {200: CLIENTS * EACH}
            spent = 1000 * (_cpu(server) - before) / (CLIENTS * EACH)
            rate = CLIENTS * EACH / (time.perf_counter() - began)
            say(f"{kind:9} {spent:6.2f} ms CPU an answer, {rate:6.0f} answers/s")
            found[kind] = min(spent, found.get(kind, spent))
    say(f"{found['endpoint'] / found['noop']:.1f} times an empty FastAPI route")
    figures = {f"{kind}_ms": round(spent, 3) for kind, spent in found.items()}
    return figures | _minute(say) | _sentences(say)


def _minute(say: Callable[[str], None]) -> dict[str, float]:
    """Let a crowd ask for a minute; return how it was answered, and what memory was taken."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _serving("endpoint", Path(folder)) as (port, server),
    ):
        memory, told, answered = list[float](), Counter[int](), [0] * CROWD
        for seconds in (SECONDS / 6, SECONDS * 5 / 6):
            told += asyncio.run(_crowd(port, answered, 10**6, time.monotonic() + seconds))
            memory.append(server.memory_info().rss / 2**20)
    said = ", ".join(f"{count:,} × {status}" for status, count in sorted(told.items()))
    say(f"{CROWD:,} clients in {SECONDS} s: {said}; {memory[0]:.0f} MiB, then {memory[1]:.0f}")
    return {f"crowd_{status}": float(count) for status, count in told.items()} | {
        "crowd_mib_before": round(memory[0]), "crowd_mib_after": round(memory[1])
    }  # fmt: skip


def _sentences(say: Callable[[str], None]) -> dict[str, float]:
    """Let 64 clients ask MiniLM; return answers a second, and those of the same weights alone."""
    with tempfile.TemporaryDirectory() as name:
        folder, dice = Path(name), random.Random(7)
        model = minilm.build(folder / "minilm")
        texts = [[rest.sentence(dice) for _ in range(SENTENCES)] for _ in range(CLIENTS)]
        bodies = [[tensor.encode(minilm.tokenize(model, [one])) for one in own] for own in texts]
        found = {"raw": 0.0, "endpoint": 0.0}
        for kind in ("raw", "endpoint", "endpoint", "raw"):
            if kind == "raw":
                rate = rest.raw_torch(folders.read(model, _quiet), model, SENTENCES * CLIENTS)
            else:
                with _serving("minilm", folder) as (port, _):
                    asyncio.run(_crowd(port, [0] * CLIENTS, 1, bodies=bodies[::-1]))
                    began = time.perf_counter()
                    asyncio.run(_crowd(port, [1] * CLIENTS, SENTENCES, bodies=bodies))
                    rate = SENTENCES * CLIENTS / (time.perf_counter() - began)
                (folder / "endpoint.db").unlink()
            found[kind] = max(found[kind], rate)
    share = found["endpoint"] / found["raw"]
    say(f"MiniLM: {found['endpoint']:.1f} answers/s, raw torch {found['raw']:.1f}/s ({share:.0%})")
    return {f"minilm_{kind}_per_second": round(rate, 1) for kind, rate in found.items()}


# ── Servers ─────────────────────────────────────────────────────────────────────────────────────
class Rich:
    """A chain on which every channel is full."""

    async def channel(self, channel: Bytes32, at_most: float = 0) -> Channel:
        del channel, at_most
        return Channel(Amount(10**15), 0, Timestamp(0))

    async def cover(self, offer: Bytes32) -> Cover:
        del offer
        return Cover(8, 0, Timestamp(0), exhausted=False)

    async def rate_limit(self, model_id: int, payer: str) -> tuple[int, int]:
        del model_id, payer
        return 0, 0

    async def require_access(self, model_id: int, payer: str, params: Bytes32) -> None:
        """Let everybody ask."""


def no_text(_manifest: Manifest) -> Encoder:
    """Refuse text: tensors are asked."""
    raise InputInvalid("the benchmark asks with tensors")


class Zeros:
    """A model without work."""

    def run(self, inputs: dict[str, Any], params: dict[str, float]) -> dict[str, Any]:
        del params
        return {"embedding": np.zeros((len(inputs["tokens"]), 384), np.float32)}


def serve(kind: str, port: int, folder: Path) -> None:
    """Serve until the process is ended."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    if kind == "noop":
        app = FastAPI()

        @app.post("/v2/models/{name}/infer")
        async def noop(request: Request, name: str) -> dict[str, Any]:
            return {"name": name, "length": len(await request.body())}
    else:
        manifest = Manifest.parse(dumps(DESCRIPTION))
        runtime: Any = Zeros()
        if kind == "minilm":
            manifest = folders.read(folder / kind, _quiet)
            paths = {entry.path: folder / kind / entry.path for entry in manifest.files}
            runtime = runtimes.load(manifest, paths, manifest.model_root(), "cpu")
        model: Any = LoadedModel(manifest, ZERO32, form.of(manifest), runtime, None)  # type: ignore[arg-type]
        log, recorder = structlog.get_logger(), Recorder(FileBooks(folder / "endpoint.db"))
        chain: Any = Rich()
        desk = Desk(
            CONTRACTS, KEY, [Sold(OFFER, model)],
            chain=chain, runner=ModelRunner(log), recorder=recorder,
        )  # fmt: skip
        app = create_app(desk, ApiConfig(per_second=0), no_text)
    BoundedServer(app, host="127.0.0.1", port=port, log_level="error", access_log=False).run()


@contextmanager
def _serving(kind: str, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    argv = [sys.executable, "-m", "benchmarks.endpoint", kind, str(port), str(folder)]
    server = psutil.Popen(argv)
    try:
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/openapi.json", trust_env=False)
                break
            except httpx.TransportError:
                assert server.poll() is None, "the server ended"
                time.sleep(0.1)
        yield port, server
    finally:
        server.terminate()
        server.wait()


def _cpu(server: psutil.Process) -> float:
    used = server.cpu_times()
    return float(used.user + used.system)


# ── Clients ─────────────────────────────────────────────────────────────────────────────────────
async def _crowd(
    port: int,
    answered: list[int],
    each: int,
    until: float = math.inf,
    bodies: Sequence[Sequence[bytes]] = (),
) -> Counter[int]:
    """Let clients ask one question after another; return how often each status came back.

    Args:
        answered: by the server so far, for each client; is counted on.
        bodies: what each client asks in turn.
    """
    asked = (
        _client(
            port, answered, number, each, until, bodies[number] if bodies else [_tokens(number)]
        )
        for number in range(len(answered))
    )
    return sum(await asyncio.gather(*asked), Counter[int]())


def _tokens(number: int) -> bytes:
    return tensor.encode({"tokens": np.full((1, 16), number, np.int64)})


async def _client(
    port: int, answered: list[int], number: int, each: int, until: float, bodies: Sequence[bytes]
) -> Counter[int]:
    key = number.to_bytes(2).rjust(32, b"\x09")
    payer = vouchers.signer_of(ZERO32, vouchers.sign(key, ZERO32))
    domain = vouchers.separator(CONTRACTS.chain_id, CONTRACTS.payment_channels)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    told, name = Counter[int](), NAME if len(bodies) == 1 else rest.NAME
    while told[200] < each and time.monotonic() < until:
        answers, body = answered[number] + 1, bodies[told[200] % len(bodies)]
        cumulative = Amount(answers * OFFER.terms.fee)
        made = Voucher(payer, vouchers.offer_id(OFFER), cumulative, answers, ZERO32)
        signed = vouchers.sign(key, vouchers.voucher_digest(domain, made))
        header = channel_wire.voucher_header(replace(made, signature=signed), payer)
        writer.write(
            f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: {channel_wire.CANONICAL}\r\nContent-Length: {len(body)}\r\n"
            f"{channel_wire.VOUCHER}: {header}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in head.split("\r\n") if line.startswith("content-length"))
        await reader.readexactly(int(length.split(":")[1]))
        told[status := int(head.split()[1])] += 1
        answered[number] += status == 200
        if status != 200:
            await asyncio.sleep(0.5)
    writer.close()
    return told


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
