"""Two endpoints on one PostgreSQL, killed between any two lines: nothing is lost or paid twice.

Each step of an endpoint at the database waits until the machine lets it happen, fail, or happen
without a word coming back. The rest of an endpoint runs on until it waits again.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from oracle.chain.bindings.payment_channels import Channel
from oracle.errors import Unavailable
from oracle.protocol import vouchers
from oracle.protocol.canonical import keccak
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.vouchers import Voucher
from oracle.types import ZERO32, Amount, Assurance, Bytes32, Offer, Terms, Timestamp
from tests.support.effort import FLEETS, machine
from tests.support.postgresql import create_database, database_url
from tests.worker.endpoint.test_ledger import FEE, PAYER, SIGNER
from worker.endpoint.accounts import CLOCK, CONSENT, Accounts
from worker.endpoint.books import KeptAnswer, ReceiptBooks
from worker.endpoint.ledger import Account
from worker.endpoint.recorder import Recorder
from worker.endpoint.refusals import VoucherEqual, VoucherLower, VoucherRefused
from worker.endpoint.runner import EndpointBusy
from worker.endpoint.shared_books import SharedBooks

pytestmark = pytest.mark.real
T = TypeVar("T")
TERMS = Terms(FEE, 7000, 1000, 10, 3600, 1000, Assurance.COMMITTEE)
FATES = ("done", "done", "done", "failed", "silent")


class Rich:
    """A chain on which every channel is full."""

    async def channel(self, _channel: Bytes32, _at_most: float = 0) -> Channel:
        return Channel(Amount(10**15), 0, Timestamp(0))


class Stepwise(Recorder):
    """Does what is asked of the books when it is told to, in order."""

    def __init__(self, books: ReceiptBooks) -> None:
        super().__init__(books)
        self.steps: list[tuple[asyncio.Future[Any], Callable[[ReceiptBooks], Any]]] = []

    async def read(self, step: Callable[[ReceiptBooks], T]) -> T:
        waits: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.steps.append((waits, step))
        return await waits

    def go_on(self, fate: str) -> None:
        """Let the first step happen, fail, or happen while the connection breaks."""
        waits, step = self.steps.pop(0)
        if fate == "failed":
            waits.set_exception(Unavailable("the database went away"))
            return
        try:
            found = step(self._books)
        except Unavailable as error:
            waits.set_exception(error)
            return
        if fate == "silent":
            waits.set_exception(Unavailable("the connection broke"))
        else:
            waits.set_result(found)


class Endpoint:
    """What answers of one process go through, without HTTP and model."""

    def __init__(self, url: str, now: Callable[[], float]) -> None:
        self.books = SharedBooks(url)
        self.recorder = Stepwise(self.books)
        chain: Any = Rich()
        self.accounts = Accounts(chain, self.recorder, now)
        self.tasks: set[asyncio.Task[Any]] = set()

    async def answer(
        self, paid: Voucher, offer: Offer, question: bytes, now: float
    ) -> tuple[AnswerReceipt, bytes]:
        """Answer as `Desk.answer` does."""
        account = await self.accounts.of(paid, SIGNER, offer)

        def sign(index: int) -> tuple[AnswerReceipt, Bytes32, KeptAnswer]:
            digest = keccak(question + index.to_bytes(8))
            receipt = AnswerReceipt(
                index, Timestamp(int(now)), ZERO32, ZERO32, ZERO32, digest, ZERO32, bytes(65)
            )
            return receipt, digest, KeptAnswer(Timestamp(10**9), question, question, question)

        try:
            await self.accounts.admit(account, paid, question)
            return await self.accounts.book(account, paid, question, sign), question
        except (VoucherLower, VoucherEqual):
            given = await self.accounts.given(account, question)
            if given is None:
                raise
            return given

    def die(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.books.close()


class Fleet(RuleBasedStateMachine):
    """One payer, two endpoints."""

    url = ""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.time = 1000.0
        self.offer = Offer(PAYER, 1, 1, TERMS, uuid4().int >> 96)  # a channel of this run's own
        self.offer_id = vouchers.offer_id(self.offer)
        self.channel = vouchers.channel_id(PAYER, SIGNER, self.offer_id)
        self.endpoints = [self.made(), self.made()]
        self.reading = SharedBooks(self.url)
        self.received: dict[int, Bytes32] = {}  # by the payer, digests by index
        self.paid_for: dict[bytes, int] = {}  # questions that were answered, by index
        self.promised = 0  # the highest voucher whose answer left
        self.asked: list[tuple[Voucher, bytes]] = []  # without a reply so far
        self.consents: list[tuple[int, float]] = []  # answers at an agreed close, until when
        self.questions = 0

    def made(self) -> Endpoint:
        return Endpoint(self.url, lambda: self.time)

    def kept(self) -> Account:
        account = Account(self.channel, SIGNER, FEE)
        self.reading.load(account)
        return account

    # ── The payer ───────────────────────────────────────────────────────────────────────────────
    @rule(which=st.integers(0, 1), ahead=st.integers(0, 2))
    def ask(self, which: int, ahead: int) -> None:
        """Sign for what is here and under way, now and then for more."""
        tree = ReceiptTree(self.received[i] for i in sorted(self.received))
        answers = len(self.received) + len(self.asked) + 1 + ahead
        self.questions += 1
        paid = Voucher(
            PAYER, self.offer_id, Amount(answers * FEE), answers, tree.root, uuid4().bytes
        )
        self.asked.append((paid, str(self.questions).encode()))
        self.send(which, *self.asked[-1])

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 1), data=st.data())
    def ask_again(self, which: int, data: st.DataObject) -> None:
        """The same voucher and question, to either endpoint."""
        self.send(which, *data.draw(st.sampled_from(self.asked)))

    def send(self, which: int, paid: Voucher, question: bytes) -> None:
        endpoint = self.endpoints[which]

        async def asked() -> None:
            try:
                receipt, output = await endpoint.answer(paid, self.offer, question, self.time)
            except VoucherRefused:
                return
            except Unavailable:
                return
            self.receive(receipt, output, question)
            self.promised = max(self.promised, receipt.index * FEE)
            if (paid, question) in self.asked:
                self.asked.remove((paid, question))

        self.start(endpoint, asked())

    def receive(self, receipt: AnswerReceipt, output: bytes, question: bytes) -> None:
        assert output == question
        digest = receipt.output_root
        assert self.received.setdefault(receipt.index, digest) == digest, "signed twice"
        assert self.paid_for.setdefault(question, receipt.index) == receipt.index, "paid twice"
        for index in range(1, receipt.index):  # as `catch_up` takes over what others brought
            if index not in self.received:
                (found,) = self.reading.receipts(self.channel, index - 1)[:1]
                self.received[index] = found.output_root

    @rule(which=st.integers(0, 1), left=st.integers(0, 2))
    def close(self, which: int, left: int) -> None:
        """Ask an endpoint to let the channel close."""
        endpoint, deadline = self.endpoints[which], Timestamp(int(self.time) + CONSENT)
        leaves = Amount((len(self.received) + left) * FEE)

        async def asked() -> None:
            try:
                await endpoint.accounts.agree_to_close(
                    PAYER, SIGNER, self.offer_id, FEE, leaves, deadline
                )
            except (VoucherRefused, EndpointBusy, Unavailable):
                return
            answered = self.kept().answered
            assert self.kept().promised <= leaves, "nothing can be claimed"
            self.consents.append((answered, deadline + CLOCK))

        self.start(endpoint, asked())

    @rule(seconds=st.sampled_from([30, 700, 2000]))
    def wait(self, seconds: int) -> None:
        self.time += seconds

    # ── The endpoints ───────────────────────────────────────────────────────────────────────────
    def start(self, endpoint: Endpoint, work: Any) -> None:
        task = self.loop.create_task(work)
        endpoint.tasks.add(task)
        task.add_done_callback(endpoint.tasks.discard)
        self.settle()

    def settle(self) -> None:
        """Run until everybody waits."""
        for _ in range(20):
            self.loop.run_until_complete(asyncio.sleep(0))

    @precondition(lambda self: any(one.recorder.steps for one in self.endpoints))
    @rule(which=st.integers(0, 1), fate=st.sampled_from(FATES), steps=st.integers(1, 4))
    def go_on(self, which: int, fate: str, steps: int) -> None:
        for number in range(steps):
            recorder = self.endpoints[which].recorder
            if not recorder.steps:
                return
            recorder.go_on(fate if number == steps - 1 else "done")
            self.settle()

    @rule(which=st.integers(0, 1), last=st.sampled_from(["nothing", "commit"]))
    def kill(self, which: int, last: str) -> None:
        """What it waits for happens no more; or once more, and nobody is told."""
        endpoint = self.endpoints[which]
        if last == "commit" and endpoint.recorder.steps:
            _, step = endpoint.recorder.steps.pop(0)
            step(endpoint.books)
        endpoint.die()
        self.settle()
        self.endpoints[which] = self.made()

    # ── What holds ──────────────────────────────────────────────────────────────────────────────
    @invariant()
    def what_left_is_kept_and_paid(self) -> None:
        kept = self.kept()
        receipts = {one.index: one.output_root for one in self.reading.receipts(self.channel, 0)}
        assert sorted(receipts) == list(range(1, kept.answered + 1))
        assert kept.answered * FEE <= kept.promised
        assert kept.promised >= self.promised
        assert self.received.items() <= receipts.items()
        assert kept.tree.root == ReceiptTree(receipts[i] for i in sorted(receipts)).root

    @invariant()
    def no_question_is_answered_twice(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as db:
            found = db.execute(
                "SELECT question FROM endpoint.answer WHERE channel = %s GROUP BY question "
                "HAVING count(*) > 1",
                (self.channel,),
            ).fetchall()
        assert found == []

    @invariant()
    def no_answer_is_kept_after_a_consent(self) -> None:
        for answered, until in self.consents:
            if self.time < until:
                assert self.kept().answered == answered

    def teardown(self) -> None:
        """Whatever happened: an honest payer goes on with either endpoint."""
        self.time += 10**4
        for which in (0, 1):
            while any(one.recorder.steps for one in self.endpoints):
                for one in self.endpoints:
                    if one.recorder.steps:
                        one.recorder.go_on("done")
                        self.settle()
            self.asked.clear()
            for one in self.reading.receipts(self.channel, 0):
                self.received[one.index] = one.output_root
            before = len(self.received)
            self.ask(which, 0)
            while self.endpoints[which].recorder.steps:
                self.endpoints[which].recorder.go_on("done")
                self.settle()
            assert len(self.received) == before + 1
        for one in self.endpoints:
            one.die()
        self.settle()
        self.reading.close()
        self.loop.close()


@pytest.fixture(scope="module")
def fleet_url(postgresql: str) -> str:
    """Give a database for all runs."""
    name = f"fleet_{uuid4().hex}"
    create_database(postgresql, name)
    SharedBooks(url := database_url(postgresql, name)).close()
    return url


@pytest.mark.usefixtures("fleet_url")
class TestFleet(Fleet.TestCase):  # type: ignore[name-defined,misc]
    settings = machine(FLEETS, 40)

    @pytest.fixture(autouse=True)
    def database(self, fleet_url: str) -> None:
        Fleet.url = fleet_url
