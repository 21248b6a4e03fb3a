"""What a use case reports about a transaction that it sent."""

from dataclasses import dataclass

from oracle.chain.contract import Call
from oracle.chain.transactions import Receipt
from oracle.chain.wallet import Wallet
from oracle.types import Bytes32


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that was mined, and what it was for."""

    what: str
    transaction: Bytes32
    block: int
    gas_used: int


def send(wallet: Wallet, call: Call) -> tuple[Sent, Receipt]:
    """Send a call and wait; raises what `Wallet.send` raises."""
    receipt = wallet.send(call)
    return sent(call, receipt), receipt


def sent(call: Call, receipt: Receipt) -> Sent:
    """Describe a transaction that was mined."""
    return Sent(call.label, receipt.tx_hash, receipt.block_number, receipt.gas_used)
