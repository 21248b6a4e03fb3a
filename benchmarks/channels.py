"""What an answer costs that a channel pays for: gas of claims, and CPU of signing and checking.

Gas on Anvil: claims of 1,024 answers by 8 payers. Steady state: every fourth claim settles the four
before it, and slots were used before. A claim is the mean of four receipts' `gasUsed`, 21,000 of
each included; disputes, stake and the books of the market are on. `gas` says what a request
and its delivery cost.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from benchmarks.gas import WINDOW, Market
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.payment_channels import (
    Held,
    PaymentChannels,
    VoucherRow,
    VouchersClaimed,
)
from oracle.chain.transactions import Receipt
from oracle.chain.wallet import Wallet
from oracle.protocol import vouchers
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.records import request_id
from oracle.types import Address, Amount, Bytes32, Offer, Terms, Timestamp

PAYERS, ANSWERS = 8, 128  # answers of each payer in a claim
TOGETHER = 4  # claims that are settled at once
ROUNDS = 2_000  # of voucher and receipt
GOALS = {"an answer": 150, "a voucher": 20_000}


def measure() -> dict[str, float]:
    """Return gas of the last claim, for an answer and for a voucher."""
    with Anvil() as anvil:
        market = Market(anvil, {})
        channels = PaymentChannels(anvil.rpc, market.at.payment_channels)
        terms = market.registry.terms_of(market.model_id, 2)
        offer = Offer(market.operator.address, market.model_id, 2, terms, 0)
        market.operator.send(channels.cover(offer, 100))
        payers = [Wallet(anvil.rpc, dev_account(2)), *(_payer(market, i) for i in range(3, 10))]
        for payer in payers:
            deposit = Amount(terms.fee * ANSWERS * 3 * TOGETHER)
            payer.send(channels.open(payer.address, payer.address, offer, deposit))
        held: list[Held] = []
        spent = []
        for turn in range(3 * TOGETHER):
            rows = [_row(market, payer, offer, turn) for payer in payers]
            market.pass_time(WINDOW + 1)
            due = held[-TOGETHER:] if turn and turn % TOGETHER == 0 else []
            call = channels.claim(offer, due, turn % (2 * TOGETHER), rows)
            claimed = market.operator.send(call)
            held.append(_held(claimed))
            spent.append(claimed.gas_used)
    gas = sum(spent[-TOGETHER:]) / TOGETHER
    return {"a claim": gas, "a voucher": gas / PAYERS, "an answer": gas / (PAYERS * ANSWERS)}


def _payer(market: Market, index: int) -> Wallet:
    """Return an account with a prepaid balance."""
    wallet, amount = Wallet(market.anvil.rpc, dev_account(index)), Amount(400 * 10**6)
    wallet.send(market.token.faucet(wallet.address, amount))
    wallet.send(market.token.approve(market.market.address, amount))
    wallet.send(market.market.deposit(wallet.address, amount))
    return wallet


def _row(market: Market, payer: Wallet, offer: Offer, turn: int) -> VoucherRow:
    """Sign a payer's next voucher."""
    before, until = (Amount(offer.terms.fee * ANSWERS * n) for n in (turn, turn + 1))
    root = Bytes32(keccak(b"receipts%d" % turn))
    voucher = vouchers.Voucher(
        payer.address, vouchers.offer_id(offer), until, ANSWERS * (turn + 1), root
    )
    domain = vouchers.separator(market.at.chain_id, market.at.payment_channels)
    index = next(i for i in range(10) if Address(dev_account(i).address) == payer.address)
    signature = vouchers.sign(
        bytes(dev_account(index).key), vouchers.voucher_digest(domain, voucher)
    )
    vs = int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255
    return VoucherRow(
        who=int(payer.address, 16) | voucher.answers << 160,
        sums=until | before << 128,
        receipts_root=root,
        r=Bytes32(signature[:32]),
        vs=Bytes32(vs.to_bytes(32, "big")),
    )


def _held(claimed: Receipt) -> Held:
    event = claimed.one(VouchersClaimed)
    return Held(event.slot, event.rows_hash, event.total, event.claimed_at)


def paperwork() -> dict[str, float]:
    """Return µs of CPU that an answer's voucher and receipt take: on both sides, and in all."""
    key, root = b"\x11" * 32, Bytes32(b"\x22" * 32)
    payer = Address(dev_account(2).address)
    offer = Offer(Address(dev_account(1).address), 1, 1, Terms.unpack(1 << 208), 0)
    ours = vouchers.offer_id(offer)
    domain, tree = vouchers.separator(1, payer), ReceiptTree()
    begun = time.process_time()
    for index in range(1, ROUNDS + 1):
        voucher = vouchers.Voucher(payer, ours, Amount(index), index, tree.root)
        digest = vouchers.voucher_digest(domain, voucher)
        vouchers.signer_of(digest, vouchers.sign(key, digest))
        request = vouchers.answer_request(offer, payer, payer, index, Timestamp(1), root)
        receipt = vouchers.receipt_digest(domain, request_id(1, payer, request), root)
        vouchers.signer_of(receipt, vouchers.sign(key, receipt))
        tree.append(receipt)
    return {"voucher and receipt, CPU µs": (time.process_time() - begun) * 1e6 / ROUNDS}


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per figure."""
    figures = measure() | paperwork()
    for name, value in figures.items():
        goal = f"   goal ≤ {GOALS[name]:,}" if name in GOALS else ""
        report(f"{name:28} {value:>11,.1f}{goal}")
    return {"figures": figures, "goals": GOALS}


if __name__ == "__main__":
    run(print, Path("build/bench"))
