"""From a voucher and a question to a signed answer; nothing on the way waits for a block.

```
 voucher ─▶ offer, signature ─▶ deposit (chain cache) ─▶ input ─▶ access (chain cache)
         ─▶ admit (ledger, rate limits) ─▶ model (runner) ─▶ receipt signed ─▶ kept (recorder)
         ─▶ reply
```
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from oracle.errors import InputInvalid, NotFound
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol import channel_wire, records, vouchers
from oracle.protocol.canonical import sha256
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.vouchers import Voucher
from oracle.types import ZERO32, Address, Amount, Bytes32, Contracts, Offer, Timestamp
from worker import forward
from worker.endpoint.accounts import Accounts
from worker.endpoint.books import KeptAnswer
from worker.endpoint.chain_cache import FRESH, ChainCache
from worker.endpoint.ledger import Account
from worker.endpoint.rate_limits import RateLimits
from worker.endpoint.recent import RecentAnswers
from worker.endpoint.recorder import Recorder
from worker.endpoint.refusals import (
    OfferOver,
    OfferUnknown,
    VoucherEqual,
    VoucherForeign,
    VoucherLower,
    VoucherMalformed,
    VoucherMissing,
)
from worker.endpoint.runner import ModelRunner
from worker.models import LoadedModel


@dataclass(frozen=True, slots=True)
class Sold:
    """An offer of this operator, and the model that it sells."""

    offer: Offer
    model: LoadedModel

    @property
    def name(self) -> str:
        """What the model is called in routes."""
        return self.model.manifest.name

    def named(self, name: str, version: str) -> bool:
        """Whether a route means this; without a version, any."""
        return self.name == name and version in ("", str(self.offer.version))


@dataclass(frozen=True, slots=True)
class PaidAnswer:
    """An answer that is signed and kept."""

    sold: Sold
    output: bytes  # canonical
    receipt: AnswerReceipt


class Desk:
    """Answers what is paid. For one event loop."""

    def __init__(
        self,
        contracts: Contracts,
        key: bytes,
        sold: Sequence[Sold],
        *,
        chain: ChainCache,
        runner: ModelRunner,
        recorder: Recorder,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take the collaborators.

        Args:
            key: the operator's private key, which signs receipts.
            sold: every offer, the preferred one of a model first.
        """
        self.contracts, self.sold = contracts, {vouchers.offer_id(s.offer): s for s in sold}
        self._key, self._chain, self._runner, self._recorder = key, chain, runner, recorder
        self._limits, self._now = RateLimits(chain, recorder, now), now
        self.accounts = Accounts(chain, recorder, now)
        self._recent = RecentAnswers[PaidAnswer](lambda answer: len(answer.output))
        self._vouchers = vouchers.separator(contracts.chain_id, contracts.payment_channels)
        self._receipts = vouchers.separator(contracts.chain_id, contracts.dispute_game)

    def sell(self, sold: Sold) -> None:
        """Sell another offer, before older ones of its model."""
        others = dict(self.sold)
        self.sold.clear()
        self.sold.update({vouchers.offer_id(sold.offer): sold, **others})

    # ── Answers ─────────────────────────────────────────────────────────────────────────────────
    def find(self, name: str, version: str = "") -> Sold:
        """Return what is sold under a model's name.

        Raises:
            NotFound: nothing is.
        """
        for one in self.sold.values():
            if one.named(name, version):
                return one
        raise NotFound(
            f"{name}{f' version {version}' if version else ''} is not sold here",
            hint="sold: " + ", ".join(sorted({one.name for one in self.sold.values()})),
        )

    def require_ready(self) -> None:
        """Return if another answer can be given. Raises: EndpointBusy, DiskUnusable."""
        self._runner.require_room()
        self._recorder.require_whole()

    async def require_paid(
        self, name: str, version: str, header: str | None
    ) -> tuple[Sold, Account, Voucher]:
        """Return offer and channel of a request's voucher, once the chain covers it.

        Raises:
            NotFound: no model of this name is sold.
            VoucherRefused: it does not pay for this model.
            EndpointBusy, DiskUnusable: nobody is answered now.
        """
        found = self.find(name, version)
        self.require_ready()
        if not header:
            raise VoucherMissing(
                f"an answer of {name} costs {found.offer.terms.fee} units of the token",
                hint=f"open a channel, and send a voucher as {channel_wire.VOUCHER}",
            )
        try:
            voucher, signer = channel_wire.read_voucher(header)
            digest = vouchers.voucher_digest(self._vouchers, voucher)
            by = vouchers.signer_of(digest, voucher.signature)
        except InputInvalid as error:
            raise VoucherMalformed(str(error), hint=error.hint) from error
        sold = self.sold.get(voucher.offer_id)
        if sold is None or not sold.named(name, version):
            raise OfferUnknown(
                f"offer {to_hex(voucher.offer_id)} does not sell {name} here",
                hint="GET /channels/offer",
            )
        if by != signer:
            raise VoucherForeign(
                f"{by} signed it, if it is for this chain and contract; it says {signer}",
                hint=f"sign for chain {self.contracts.chain_id} and PaymentChannels at "
                f"{self.contracts.payment_channels}",
            )
        await self._require_cover(voucher.offer_id, sold.offer)
        account = await self.accounts.of(voucher, signer, sold.offer)
        return sold, account, voucher

    async def answer(
        self,
        paid: tuple[Sold, Account, Voucher],
        encoded: bytes,
        params: Bytes32,
        tell: Callable[[str], object] = lambda _step: None,
        heard: Callable[[str], object] = lambda _piece: None,
    ) -> PaidAnswer:
        """Answer a question that a voucher pays; who lost the reply asks the same again.

        Who goes away before a piece of the text was told stops its writing, and nothing is charged.
        After that it is written to its end, signed and charged: what was read is owed.

        Args:
            encoded: the canonical input.
            params: the packed parameters.
            tell: is told that the question is `queued`, then `running`, unless it was asked before.
            heard: is told each piece of a text that is written; an empty one says that it fits.

        Raises:
            InputInvalid: it does not fit the model.
            ContractError: its owner does not let the payer ask so, or so often.
            VoucherRefused: the voucher pays for no further answer.
            ModelFailed, OutputInvalid, OutputTooLarge: nothing is charged.
            DiskUnusable: nothing leaves any more.
        """
        question = sha256(paid[2].signature + sha256(encoded) + params)

        read = False

        def hear(piece: str) -> None:
            nonlocal read
            read = read or bool(piece)
            heard(piece)

        async def answer() -> PaidAnswer:
            try:
                return await self._answer(paid, question, encoded, params, tell, hear)
            except (VoucherLower, VoucherEqual):  # it paid: for this question, perhaps
                given = await self.accounts.given(paid[1], question)
                if given is None:
                    raise
                return PaidAnswer(paid[0], given[1], given[0])

        text = forward.is_text(paid[0].model.manifest)
        return await self._recent.once(question, answer, lambda: text and not read)

    async def _answer(  # noqa: PLR0917 - what is asked, who pays, who hears of it
        self,
        paid: tuple[Sold, Account, Voucher],
        question: bytes,
        encoded: bytes,
        params: Bytes32,
        tell: Callable[[str], object],
        heard: Callable[[str], object],
    ) -> PaidAnswer:
        sold, account, voucher = paid
        model = sold.model
        if len(encoded) > MAX_BLOCK:
            raise InputInvalid(
                f"the input has {len(encoded)} bytes, above the limit of {MAX_BLOCK}",
                hint="ask with fewer rows at a time",
            )
        inputs, values = model.form.decode_inputs(encoded), model.manifest.unpack_params(params)
        most = model.manifest.max_output_bytes
        if model.manifest.exact is None and (size := model.manifest.output_size(inputs)) > most:
            raise InputInvalid(  # before the model works in vain
                f"the answer would have {size} bytes, above the model's limit of {most}",
                hint="ask with fewer rows at a time",
            )
        model_id = sold.offer.model_id
        await self._chain.require_access(model_id, voucher.payer, params)
        await self.accounts.admit(account, voucher, question)
        try:
            alike = [o for o, one in self.sold.items() if one.offer.model_id == model_id]
            await self._limits.admit(model_id, voucher.payer, alike)
            tell("queued")
            queued_at = self._now()
            output = await self._runner.run(model, values, inputs, lambda: tell("running"), heard)
            if self._now() - queued_at > FRESH:  # a receipt for who was refused since convicts us
                await self._chain.require_access(model_id, voucher.payer, params, 0)
        except BaseException:
            account.drop()
            raise
        sign = partial(self._sign, paid, question, params, encoded, output)
        return PaidAnswer(sold, output, await self.accounts.book(account, voucher, question, sign))

    async def agree_to_close(  # noqa: PLR0917 - what is signed, and by whom
        self, payer: Address, signer: Address, offer_id: Bytes32, cumulative: Amount,
        deadline: Timestamp, signature: bytes,
    ) -> bytes:  # fmt: skip
        """Sign that a channel may close at once, at what its answers cost; then answer no more.

        Args:
            offer_id: of any offer of this operator, also of one that is sold no more.
            cumulative: what the payer leaves; not below what is promised or claimed.
            deadline: until when the consent can be used, in unix seconds.
            signature: of the channel's signer over the same, so that nobody else ends it.

        Raises:
            VoucherRefused: the signature or the sum is not right.
            InputInvalid: the deadline is over, or too far away.
            EndpointBusy: an answer is under way.
        """
        channel = vouchers.channel_id(payer, signer, offer_id)
        digest = vouchers.close_digest(self._vouchers, channel, cumulative, deadline)
        if vouchers.signer_of(digest, signature) != signer:
            raise VoucherForeign(f"{signer} did not sign this close", hint="sign with its key")
        fee = self.fee_of(offer_id)
        await self.accounts.agree_to_close(payer, signer, offer_id, fee, cumulative, deadline)
        return vouchers.sign(self._key, digest)

    def fee_of(self, offer_id: Bytes32) -> Amount | None:
        """Return what an answer of an offer costs; None = it is not sold, or not any more."""
        sold = self.sold.get(offer_id)
        return None if sold is None else sold.offer.terms.fee

    async def leads(self) -> bool:
        """Whether this endpoint sends what one of an operator's endpoints alone must send."""
        return await self._recorder.leads()

    async def locks(self, offer: Bytes32) -> int:
        """Return how many convictions of an offer are paid for."""
        return (await self._chain.cover(offer)).locks

    async def _require_cover(self, offer_id: Bytes32, offer: Offer) -> None:
        cover = await self._chain.cover(offer_id)
        window = offer.terms.challenge_window
        if not cover.locks or (cover.ends_at and self._now() >= cover.ends_at - window):
            raise OfferOver(
                f"no stake stands behind offer {to_hex(offer_id)} for as long as an answer can be "
                "challenged",
                hint="GET /channels/offer; close the channel",
            )

    def _sign(  # noqa: PLR0917 - what a receipt is of
        self,
        paid: tuple[Sold, Account, Voucher],
        question: bytes,
        params: Bytes32,
        encoded: bytes,
        output: bytes,
        index: int,
    ) -> tuple[AnswerReceipt, Bytes32, KeptAnswer]:
        """Sign the receipt of an index; see `Sign`."""
        sold, account, voucher = paid
        form, located, at = sold.model.form, sha256(encoded), Timestamp(int(self._now()))
        input_root, output_root = form.input_root(encoded), form.output_root(output)
        input_cid = ZERO32 if located == input_root else located
        request = vouchers.answer_request(
            sold.offer, voucher.payer, account.signer, index, at, input_root, input_cid, params
        )
        request_id = records.request_id(
            self.contracts.chain_id, self.contracts.inference_market, request
        )
        digest = vouchers.receipt_digest(self._receipts, request_id, output_root)
        signature = vouchers.sign(self._key, digest)
        receipt = AnswerReceipt(
            index, at, input_root, input_cid, params, output_root, ZERO32, signature
        )
        until = Timestamp(at + sold.offer.terms.challenge_window)
        return receipt, digest, KeptAnswer(until, encoded, output, question)
