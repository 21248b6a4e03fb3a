"""The channels that an endpoint keeps in memory: those that pay, as many as there is room for."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from oracle.chain.bindings.payment_channels import Channel
from oracle.protocol import vouchers
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.vouchers import Voucher
from oracle.types import ZERO32, Address, Amount, Assurance, Bytes32, Offer, Terms, Timestamp
from tests.worker.endpoint.test_ledger import FEE, PAYER, digest, receipt
from worker.endpoint import accounts
from worker.endpoint.accounts import Accounts
from worker.endpoint.books import KeptAnswer
from worker.endpoint.file_books import FileBooks
from worker.endpoint.recorder import Recorder
from worker.endpoint.refusals import VoucherEqual, VoucherMiscounted

OFFER = Offer(PAYER, 1, 1, Terms(FEE, 7000, 1000, 10, 60, 1000, Assurance.COMMITTEE), 0)


class Chain:
    """Every channel is full; says how often it was asked."""

    asked = 0

    async def channel(self, _channel: Bytes32, _at_most: float = 0) -> Channel:
        self.asked += 1
        return Channel(Amount(10**15), 0, Timestamp(0))


def paid(answers: int) -> Voucher:
    offer_id = vouchers.offer_id(OFFER)
    return Voucher(PAYER, offer_id, Amount(answers * FEE), answers, ZERO32, bytes(65))


def signer(number: int) -> Address:
    return Address(f"0x{number:040x}")


def test_of__voucher_that_pays_nothing__refused_before_anything_is_asked(tmp_path: Path) -> None:
    """Anybody can sign these, for as many channels as there are numbers."""
    books, chain = FileBooks(tmp_path / "endpoint.db"), Chain()
    found = Accounts(as_any(chain), Recorder(books), lambda: 0)
    for voucher in (paid(0), replace(paid(0), answers=5)):
        with pytest.raises(VoucherMiscounted):
            asyncio.run(found.of(voucher, signer(1), OFFER))
    assert chain.asked == 0
    books.close()


def test_of__more_channels_than_there_is_room_for__the_oldest_idle_ones_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_KEPT", 3)
    books = FileBooks(tmp_path / "endpoint.db")

    async def ask() -> None:
        found = Accounts(as_any(Chain()), Recorder(books), lambda: 0)
        busy = await found.of(paid(1), signer(0), OFFER)
        idle = [ref(await found.of(paid(1), signer(number), OFFER)) for number in range(1, 9)]
        assert [one() is not None for one in idle] == [False] * 5 + [True] * 3
        assert await found.of(paid(1), signer(0), OFFER) is busy  # never two of one channel

    asyncio.run(ask())
    books.close()


def test_admit__question_answered_before_what_is_covered__not_answered_again(
    tmp_path: Path,
) -> None:
    """The payer signed ahead, so an old voucher that comes once more would find money left."""
    books = FileBooks(tmp_path / "endpoint.db")

    async def answer(found: Accounts, voucher: Voucher, question: bytes) -> AnswerReceipt:
        account = await found.of(voucher, signer(1), OFFER)
        await found.admit(account, voucher, question)

        def sign(index: int) -> tuple[AnswerReceipt, Bytes32, KeptAnswer]:
            kept = KeptAnswer(Timestamp(10**10), question, question, question)
            return receipt(index), digest(index), kept

        return await found.book(account, voucher, question, sign)

    async def ask() -> None:
        found, again = (Accounts(as_any(Chain()), Recorder(books), lambda: 0) for _ in range(2))
        await answer(found, paid(1), b"first")
        ahead = replace(paid(5), receipts_root=ReceiptTree([digest(1)]).root)
        await answer(found, ahead, b"second")
        for those in (found, again):  # the same process, and a new one
            with pytest.raises(VoucherEqual):
                await answer(those, paid(1), b"first")
        assert (await answer(again, ahead, b"third")).index == 3

    asyncio.run(ask())
    books.close()


def as_any(value: object) -> Any:
    """Pass for a port whose other methods are not called."""
    return value
