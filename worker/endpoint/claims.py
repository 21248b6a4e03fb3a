"""Turns kept vouchers into money: a held claim of many channels, which settles the one before it.

What is held the chain's events say: the books know vouchers alone. Of endpoints that share their
books the one that leads claims.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from oracle.chain.bindings.payment_channels import VoucherRow
from oracle.chain.revert import ContractError
from oracle.chain.wallet import Wallet
from oracle.protocol import vouchers
from oracle.protocol.vouchers import Voucher
from oracle.services.channels import claims, offers
from oracle.services.channels.claims import ClaimState
from oracle.services.channels.offers import OfferInfo
from oracle.services.network import Network
from oracle.types import Address, Bytes32, Timestamp
from worker.endpoint.beside import running, tell
from worker.endpoint.books import ReceiptBooks
from worker.endpoint.recorder import Recorder

ROWS = 200  # of one claim

Signed = tuple[Address, Voucher]  # a channel's signer and its highest voucher


class Claimer:
    """The claims of one operator's offers."""

    def __init__(
        self,
        network: Network,
        wallet: Wallet,
        recorder: Recorder,
        sold: Collection[Bytes32],
        log: Any,
    ) -> None:
        """Take the collaborators; nothing is sent yet.

        Args:
            sold: ids of offers, which may grow. Others that the books know are claimed as well:
                a version that is no longer sold, or a model that does not load.
        """
        self._network, self._wallet, self._recorder = network, wallet, recorder
        self._sold, self._log = sold, log
        self.sending = asyncio.Lock()  # of whoever uses the wallet

    @asynccontextmanager
    async def every(self, seconds: float) -> AsyncIterator[None]:
        """Claim now and then, and at the end."""
        try:
            async with running(self._for_ever(seconds)):
                yield
        finally:
            await self.claim()  # after one that is under way

    async def _for_ever(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.shield(asyncio.ensure_future(self.claim()))

    async def claim(self) -> None:
        """Claim what every offer's vouchers promise, and settle what is due; errors are logged."""
        async with self.sending:
            if not await self._recorder.leads():
                return
            try:
                mine = {*self._sold, *await self._recorder.read(ReceiptBooks.offers)}
            except Exception as error:
                tell(self._log, "claim.failed", error)
                return
            for offer_id in mine:
                try:
                    kept = await self._recorder.read(partial(ReceiptBooks.vouchers, offer=offer_id))
                    await asyncio.to_thread(self._claim, offer_id, kept)
                except (
                    Exception
                ) as error:  # the next time brings it, and the others are claimed now
                    tell(self._log, "claim.failed", error, offer=offer_id.hex())

    def _claim(self, offer_id: Bytes32, kept: Sequence[Signed]) -> None:
        network, info = self._network, offers.show(self._network, offer_id)
        now = network.history.now()
        rows = [row for signed in kept if (row := self._row(offer_id, now, *signed)) is not None]
        for at in range(0, len(rows) if info.locks else 0, ROWS):
            self._take(info, rows[at : at + ROWS])
        claims.collect(network, self._wallet, (info,))

    def _take(self, info: OfferInfo, rows: list[VoucherRow]) -> None:
        """Claim rows; one that the chain does not take must not keep the others back."""
        while rows:
            held = claims.list_claims(self._network, (info,))
            due = [one.held for one in held if one.state is ClaimState.DUE]
            taken = {one.held.slot for one in held} - {one.slot for one in due}
            slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
            try:
                self._wallet.send(self._network.channels.claim(info.offer, due, slot, rows))
            except ContractError as error:
                if error.name != "VoucherInvalid":
                    raise
                self._log.warning("claim.left_out", error=str(error))
                del rows[error.values["row"]]
                continue
            self._log.info("claim.sent", offer=info.offer_id.hex(), channels=len(rows))
            return

    def _row(
        self, offer: Bytes32, now: Timestamp, signer: Address, voucher: Voucher
    ) -> VoucherRow | None:
        """Return a voucher as a row; None when the chain has nothing more for it."""
        channel = self._network.channels.channel_of(
            vouchers.channel_id(voucher.payer, signer, offer)
        )
        closed = channel.closes_at and now >= channel.closes_at
        if closed or not channel.claimed < voucher.cumulative <= channel.deposit:
            return None
        r, s, v = voucher.signature[:32], voucher.signature[32:64], voucher.signature[64]
        return VoucherRow(
            who=int(voucher.payer, 16) | voucher.answers << 160,
            sums=voucher.cumulative | channel.claimed << 128,
            receipts_root=voucher.receipts_root,
            r=Bytes32(r),
            vs=Bytes32((int.from_bytes(s, "big") | (v - 27) << 255).to_bytes(32, "big")),
        )
