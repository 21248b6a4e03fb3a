"""Makes receipts durable before they leave: one commit for all that wait, on a thread of its own.

```
 booked ─▶ waits ─▶ one commit ─▶ reply
                       ├─ another endpoint was faster: Overtaken, it is booked and signed anew
                       └─ it failed, and may be on the disk or not:
                            a file      nothing is answered any more; a new process reads it
                            PostgreSQL  Unavailable; each channel is read before it goes on
```
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from oracle.errors import DiskUnusable, Unavailable
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.types import Bytes32
from worker.endpoint.books import Change, KeptAnswer, ReceiptBooks, row_of
from worker.endpoint.ledger import Account

T = TypeVar("T")


class Overtaken(Exception):
    """Another endpoint changed the channel: the receipt is void, and its books must be read."""


@dataclass(frozen=True, slots=True)
class _Unkept:
    account: Account
    tree: ReceiptTree  # the account's; another one since then: the receipt is void
    root: Bytes32  # of the tree that ends with the receipt
    receipt: AnswerReceipt
    answer: KeptAnswer
    kept: "asyncio.Future[None]"


class Recorder:
    """Writes the books. For one event loop."""

    def __init__(self, books: ReceiptBooks, broken: Callable[[], object] = lambda: None) -> None:
        """Take the books; `broken` is called once they cannot be written."""
        self._books, self._tell = books, broken
        self._thread = ThreadPoolExecutor(1, "books")
        self._waiting: list[_Unkept] = []
        self._turns: asyncio.Task[None] | None = None
        self._broken: DiskUnusable | None = None

    @property
    def shared(self) -> bool:
        """Whether other endpoints write the books too."""
        return self._books.shared

    def require_whole(self) -> None:
        """Return if the books can be written.

        Raises:
            DiskUnusable: a commit failed.
        """
        if self._broken is not None:
            raise self._broken

    async def read(self, step: Callable[[ReceiptBooks], T]) -> T:
        """Return what a step reads from the books."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, step, self._books)

    async def leads(self) -> bool:
        """Whether this endpoint sends what one alone must send; False when nobody can say."""
        try:
            return await self.read(lambda books: books.leads())
        except Unavailable:
            return False

    async def renew(self, account: Account) -> None:
        """Take over what other endpoints wrote about a channel."""
        found = Account(account.channel, account.signer, account.fee)
        await self.read(lambda books: books.load(found))
        account.renew(found)

    async def keep(self, account: Account, receipt: AnswerReceipt, answer: KeptAnswer) -> None:
        """Return when a receipt that was just booked is durable, with its channel's voucher and
        the bytes behind it.

        Raises:
            Overtaken: it is not, and never will be.
            Unavailable: it may not be.
        """
        self.require_whole()
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tree = account.tree
        self._waiting.append(_Unkept(account, tree, tree.root, receipt, answer, kept))
        if self._turns is None:
            self._turns = asyncio.create_task(self._take_turns())
        await kept

    async def _take_turns(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            alive, void = list[_Unkept](), list[_Unkept]()
            for one in group:
                good = one.tree is one.account.tree and one.account.kept is not None
                (alive if good else void).append(one)
            error: Exception | None = None
            try:
                overtaken = await self._commit(alive)
                void += [one for one in alive if one.account.channel in overtaken]
            except Exception as failure:  # whatever it was: nobody may wait for ever
                error = self._failed(failure, alive)
            lost = set(map(id, void))
            for one in group:
                if one.kept.done():  # who asked has gone
                    continue
                if id(one) in lost:
                    one.kept.set_exception(Overtaken())
                elif error is not None:
                    one.kept.set_exception(error)
                else:
                    one.kept.set_result(None)
        self._turns = None

    async def _commit(self, group: Sequence[_Unkept]) -> set[Bytes32]:
        """Make what still counts durable; return the channels that others changed."""
        made: dict[Bytes32, list[_Unkept]] = {}
        for one in group:
            made.setdefault(one.account.channel, []).append(one)
        changes, answered = list[Change](), dict[Bytes32, int]()
        for channel, ones in made.items():
            account = ones[0].account
            assert account.kept is not None, "its books were read"
            answered[channel] = account.answered
            changes.append(
                Change(
                    channel, (account.kept, account.agreed_until), row_of(account),
                    [(one.root, one.receipt, one.answer) for one in ones],
                )
            )  # fmt: skip
        overtaken = await self.read(lambda books: books.keep(changes)) if changes else set()
        for channel in answered.keys() - overtaken:
            made[channel][0].account.kept = answered[channel]
        for channel in overtaken:
            made[channel][0].account.kept = None
        return overtaken

    def _failed(self, error: Exception, group: Sequence[_Unkept]) -> Exception:
        """Note that a commit failed; return what its answers are told."""
        if self._books.shared:
            for one in group:
                one.account.kept = None
            return error if isinstance(error, Unavailable) else Unavailable(str(error))
        self._broken = DiskUnusable(
            f"the endpoint's books cannot be written: {error}",
            hint="free or mend the disk; what was answered is kept",
        )
        self._tell()
        return self._broken
