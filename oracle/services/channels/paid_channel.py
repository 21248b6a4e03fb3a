"""A payment channel as its payer uses it: vouchers signed ahead, money put in when it is needed.

```
 ask ─▶ voucher n ─▶ endpoint (endpoint_client.py) ─▶ receipt (received_receipts.py) ─▶ answer
          └ root over the receipts so far                └ wrong: ReceiptWrong, nobody asks on
```
The signer is a key of the channel's own, kept in its folder: what it can spend is the deposit.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from oracle.chain.bindings.payment_channels import ChannelWithdrawn
from oracle.chain.wallet import Wallet
from oracle.errors import Refused, TransientError
from oracle.exact import form
from oracle.protocol import channel_wire, text, vouchers
from oracle.protocol.canonical import sha256
from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.manifest import Manifest
from oracle.protocol.receipt_file import ReceiptFile
from oracle.protocol.vouchers import Voucher
from oracle.services.amounts import format_amount
from oracle.services.channels import deposits, offers, summons
from oracle.services.channels.deposits import PaidBack
from oracle.services.channels.endpoint_client import (
    PATIENCE,
    WRITING,
    EndpointClient,
    VoucherNotTaken,
)
from oracle.services.channels.kept import KeptChannel
from oracle.services.channels.received_receipts import ReceivedAnswer, ReceivedReceipts
from oracle.services.network import Network
from oracle.services.receipts import send
from oracle.types import Amount, Bytes32, Offer, RequestId, Timestamp

CONSENT = 120  # seconds in which an agreed close is sent


class ChannelClient:
    """One channel of a wallet. Safe for threads."""

    def __init__(
        self, network: Network, wallet: Wallet, offer: Offer, manifest: Manifest, url: str,
        *, deposit: Amount, limit: Amount | None, patience: float | None = None,
    ) -> None:  # fmt: skip
        """Open the channel's folder; money moves when the first answer is asked.

        Args:
            url: of the operator's endpoint.
            deposit: what the channel is opened, and topped up, with.
            limit: of all deposits together; None = none.
            patience: seconds for one answer; by default longer for one that is written.

        Raises:
            Unavailable, EndpointRefused: the endpoint does not say what it holds of the channel.
        """
        self.network, self._wallet, self._offer, self.url = network, wallet, offer, url
        self.manifest, self.form, self._fee = manifest, form.of(manifest), offer.terms.fee
        self._step, self.limit = deposit, limit
        self.offer_id = vouchers.offer_id(offer)
        contracts = network.contracts
        self._voucher_domain = vouchers.separator(contracts.chain_id, contracts.payment_channels)
        self._kept = KeptChannel.make(network.settings.home, contracts, offer, wallet.address)
        self._key, self.channel = self._kept.key, self._kept.channel
        self.signer, self.channel_id = self.channel.signer, self.channel.channel_id
        self._place = f"{wallet.address}/{self.signer}/{to_hex(self.offer_id)}"
        if patience is None:
            patience = WRITING if manifest.runtime.format == text.FORMAT else PATIENCE
        self._endpoint, self._lock = EndpointClient(url, patience), threading.Lock()
        self._received = ReceivedReceipts(self._kept, offer.operator, self.form)
        self.deposit = network.channels.channel_of(self.channel_id).deposit
        self._in_flight, self._closed = 0, False
        self._asked_at: dict[tuple[str, Bytes32, Bytes32], float] = {}  # whose reply is not here
        self.catch_up()

    @property
    def answered(self) -> int:
        """How many receipts are here without a gap."""
        return self._received.tree.count

    @property
    def left(self) -> Amount:
        """What the deposit holds for further answers."""
        return Amount(self.deposit - len(self._received) * self._fee)

    def lacks(self) -> Amount:
        """Return what the next question puts into the channel.

        Raises:
            Refused: the limit is used up.
        """
        return self._more(Amount((len(self._received) + 1) * self._fee))

    @property
    def folder(self) -> Path:
        """Where receipts and answers are kept."""
        return self._kept.folder

    def require_use(self) -> None:
        """Return if the operator's word was right so far.

        Raises:
            ReceiptWrong: it was not.
        """
        self._received.require_right()

    def top_up(self) -> None:
        """Put another deposit into the channel, as far as the limit allows; asking goes on.

        Raises:
            Refused: the limit is used up, or there is no money. ContractError.
        """
        more = self._more(Amount(self.deposit + 1))
        info = offers.show(self.network, self.offer_id)
        found = deposits.fund(self.network, self._wallet, info, more, signer=self.signer)
        with self._lock:
            self.deposit = Amount(max(self.deposit, found.deposit))

    def ask_encoded(
        self, encoded: bytes, params: Bytes32, heard: Callable[[str], object] | None = None
    ) -> ReceivedAnswer:
        """Pay for an answer and return it.

        Args:
            encoded: the canonical input.
            params: the packed parameters.
            heard: is told each piece of a text while it is written; nobody has signed them yet.

        Raises:
            VoucherNotTaken, EndpointRefused: nothing was charged.
            ReceiptWrong: the operator's word is not worth its price; nothing more is asked.
            Unavailable: no reply. The same question again brings the same answer, if there is one;
                another one takes over its receipt.
        """
        while True:
            known = len(self._received)
            try:
                return self._ask(encoded, params, heard)
            except VoucherNotTaken:  # a reply was lost, here or in another process
                self.catch_up()
                if len(self._received) == known:
                    raise

    def catch_up(self) -> None:
        """Take over receipts whose replies were lost."""
        with self._lock:
            self._asked_at.clear()
            before = -1
            while before < self._received.tree.count:
                before = self._received.tree.count
                for receipt in self._endpoint.receipts(self._place, before):
                    self._received.take(receipt)

    def summon(self, answer: ReceivedAnswer) -> RequestId:
        """Write an answer into the market, where it is disputed like every delivery.

        The prepaid balance pays its fee once more, which a conviction brings back. The input is
        published: who disputes needs it.

        Raises:
            ContractError: it is too late, or the balance is too small.
        """
        file = ReceiptFile(self.channel, answer.receipt, input=answer.input, output=answer.output)
        return summons.summon(self.network, self._wallet, file).request_id

    def close(self) -> PaidBack:
        """Close the channel at once, as its operator agrees; what is left is paid back.

        Raises:
            VoucherNotTaken, EndpointRefused, Unavailable: it does not agree, or does not say.
                `deposits.close` needs no consent, but a delay.
            ContractError: the consent came too late.
        """
        claimed = self.network.channels.channel_of(self.channel_id).claimed
        deadline = Timestamp(self.network.history.now() + CONSENT)
        with self._lock:
            # Of answers that were signed ahead and failed, the price may be gone with the voucher
            signed = self._received.signed.read() * self._fee
            held = min(self._endpoint.promised(self._place), signed)
            left = Amount(max(len(self._received) * self._fee, claimed, held))
            digest = vouchers.close_digest(self._voucher_domain, self.channel_id, left, deadline)
            wish = {
                "cumulative": str(left), "deadline": deadline,
                "signature": to_hex(vouchers.sign(self._key, digest)),
            }  # fmt: skip
            consent = self._endpoint.agree_to_close(self._place, wish)
            call = self.network.channels.close_agreed(
                self.signer, self._offer, left, deadline, consent
            )
            transaction, receipt = send(self._wallet, call)
            self.deposit, self._closed = left, True
        return PaidBack(transaction, self.channel_id, receipt.one(ChannelWithdrawn).amount)

    # ── Inside ──────────────────────────────────────────────────────────────────────────────────
    def _ask(
        self, encoded: bytes, params: Bytes32, heard: Callable[[str], object] | None
    ) -> ReceivedAnswer:
        voucher = self._pay()
        question = voucher, sha256(encoded), params
        asked_at = self._asked_at.setdefault(question, time.time())
        reply: tuple[str, bytes] | None = None
        try:
            reply = self._endpoint.answer(
                self.manifest.name, self._offer.version, voucher, encoded, params, heard
            )
        except TransientError:  # it may have answered
            raise
        except BaseException:
            self._asked_at.pop(question, None)
            raise
        finally:
            with self._lock:  # counted until its receipt is: others sign for both
                self._in_flight -= 1
                if reply is not None:
                    self._asked_at.pop(question, None)
                    received = self._received.check(*reply, encoded, params, asked_at)
        return received

    def _pay(self) -> str:
        """Return a voucher for one answer more than are given and under way."""
        with self._lock:
            self.require_use()
            if self._closed:
                raise Refused(
                    "the channel was closed", hint=f"it can be used again after {2 * CONSENT} s"
                )
            answers = len(self._received) + self._in_flight + 1
            self._cover(Amount(answers * self._fee))
            voucher = Voucher(
                self._wallet.address, self.offer_id, Amount(answers * self._fee), answers,
                self._received.tree.root,
            )  # fmt: skip
            signature = vouchers.sign(
                self._key, vouchers.voucher_digest(self._voucher_domain, voucher)
            )
            self._received.signed.raise_to(answers)
            self._in_flight += 1
        return channel_wire.voucher_header(replace(voucher, signature=signature), self.signer)

    def _cover(self, promised: Amount) -> None:
        """Open the channel or top it up when it holds less than is promised."""
        if promised <= self.deposit:
            return
        # Others of this wallet may have topped it up: the limit is for all together
        self.deposit = self.network.channels.channel_of(self.channel_id).deposit
        if more := self._more(promised):
            info = deposits.fund(
                self.network, self._wallet, offers.show(self.network, self.offer_id), more,
                signer=self.signer,
            )  # fmt: skip
            self.deposit = info.deposit

    def _more(self, promised: Amount) -> Amount:
        """Return what the channel lacks, in whole deposits unless the limit is nearer."""
        lacks = promised - self.deposit
        if lacks <= 0:
            return Amount(0)
        more = -(-lacks // self._step) * self._step
        if self.limit is not None:
            more = min(more, self.limit - self.deposit)
        if more < lacks:
            assert self.limit is not None
            raise Refused(
                f"the channel's limit of {format_amount(self.limit)} does not suffice: "
                f"{format_amount(self.deposit)} is put in, and the next answer needs "
                f"{format_amount(promised)} in all",
                hint="raise the limit; what is not spent comes back",
            )
        return Amount(more)
