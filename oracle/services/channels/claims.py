"""Claims that are held: paid out once their window has passed, or given back to the payers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from oracle.chain import codec
from oracle.chain.bindings.inference_market import Finalized
from oracle.chain.bindings.payment_channels import (
    ClaimSettled,
    ClaimVoided,
    Held,
    VoucherRow,
    VouchersClaimed,
)
from oracle.chain.contract import struct
from oracle.chain.rpc import hexbytes
from oracle.chain.wallet import Wallet
from oracle.errors import NotFound, Refused
from oracle.protocol import vouchers
from oracle.protocol.canonical import keccak
from oracle.protocol.receipt_file import SignedChannel
from oracle.protocol.vouchers import Voucher, signer_of
from oracle.services.channels import offers, summons
from oracle.services.channels.offers import OfferInfo, OfferState
from oracle.services.network import Network
from oracle.services.receipts import Sent, sent
from oracle.types import Address, Amount, Bytes32, Timestamp

_LOOKED = 200  # claims of an offer whose transactions are read for a voucher, the newest


class ClaimState(Enum):
    """What can be done with a held claim now."""

    HELD = "its challenge window is open"
    DUE = "can be settled"
    BLOCKED = "waits: as many answers are summoned as locks are left"
    VOID = "its offer is exhausted: it goes back to the payers"


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """Vouchers of many channels that were claimed together and are not paid yet."""

    offer_id: Bytes32
    state: ClaimState
    total: Amount
    ready_at: Timestamp  # end of its challenge window
    transaction: Bytes32  # that claimed it
    held: Held


@dataclass(frozen=True, slots=True)
class ClaimsCollected:
    """What was paid out, and what still waits."""

    transactions: tuple[Sent, ...]
    settled: tuple[HeldClaim, ...]
    earned: Amount  # the operator's share, now in its prepaid balance
    waiting: tuple[HeldClaim, ...]


@dataclass(frozen=True, slots=True)
class ClaimsVoided:
    """What went back from an exhausted offer to its channels."""

    transactions: tuple[Sent, ...]
    voided: tuple[HeldClaim, ...]
    total: Amount


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def list_claims(network: Network, infos: Sequence[OfferInfo]) -> tuple[HeldClaim, ...]:
    """Return the held claims of offers, oldest first."""
    if not infos:
        return ()
    kinds = (VouchersClaimed, ClaimSettled, ClaimVoided)
    by_id = {info.offer_id: info for info in infos}
    held: dict[tuple[Bytes32, int], tuple[VouchersClaimed, Bytes32]] = {}
    for happened in network.history.read(network.channels.address, kinds, offers.only(by_id)):
        event = happened.event
        if isinstance(event, VouchersClaimed) and event.offer_id in by_id:
            held[event.offer_id, event.slot] = event, happened.tx_hash
        elif isinstance(event, ClaimSettled | ClaimVoided):
            held.pop((event.offer_id, event.slot), None)
    now = network.history.now()
    return tuple(_claim(by_id[e.offer_id], e, tx_hash, now) for e, tx_hash in held.values())


def state_of(info: OfferInfo, ready_at: Timestamp, now: Timestamp) -> ClaimState:
    """Return what can be done with a claim of an offer. Pure."""
    if info.state is OfferState.EXHAUSTED:
        return ClaimState.VOID
    if now < ready_at:
        return ClaimState.HELD
    return ClaimState.BLOCKED if info.open and info.open >= info.locks else ClaimState.DUE


def rows_in(data: bytes, rows_hash: Bytes32) -> tuple[VoucherRow, ...] | None:
    """Return the rows of this hash from calldata that claims them, however it is wrapped. Pure.

    A multicall or a contract account carries the call inside; the hash says which it is.
    """
    claim = codec.interface("PaymentChannels")["claim"]
    at = data.find(claim.selector)
    while at >= 0:
        try:
            rows = codec.decode(claim.inputs, data[at + 4 :])[-1]
        except DecodingError:  # these four bytes were something else
            rows = ()
        if rows and keccak(codec.encode(claim.inputs[-1:], [rows])) == rows_hash:
            return tuple(struct(VoucherRow, row) for row in rows)
        at = data.find(claim.selector, at + 1)
    return None


def claimed_voucher(network: Network, channel: SignedChannel, claimed: Amount) -> Voucher:
    """Return the voucher by which so much of a channel is claimed, from that claim's transaction.

    Raises:
        NotFound: the transactions of the offer's last claims do not carry it.
    """
    place, domain = network.channels.address, vouchers.separator(channel.chain_id, channel.channels)
    found = network.history.read(place, (VouchersClaimed,), channel.offer_id)[-_LOOKED:]
    for happened in reversed(found):
        assert isinstance(happened.event, VouchersClaimed)
        transaction = network.rpc.call("eth_getTransactionByHash", offers.name(happened.tx_hash))
        for row in rows_in(hexbytes(transaction["input"]), happened.event.rows_hash) or ():
            voucher = _voucher(row, channel.offer_id)
            if (voucher.payer, voucher.cumulative) == (channel.payer, claimed):
                digest = vouchers.voucher_digest(domain, voucher)
                by_contract = row.who >> 255
                signer = voucher.payer if by_contract else signer_of(digest, voucher.signature)
                if signer == channel.signer:
                    return voucher
    raise NotFound(f"the transactions of the last {len(found)} claims do not carry it")


def _voucher(row: VoucherRow, offer_id: Bytes32) -> Voucher:
    payer = Address(to_checksum_address(f"{row.who & (1 << 160) - 1:#042x}"))
    vs = int.from_bytes(row.vs, "big")
    s = (vs & (1 << 255) - 1).to_bytes(32, "big")
    return Voucher(
        payer, offer_id, Amount(row.sums & (1 << 128) - 1), row.who >> 160 & (1 << 64) - 1,
        row.receipts_root, row.r + s + bytes([27 + (vs >> 255)]),
    )  # fmt: skip


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────
def collect(network: Network, wallet: Wallet, infos: Sequence[OfferInfo]) -> ClaimsCollected:
    """Settle the held claims of these offers that are due; anyone may.

    Summoned answers that are over are ended first: they may be what a claim waits for.
    """
    ended: list[Sent] = []
    for info in infos:
        if info.open:
            ended += summons.end(network, wallet, info.offer_id)
    now_infos = [offers.show(network, i.offer_id) if i.open else i for i in infos]
    found = list_claims(network, now_infos)
    due = [claim for claim in found if claim.state is ClaimState.DUE]
    calls = [
        network.channels.settle(info.offer, [c.held for c in due if c.offer_id == info.offer_id])
        for info in now_infos
        if any(c.offer_id == info.offer_id for c in due)
    ]
    receipts = wallet.send_all(calls)
    return ClaimsCollected(
        transactions=(*ended, *map(sent, calls, receipts)),
        settled=tuple(due),
        earned=Amount(sum(receipt.one(Finalized).operator_fee for receipt in receipts)),
        waiting=tuple(claim for claim in found if claim not in due),
    )


def void(network: Network, wallet: Wallet, info: OfferInfo) -> ClaimsVoided:
    """Give the held claims of an exhausted offer back to the channels they came from; anyone may.

    Raises:
        Refused: the offer is not exhausted.
        NotFound: the rows of a claim are not in its transaction's calldata.
    """
    if info.state is not OfferState.EXHAUSTED:
        raise Refused(
            f"the offer {offers.name(info.offer_id)} is {info.state.name.lower()}, not exhausted",
            hint="its claims are the operator's; `tallystick channel close` gets the rest back",
        )
    found = list_claims(network, (info,))
    calls = [network.channels.void(info.offer, c.held, _rows(network, c)) for c in found]
    receipts = wallet.send_all(calls)
    total = Amount(sum(claim.total for claim in found))
    return ClaimsVoided(tuple(map(sent, calls, receipts)), found, total)


def _rows(network: Network, claim: HeldClaim) -> tuple[VoucherRow, ...]:
    """Read the rows of a claim from the transaction that made it: the chain keeps their hash."""
    transaction = network.rpc.call("eth_getTransactionByHash", offers.name(claim.transaction))
    rows = rows_in(hexbytes(transaction["input"]), claim.held.rows_hash)
    if rows is None:
        raise NotFound(
            f"transaction {offers.name(claim.transaction)} does not carry the vouchers it claimed",
            hint="a contract made them up inside; a trace of the transaction shows its call",
        )
    return rows


def _claim(info: OfferInfo, event: VouchersClaimed, tx_hash: Bytes32, now: Timestamp) -> HeldClaim:
    ready_at = Timestamp(event.claimed_at + info.challenge_window)
    return HeldClaim(
        offer_id=event.offer_id,
        state=state_of(info, ready_at, now),
        total=event.total,
        ready_at=ready_at,
        transaction=tx_hash,
        held=Held(event.slot, event.rows_hash, event.total, event.claimed_at),
    )
