"""Parts of an endpoint by themselves: a full queue, a broken disk, one question for all who ask."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import structlog

from oracle.chain.bindings.payment_channels import Channel
from oracle.errors import DiskUnusable, InputInvalid, Unavailable
from oracle.protocol import channel_wire
from oracle.types import Amount, Bytes32, Timestamp
from tests.worker.builders import images
from tests.worker.endpoint.test_ledger import CHANNEL, FEE, SIGNER, digest, receipt, voucher
from worker.endpoint.books import KeptAnswer
from worker.endpoint.chain_cache import ChainCache
from worker.endpoint.file_books import FileBooks
from worker.endpoint.ledger import Account
from worker.endpoint.recorder import Recorder
from worker.endpoint.runner import EndpointBusy, ModelRunner
from worker.errors import ModelFailed
from worker.models import LoadedModel


# ── Models ──────────────────────────────────────────────────────────────────────────────────────
class Gated:
    """A runtime that waits until it may go on, and fails on an image of ones."""

    def __init__(self) -> None:
        self.gate, self.rows = threading.Event(), list[int]()

    def run(self, inputs: dict[str, Any], params: dict[str, float]) -> dict[str, Any]:
        self.gate.wait()
        self.rows.append(len(inputs["image"]))
        if (inputs["image"] == 1).all(axis=(1, 2, 3)).any():
            raise ValueError("ones")
        return {"logits": np.zeros((len(inputs["image"]), 10), np.float32)}


@pytest.fixture
def model(pipeline: Any, digits: Any) -> LoadedModel:
    loaded = pipeline._pool.get(digits.digest, digits.root)
    return LoadedModel(loaded.manifest, loaded.model_root, loaded.form, Gated(), loaded.lease)


def test_run__many_wait__share_a_pass_a_bad_one_fails_alone_and_more_are_refused(
    model: LoadedModel,
) -> None:
    async def run() -> list[Any]:
        runner = ModelRunner(structlog.get_logger(), waiting=3)
        given = [images(seed=n) for n in range(3)] + [np.ones((1, 1, 8, 8), np.float32)]
        asked = [asyncio.ensure_future(runner.run(model, {}, {"image": one})) for one in given[:1]]
        await asyncio.sleep(0)  # the first one is taken
        await asyncio.sleep(0)
        for one in given[1:]:
            runner.require_room()
            asked.append(asyncio.ensure_future(runner.run(model, {}, {"image": one})))
            await asyncio.sleep(0)
        with pytest.raises(EndpointBusy, match="3 inputs wait"):
            runner.require_room()
        model.runtime.gate.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    *good, bad = asyncio.run(run())
    assert all(isinstance(one, bytes) for one in good)
    assert isinstance(bad, ModelFailed)
    assert model.runtime.rows[:2] == [1, 3]


# ── Disk ────────────────────────────────────────────────────────────────────────────────────────
class Full(FileBooks):
    """A disk without room from the second commit on."""

    left = 1

    def keep(self, changes: Any) -> set[Bytes32]:
        self.left -= 1
        if self.left < 0:
            raise sqlite3.OperationalError("database or disk is full")
        return super().keep(changes)


def test_keep__disk_full__nothing_leaves_any_more(tmp_path: Path) -> None:
    told: list[bool] = []

    async def run() -> None:
        recorder = Recorder(books, lambda: told.append(True))
        account = Account(CHANNEL, SIGNER, FEE)
        for number in (1, 2):
            account.admit(voucher(number), uuid4().bytes)
            account.book(digest(number), uuid4().bytes)
            await recorder.keep(account, receipt(number), KeptAnswer(Timestamp(9), b"in", b"out"))

    books = Full(tmp_path / "endpoint.db")
    with pytest.raises(DiskUnusable, match="disk is full"):
        asyncio.run(run())
    assert told == [True]
    assert [one.index for one in books.receipts(CHANNEL, 0)] == [1]


# ── Chain ───────────────────────────────────────────────────────────────────────────────────────
class Node:
    """What the cache asks of a network: counts, and fails when told to."""

    def __init__(self) -> None:
        self.asked, self.down = 0, False
        self.channels = SimpleNamespace(channel_of=self.channel_of)

    def channel_of(self, channel: Bytes32) -> Channel:
        self.asked += 1
        if self.down:
            raise Unavailable("down")
        return Channel(Amount(self.asked), 0, Timestamp(0))


def test_channel__asked_by_many__one_question_and_an_outage_is_not_kept() -> None:
    node, clock = Node(), [0.0]
    cache = ChainCache(node, lambda: clock[0])  # type: ignore[arg-type]

    async def ask(at_most: float = 5) -> int:
        return (await cache.channel(CHANNEL, at_most)).deposit

    async def run() -> None:
        assert await asyncio.gather(ask(), ask(), ask()) == [1, 1, 1]
        clock[0] = 4.0
        assert await ask() == 1
        assert await ask(0) == 2
        clock[0], node.down = 10.0, True
        with pytest.raises(Unavailable):
            await ask()
        node.down = False
        assert await ask() == 4

    asyncio.run(run())


# ── Headers ─────────────────────────────────────────────────────────────────────────────────────
def test_headers__there_and_back__the_same() -> None:
    made = voucher(3, digest(1))
    header = channel_wire.voucher_header(made, SIGNER)
    assert channel_wire.read_voucher(header) == (made, SIGNER)
    assert channel_wire.read_receipt(channel_wire.receipt_header(receipt(7))) == receipt(7)


@pytest.mark.parametrize(
    "changes",
    [
        {"payer": "0x12"}, {"cumulative": "-1"}, {"cumulative": 1.5}, {"cumulative": str(1 << 128)},
        {"answers": True}, {"offerId": "0x"}, {"signature": "0xzz"}, {"signer": None},
    ],
)  # fmt: skip
def test_read_voucher__field_that_is_none__refused(changes: dict[str, Any]) -> None:
    fields = dict(channel_wire._unpacked(channel_wire.voucher_header(voucher(3), SIGNER), 2048))
    with pytest.raises(InputInvalid, match="no voucher"):
        channel_wire.read_voucher(channel_wire._packed({**fields, **changes}))


@pytest.mark.parametrize("header", ["", "ü", "e30", "W10=", "bnVsbA==", "A" * 4096, "W" * 2000])
def test_read_voucher__no_base64_of_an_object__refused(header: str) -> None:
    with pytest.raises(InputInvalid):
        channel_wire.read_voucher(header)
