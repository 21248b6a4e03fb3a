"""What can be said about receipts: offline from their files alone, on chain, and by re-executing.

```
 file ─▶ offline:  signature · question · answer · root      several: order · equivocation
      ─▶ on chain: network · offer · operator · price · access · payment · voucher · summons
      ─▶ re-executed: an exact version's answer
```
Every line says what was found, or that it was not checked and why. Nothing follows from silence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from oracle.chain.bindings.payment_channels import Channel, Summoned
from oracle.chain.contract_signature import signed_by_contract
from oracle.chain.revert import ContractError
from oracle.chain.rpc import RpcError
from oracle.errors import InputInvalid, NotFound, TallystickError
from oracle.protocol.receipt_file import ReceiptFile
from oracle.protocol.vouchers import Voucher
from oracle.services import answer_check, requests
from oracle.services.amounts import format_amount, format_time
from oracle.services.answer_check import CheckOutcome
from oracle.services.channels import claims, offers, receipt_findings
from oracle.services.channels.offers import OfferInfo
from oracle.services.channels.receipt_findings import CheckResult, ReceiptFinding, english
from oracle.services.network import Network
from oracle.services.reexecution import Reexecutor
from oracle.services.request_timeline import Words
from oracle.types import Address, Amount, Assurance, Bytes32, RequestId, Timestamp


@dataclass(frozen=True, slots=True)
class ReceiptCheck:
    """One receipt, with all that was found."""

    request_id: RequestId
    channel_id: Bytes32
    index: int
    model_id: int
    version: int
    operator: Address
    payer: Address
    fee: Amount
    answered_at: Timestamp
    input_root: Bytes32
    output_root: Bytes32
    verdict: CheckOutcome | None  # of the answer itself; None = nobody computed it again
    checks: tuple[ReceiptFinding, ...]
    next: str

    @property
    def wrong(self) -> bool:
        """Whether anything is."""
        return any(check.result is CheckResult.WRONG for check in self.checks)


@dataclass(frozen=True, slots=True)
class ReceiptsCheck:
    """Receipts, and what they say about each other."""

    receipts: tuple[ReceiptCheck, ...]
    together: tuple[ReceiptFinding, ...]

    @property
    def wrong(self) -> bool:
        """Whether anything is."""
        found = any(check.result is CheckResult.WRONG for check in self.together)
        return found or any(receipt.wrong for receipt in self.receipts)

    @property
    def right(self) -> bool:
        """Whether every answer was computed again, and nothing is wrong."""
        return not self.wrong and all(r.verdict is CheckOutcome.RIGHT for r in self.receipts)


def verify(
    files: Sequence[ReceiptFile],
    open_network: Callable[[], Network] | None,
    *,
    recompute: bool,
    kept: Callable[[Bytes32], Sequence[Bytes32]] = lambda _: (),
    t: Words = english,
) -> ReceiptsCheck:
    """Check receipts.

    Args:
        files: as they were given; nothing of them is believed.
        open_network: opens the network; None = stay offline. What it raises is said as a reason.
        recompute: whether answers of exact versions are re-executed.
        kept: gives the digests of a channel's receipts that are here beside the files, from 1 on.
    """
    chain: _Chain | ReceiptFinding
    if open_network is None:
        chain = ReceiptFinding(
            "network", CheckResult.UNKNOWN, t("receipt.network.unknown", why="offline")
        )
    else:
        try:
            chain = _Chain(open_network(), receipt_findings.leaves(files), kept, t)
        except (TallystickError, RpcError) as error:
            why = t("receipt.network.unknown", why=str(error))
            chain = ReceiptFinding("network", CheckResult.UNKNOWN, why)
    return ReceiptsCheck(
        tuple(_verify(file, chain, recompute=recompute, t=t) for file in files),
        receipt_findings.together(files, t),
    )


def _verify(
    file: ReceiptFile, chain: "_Chain | ReceiptFinding", *, recompute: bool, t: Words
) -> ReceiptCheck:
    channel, receipt = file.channel, file.receipt
    found = {check.what: check for check in receipt_findings.offline(file, t)}
    here = chain if isinstance(chain, _Chain) and chain.knows(file) else None
    if isinstance(chain, ReceiptFinding):
        found["network"] = chain
    elif here is None:
        why = t("receipt.network.other", theirs=channel.chain_id)
        found["network"] = ReceiptFinding("network", CheckResult.UNKNOWN, why)
    else:
        if found["signature"].result is CheckResult.WRONG and here.signed_by_contract(file):
            why = t("receipt.signature.contract", operator=channel.offer.operator)
            found["signature"] = ReceiptFinding("signature", CheckResult.CHECKED, why)
        found |= {check.what: check for check in here.checks(file)}
    verdict, found["recomputed"] = _recomputed(file, here if recompute else None, t)
    return ReceiptCheck(
        request_id=file.request_id,
        channel_id=channel.channel_id,
        index=receipt.index,
        model_id=channel.offer.model_id,
        version=channel.offer.version,
        operator=channel.offer.operator,
        payer=channel.payer,
        fee=channel.offer.terms.fee,
        answered_at=receipt.answered_at,
        input_root=receipt.input_root,
        output_root=receipt.output_root,
        verdict=verdict,
        checks=tuple(found.values()),
        next=_next(file, found, verdict, here, t),
    )


def _recomputed(
    file: ReceiptFile, chain: "_Chain | None", t: Words
) -> tuple[CheckOutcome | None, ReceiptFinding]:
    """Execute an exact version again on the input that was signed."""
    if file.channel.offer.terms.assurance is not Assurance.EXACT:
        why = t("receipt.recomputed.float")
        return CheckOutcome.COMMITTEE, ReceiptFinding("recomputed", CheckResult.UNKNOWN, why)
    if chain is None:
        return None, ReceiptFinding(
            "recomputed", CheckResult.UNKNOWN, t("receipt.recomputed.skipped")
        )
    request = file.channel.request(file.receipt)
    try:
        truth = chain.reexecutor.run(request, file.input)
    except (TallystickError, RpcError) as error:
        why = t("receipt.recomputed.unknown", why=str(error))
        return None, ReceiptFinding("recomputed", CheckResult.UNKNOWN, why)
    if truth.output_root == file.receipt.output_root:
        return CheckOutcome.RIGHT, ReceiptFinding(
            "recomputed", CheckResult.CHECKED, t("receipt.recomputed.right")
        )
    expected = offers.name(truth.output_root)
    why = t("receipt.recomputed.wrong", expected=expected)
    if file.output is not None and (at := answer_check.difference(truth, file.output)):
        why = t(
            "receipt.recomputed.element", expected=expected, row=at.row, col=at.col, got=at.got,
            right=at.expected,
        )  # fmt: skip
    return CheckOutcome.WRONG, ReceiptFinding("recomputed", CheckResult.WRONG, why)


def _next(
    file: ReceiptFile,
    found: Mapping[str, ReceiptFinding],
    verdict: CheckOutcome | None,
    chain: "_Chain | None",
    t: Words,
) -> str:
    """Return what to do."""
    wrong = {what for what, check in found.items() if check.result is CheckResult.WRONG}
    facts = {
        "operator": file.channel.offer.operator, "payer": file.channel.payer,
        "request": "0x" + file.request_id.hex(), "until": format_time(until(file)),
    }  # fmt: skip
    key = "nothing"
    if "signature" in wrong:
        key = "forged"
    elif wrong & {"question", "answer", "root"}:
        key = "bytes"
    elif "access" in wrong:
        key = "refused"
    elif chain is None or wrong - {"recomputed"}:
        key = "unknown"
    elif chain.summoned(file):
        key = "summoned"
    elif verdict is CheckOutcome.WRONG and chain.now >= until(file):
        key = "late"
    elif verdict in (CheckOutcome.WRONG, CheckOutcome.COMMITTEE) and chain.now < until(file):
        convicts = "summon" if verdict is CheckOutcome.WRONG else "committee"
        key = convicts if (info := chain.offer(file)) and info.locks else "unfunded"
    elif verdict is not CheckOutcome.RIGHT:
        key = "unknown"
    return t("receipt.next." + key, **facts)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """The voucher by which a channel was claimed last, and the receipts to hold against it."""

    voucher: Voucher
    known: Sequence[Bytes32]
    roots: Mapping[Bytes32, int]


# ── On chain ────────────────────────────────────────────────────────────────────────────────────
class _Chain:
    """What the chain says; each offer, channel and list of summons is read once."""

    def __init__(
        self,
        network: Network,
        given: Mapping[Bytes32, Sequence[Bytes32]],
        kept: Callable[[Bytes32], Sequence[Bytes32]],
        t: Words,
    ) -> None:
        self.network, self._given, self._kept, self._t = network, given, kept, t
        self.now, self.reexecutor = network.history.now(), Reexecutor(network)
        self._offers: dict[Bytes32, OfferInfo | None] = {}
        self._summons: dict[Bytes32, set[RequestId]] = {}
        self._authorised: dict[Bytes32, bool] = {}
        self._channels: dict[Bytes32, Channel] = {}
        self._claimed: dict[Bytes32, _Claimed | str] = {}

    def knows(self, file: ReceiptFile) -> bool:
        """Whether a file is for this chain and these contracts."""
        contracts, channel = self.network.contracts, file.channel
        return (channel.chain_id, channel.market, channel.game, channel.channels) == (
            contracts.chain_id, contracts.inference_market, contracts.dispute_game,
            contracts.payment_channels,
        )  # fmt: skip

    def offer(self, file: ReceiptFile) -> OfferInfo | None:
        offer_id = file.channel.offer_id
        if offer_id not in self._offers:
            found = offers.list_offers(self.network, offer_ids=(offer_id,))
            self._offers[offer_id] = found[0] if found else None
        return self._offers[offer_id]

    def summoned(self, file: ReceiptFile) -> bool:
        """Whether the receipt's answer is, or was, in the market."""
        offer_id = file.channel.offer_id
        if offer_id not in self._summons:
            found = self.network.history.read(
                self.network.channels.address, (Summoned,), None, offer_id
            )
            self._summons[offer_id] = {
                h.event.request_id for h in found if isinstance(h.event, Summoned)
            }
        return file.request_id in self._summons[offer_id]

    def signed_by_contract(self, file: ReceiptFile) -> bool:
        """Ask an operator that is a contract whether it signed (ERC-1271)."""
        operator, signature = file.channel.offer.operator, file.receipt.signature
        return signed_by_contract(self.network.rpc, operator, file.digest, signature)

    def checks(self, file: ReceiptFile) -> list[ReceiptFinding]:
        """Return what the chain says about a receipt of its own."""
        t, info = self._t, self.offer(file)
        chain = self.network.contracts.chain_id
        found = [
            ReceiptFinding(
                "network", CheckResult.CHECKED, t("receipt.network.checked", chain=chain)
            )
        ]
        if info is None:
            return [*found, ReceiptFinding("offer", CheckResult.WRONG, t("receipt.offer.wrong"))]
        state = t("offer." + info.state.name)
        why = t("receipt.offer.checked", state=state, locks=info.locks)
        found.append(ReceiptFinding("offer", CheckResult.CHECKED, why))
        if info.offer_id not in self._authorised:
            may = self.network.operators.is_authorized(info.model_id, info.operator)
            self._authorised[info.offer_id] = may
        may = self._authorised[info.offer_id]
        why = t("receipt.operator." + ("checked" if may else "ended"))
        found.append(ReceiptFinding("operator", CheckResult.CHECKED, why))
        why = t(
            "receipt.price." + ("checked" if info.current else "changed"),
            fee=format_amount(info.fee),
        )
        found.append(ReceiptFinding("price", CheckResult.CHECKED, why))
        found += [self._access(file), self._payment(file, info), self._voucher(file)]
        return [*found, self._stands(file)]

    def _access(self, file: ReceiptFile) -> ReceiptFinding:
        """Whether the model's owner had refused the payer, by rules that still stand."""
        access, receipt = self.network.access, file.receipt
        who = file.channel.offer.model_id, file.channel.payer, receipt.params
        known_by = max(0, receipt.answered_at - offers.ACCESS_GRACE)
        if access.refused_at(*who, known_by) and receipt.answered_at <= self.now:
            key, result = "wrong", CheckResult.WRONG
        else:
            try:
                access.check(*who)
                key, result = "checked", CheckResult.CHECKED
            except ContractError:
                key, result = "unknown", CheckResult.UNKNOWN
        why = self._t(f"receipt.access.{key}", payer=file.channel.payer)
        return ReceiptFinding("access", result, why)

    def _channel(self, file: ReceiptFile) -> Channel:
        channel_id = file.channel.channel_id
        if channel_id not in self._channels:
            self._channels[channel_id] = self.network.channels.channel_of(channel_id)
        return self._channels[channel_id]

    def _payment(self, file: ReceiptFile, info: OfferInfo) -> ReceiptFinding:
        channel = self._channel(file)
        left, due = Amount(channel.deposit - channel.claimed), file.receipt.index * info.fee
        if channel.claimed >= due:
            why = self._t(
                "receipt.payment.claimed", claimed=format_amount(Amount(channel.claimed)),
                answers=channel.claimed // info.fee if info.fee else "…",
            )  # fmt: skip
        else:
            key = "open" if channel.deposit >= due else "uncovered"
            why = self._t(f"receipt.payment.{key}", left=format_amount(left))
        return ReceiptFinding("payment", CheckResult.CHECKED, why)

    def _voucher(self, file: ReceiptFile) -> ReceiptFinding:
        """Whether the receipt is below the root of the voucher that was claimed last."""
        channel_id, claimed = file.channel.channel_id, Amount(self._channel(file).claimed)
        if not claimed:
            why = self._t("receipt.voucher.none")
            return ReceiptFinding("voucher", CheckResult.UNKNOWN, why)
        if channel_id not in self._claimed:
            self._claimed[channel_id] = self._read_claimed(file, claimed)
        found = self._claimed[channel_id]
        if isinstance(found, str):
            why = self._t("receipt.voucher.unknown", why=found)
            return ReceiptFinding("voucher", CheckResult.UNKNOWN, why)
        return receipt_findings.voucher(file, found.voucher, found.known, found.roots, self._t)

    def _read_claimed(self, file: ReceiptFile, claimed: Amount) -> "_Claimed | str":
        channel_id = file.channel.channel_id
        try:
            voucher = claims.claimed_voucher(self.network, file.channel, claimed)
            known = max(self._given.get(channel_id, ()), self._kept(channel_id), key=len)
        except (InputInvalid, NotFound) as error:
            return str(error)
        return _Claimed(voucher, known, receipt_findings.roots_over(known))

    def _stands(self, file: ReceiptFile) -> ReceiptFinding:
        if self.summoned(file):
            state = requests.show(self.network, file.request_id).state
            why = self._t("receipt.summons.done", state=self._t("state." + state.name))
        else:
            key = "none" if self.now < until(file) else "late"
            why = self._t(f"receipt.summons.{key}", until=format_time(until(file)))
        return ReceiptFinding("summons", CheckResult.CHECKED, why)


def until(file: ReceiptFile) -> Timestamp:
    """Return when a receipt can be summoned no more. Pure."""
    return Timestamp(file.receipt.answered_at + file.channel.offer.terms.challenge_window)
