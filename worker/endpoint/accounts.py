"""The channels of an endpoint: as the chain and the books have them, and as answers change them.

```
 of ─▶ admit ─▶ (model) ─▶ book: signed with the next index ─▶ kept ─▶ reply
                             ▲                                  │
                             └── read again, paid still? ◀── another endpoint was faster
```
Where several endpoints share their books, what is here may be old. So it is read again before a
voucher is refused, and a receipt counts when the books took it.
"""

from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

from oracle.chain.bindings.payment_channels import Channel
from oracle.errors import InputInvalid
from oracle.protocol import vouchers
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.vouchers import Voucher
from oracle.services.amounts import format_time
from oracle.types import Address, Amount, Bytes32, Offer, Timestamp
from worker.endpoint.books import KeptAnswer
from worker.endpoint.chain_cache import ChainCache
from worker.endpoint.ledger import ROOTS, Account
from worker.endpoint.recorder import Overtaken, Recorder
from worker.endpoint.refusals import (
    ChannelEnding,
    ChannelForgotten,
    OfferUnknown,
    VoucherAboveDeposit,
    VoucherEqual,
    VoucherMiscounted,
    VoucherRefused,
)
from worker.endpoint.runner import EndpointBusy

CONSENT = 600  # seconds: the longest that an agreed close may wait for its transaction
CLOCK = 60  # seconds that a block's time may be behind ours
_KEPT = 4096  # channels in memory besides those that are answered now; the books have all

# Signs the receipt of an index: the receipt, its digest, and what is kept behind it
Sign = Callable[[int], tuple[AnswerReceipt, Bytes32, KeptAnswer]]


class Accounts:
    """For one event loop."""

    def __init__(self, chain: ChainCache, recorder: Recorder, now: Callable[[], float]) -> None:
        """Take the collaborators; nothing is read yet."""
        self._chain, self._recorder, self._now = chain, recorder, now
        self._known: WeakValueDictionary[Bytes32, Account] = WeakValueDictionary()
        self._lately: OrderedDict[Bytes32, Account] = OrderedDict()

    # ── Answers ─────────────────────────────────────────────────────────────────────────────────
    async def of(self, voucher: Voucher, signer: Address, offer: Offer) -> Account:
        """Return a voucher's channel, once the chain holds what it promises.

        Raises:
            VoucherMiscounted, VoucherAboveDeposit, ChannelEnding, ChannelForgotten.
        """
        fee = offer.terms.fee
        if voucher.cumulative < fee:  # before anything is read or kept for it
            raise VoucherMiscounted("it pays for no answer", hint=f"an answer costs {fee}")
        channel = vouchers.channel_id(voucher.payer, signer, voucher.offer_id)
        held = await self._require_deposit(channel, voucher.cumulative)
        if held.closes_at and await self._is_late(held.closes_at):
            raise ChannelEnding(
                f"channel {to_hex(channel)[:10]} closes {format_time(held.closes_at)}, too soon "
                "for another answer",
                hint="`tallystick channel withdraw` after that, then open it again",
            )
        account = await self._of(channel, signer, fee)
        if account.promised > held.deposit:  # what was signed before is claimed with this one
            held = await self._require_deposit(channel, account.promised)
        if held.claimed > account.promised and self._recorder.shared:
            await self._recorder.renew(account)
        if held.claimed > account.promised:
            raise ChannelForgotten(
                f"{held.claimed} of channel {to_hex(channel)} is claimed, this endpoint remembers "
                f"{account.promised}",
                hint="open a channel with another signer",
            )
        return account

    async def _require_deposit(self, channel: Bytes32, promised: Amount) -> Channel:
        held = await self._chain.channel(channel)
        if promised > held.deposit:
            held = await self._chain.channel(channel, 0)
        if promised > held.deposit:
            raise VoucherAboveDeposit(
                f"channel {to_hex(channel)} holds {held.deposit}, its vouchers promise {promised}",
                hint="open it, or top it up",
            )
        return held

    async def _is_late(self, closes_at: Timestamp) -> bool:
        """Whether less than the close delay is left to claim before a channel closes."""
        return self._now() + CLOCK >= closes_at - await self._chain.close_delay()

    async def admit(self, account: Account, voucher: Voucher, question: bytes) -> None:
        """Count an answer in; it is booked, or dropped. Raises: VoucherRefused."""
        if account.kept is None:
            await self._recorder.renew(account)
        await self._require_new(account, voucher, question)
        try:
            self._admit(account, voucher, question)
        except VoucherRefused:
            if not self._recorder.shared:
                raise
            await self._recorder.renew(account)
            self._admit(account, voucher, question)

    def _admit(self, account: Account, voucher: Voucher, question: bytes) -> None:
        account.require_open(self._now())
        account.admit(voucher, question)

    async def book(
        self, account: Account, voucher: Voucher, question: bytes, sign: Sign
    ) -> AnswerReceipt:
        """Sign the next receipt and keep it; once more when another endpoint was faster.

        Raises:
            VoucherRefused: the faster one used the voucher up, answered this very question, or
                let the channel close.
            Unavailable: nobody knows whether it is kept.
        """
        while True:
            try:
                await self._require_new(account, voucher, question)
                # From here on without a pause, so that each index is given once here
                account.require_open(self._now())
                account.pay(voucher, question)
                receipt, digest, answer = sign(account.answered + 1)
            except BaseException:
                account.drop()
                raise
            account.book(digest, question)
            try:
                await self._recorder.keep(account, receipt, answer)
                return receipt
            except Overtaken:
                await self._recorder.renew(account)
                account.in_flight += 1

    async def _require_new(self, account: Account, voucher: Voucher, question: bytes) -> None:
        """Return if a voucher has not paid for this question before.

        The account knows the questions since the receipts that its highest voucher covers. Who
        signed over those, or over later ones, has no other answer; an older voucher may.

        Raises:
            VoucherEqual: it has.
        """
        if voucher.receipts_root in account.roots or account.voucher is None:
            return
        if await self.given(account, question) is not None:
            raise VoucherEqual("it paid for this question", hint="GET the channel")

    async def given(self, account: Account, question: bytes) -> tuple[AnswerReceipt, bytes] | None:
        """Return receipt and answer that a voucher and question had lately, by any endpoint."""
        channel, after = account.channel, account.answered - ROOTS
        return await self._recorder.read(lambda books: books.given(channel, after, question))

    # ── What is held ────────────────────────────────────────────────────────────────────────────
    async def kept(self, channel: Bytes32, signer: Address, fee: Amount | None) -> Account:
        """Return a channel as the books have it now.

        Args:
            fee: of an answer; None = its offer is not sold any more, and its voucher tells.

        Raises:
            OfferUnknown: no voucher is kept that could tell.
        """
        found = Account(channel, signer, fee or Amount(0))
        await self._recorder.read(lambda books: books.load(found))
        if fee is None:
            if found.voucher is None:
                raise OfferUnknown(
                    f"nothing is kept of channel {to_hex(channel)}, nor is its offer sold here",
                    hint="GET /channels/offer",
                )
            found.fee = Amount(found.voucher.cumulative // found.voucher.answers)
        return found

    async def receipts(self, channel: Bytes32, after: int) -> list[AnswerReceipt]:
        """Return receipts of a channel from the books, behind that index."""
        return await self._recorder.read(lambda books: books.receipts(channel, after))

    async def agree_to_close(  # noqa: PLR0917 - a channel, and what is agreed
        self, payer: Address, signer: Address, offer_id: Bytes32, fee: Amount | None,
        cumulative: Amount, deadline: Timestamp,
    ) -> None:  # fmt: skip
        """Take no voucher of a channel until its agreed close is over.

        The highest voucher is the only one that is kept, so what it promises is due: of a channel
        that holds less nothing could be claimed.

        Args:
            fee: as of `kept`.

        Raises:
            InputInvalid: the deadline is over, or too far away.
            VoucherMiscounted: more is promised or claimed.
            OfferUnknown: see `kept`.
            EndpointBusy: an answer is under way.
        """
        if not self._now() < deadline <= self._now() + CONSENT:
            raise InputInvalid(
                f"the deadline {deadline} is not within {CONSENT} seconds", hint="set the clock"
            )
        channel = vouchers.channel_id(payer, signer, offer_id)
        claimed = (await self._chain.channel(channel, 0)).claimed
        account = await self._of(channel, signer, fee)
        if self._recorder.shared:
            await self._recorder.renew(account)
        kept = await self.kept(channel, signer, account.fee)
        due = max(kept.promised, claimed)
        if cumulative < due:
            raise VoucherMiscounted(f"{due} are due, {cumulative} are left", hint=f"leave {due}")
        busy = EndpointBusy("an answer of this channel is under way", hint="close it then")
        if account.in_flight or not account.kept == account.answered == kept.answered:
            raise busy
        before, until = account.agreed_until, Timestamp(deadline + CLOCK)
        account.agreed_until = until  # from now on nothing is admitted here
        if not await self._recorder.read(lambda b: b.agree(account, payer, offer_id, until)):
            account.agreed_until = before
            raise busy

    async def _of(self, channel: Bytes32, signer: Address, fee: Amount | None) -> Account:
        account = self._known.get(channel)
        if account is None:  # several may load it: the first one counts
            loaded = await self.kept(channel, signer, fee)
            account = self._known.setdefault(channel, loaded)
        # Whoever still works with one that is dropped here keeps it known
        self._lately[channel] = account
        self._lately.move_to_end(channel)
        if len(self._lately) > _KEPT:
            self._lately.popitem(last=False)
        return account
