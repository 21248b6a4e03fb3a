"""One channel as its operator counts: the highest voucher, receipts signed, answers under way.

```
                admit                      book
 voucher ─▶ in flight + 1 ─▶ model ─▶ receipt `answered` + 1 ─▶ kept on disk ─▶ reply
                  ▲            └─ failed: in flight − 1
                  └ (answered + in flight + 1) · fee ≤ highest voucher
```
An index is given with its receipt, so a failed answer costs nothing and leaves no gap. Vouchers may
overtake each other: the highest one counts, and a lower one asks for what is paid already. Where
several endpoints share their books, this is what one of them last saw there: `pay` is asked again
before each receipt, and `renew` takes over what the others wrote. Pure.
"""

from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.vouchers import Voucher
from oracle.types import ZERO32, Address, Amount, Bytes32, Timestamp
from worker.endpoint.refusals import (
    ChannelEnding,
    ReceiptsRootUnknown,
    VoucherEqual,
    VoucherLower,
    VoucherMiscounted,
)

ROOTS = (
    1024  # that a channel keeps: a payer who adds no receipts to its vouchers takes no more memory
)


class Account:
    """One channel. Belongs to one thread."""

    def __init__(self, channel: Bytes32, signer: Address, fee: Amount) -> None:
        """Begin without a voucher; `books.load` brings back what was kept."""
        self.channel, self.signer, self.fee = channel, signer, fee
        self.voucher: Voucher | None = None  # the highest
        self.covered = 0  # receipts below that voucher's root
        self.tree = ReceiptTree()
        self.roots: dict[Bytes32, int] = {ZERO32: 0}  # the last ones, by count, from `covered` on
        self.questions: dict[bytes, int] = {}  # answered since then, with their vouchers, by index
        self.in_flight = 0
        self.agreed_until = Timestamp(0)  # it may close at once until then, so it takes no voucher
        self.kept: int | None = 0  # receipts that the books have; None = nobody knows

    @property
    def promised(self) -> Amount:
        """What the highest voucher promises."""
        return self.voucher.cumulative if self.voucher else Amount(0)

    @property
    def answered(self) -> int:
        """How many receipts were signed."""
        return self.tree.count

    def require_open(self, now: float) -> None:
        """Return if no agreed close is under way. Raises: ChannelEnding."""
        if now < self.agreed_until:
            raise ChannelEnding(
                f"channel {to_hex(self.channel)} may close until {self.agreed_until}",
                hint="ask again after that, or open another one",
            )

    def admit(self, voucher: Voucher, question: bytes) -> None:
        """Count an answer in that a voucher of this channel pays; nothing changes if it does not.

        Raises:
            VoucherMiscounted, ReceiptsRootUnknown, VoucherLower, VoucherEqual.
        """
        if voucher.cumulative != voucher.answers * self.fee:
            raise VoucherMiscounted(
                f"{voucher.answers} answers cost {voucher.answers * self.fee}, the voucher says "
                f"{voucher.cumulative}",
                hint=f"an answer costs {self.fee}",
            )
        self.pay(voucher, question, self.in_flight)
        self.in_flight += 1

    def pay(self, voucher: Voucher, question: bytes, others: int = 0) -> None:
        """Take a voucher if it, or a higher one, pays for an answer beside `others` under way.

        Args:
            question: with its voucher; asked again, it is not answered anew.

        Raises:
            ReceiptsRootUnknown, VoucherLower, VoucherEqual.
        """
        higher = voucher.cumulative > self.promised
        count = self.roots.get(voucher.receipts_root)
        if higher and count is None:
            raise ReceiptsRootUnknown(
                f"0x{voucher.receipts_root.hex()} is no root of this channel after "
                f"{next(iter(self.roots.values()))} to {self.answered} receipts",
                hint="GET the channel, and add the receipts that are missing",
            )
        if question in self.questions:
            raise VoucherEqual(
                f"it paid for this question: receipt {self.questions[question]}",
                hint="GET the channel",
            )
        counted = self.answered + others
        if (counted + 1) * self.fee > max(voucher.cumulative, self.promised):
            kind = VoucherEqual if voucher.cumulative == self.promised else VoucherLower
            raise kind(
                f"the voucher says {voucher.cumulative}, the highest one {self.promised}; "
                f"{counted} answers are given or under way",
                hint=f"sign {(counted + 1) * self.fee} for {counted + 1} answers",
            )
        if higher and count is not None:
            self._cover(voucher, count)

    def _cover(self, voucher: Voucher, count: int) -> None:
        self.voucher, self.covered = voucher, count
        while self.roots[first := next(iter(self.roots))] < count:
            del self.roots[first]
        while self.questions and self.questions[asked := next(iter(self.questions))] <= count:
            del self.questions[asked]

    def drop(self) -> None:
        """Count an answer out that failed."""
        self.in_flight -= 1

    def book(self, digest: Bytes32, question: bytes) -> None:
        """Count an answer as given: `digest` is that of receipt `answered + 1`."""
        self.in_flight -= 1
        self.tree.append(digest)
        self.roots[self.tree.root] = self.questions[question] = self.tree.count
        if len(self.roots) > ROOTS:
            del self.roots[next(iter(self.roots))]
        if len(self.questions) > ROOTS:
            del self.questions[next(iter(self.questions))]

    def renew(self, found: "Account") -> None:
        """Take over what the books have, if others wrote there: receipts that they lack are void.

        The highest voucher that came here stays when its root is known there: it was promised.
        """
        if (found.answered, found.agreed_until) == (self.kept, self.agreed_until):
            return
        mine, self.voucher, self.covered = self.voucher, found.voucher, found.covered
        self.tree, self.roots, self.questions = found.tree, found.roots, found.questions
        self.kept, self.agreed_until = found.answered, found.agreed_until
        count = None if mine is None else self.roots.get(mine.receipts_root)
        if mine is not None and mine.cumulative > self.promised and count is not None:
            self._cover(mine, count)
