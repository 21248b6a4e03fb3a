"""One transaction, as values: fees, signing, receipt. Sends nothing, remembers nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from eth_utils.crypto import keccak

from oracle.chain import logs
from oracle.chain.codec import address
from oracle.chain.event import Event
from oracle.chain.refusals import Fate, fate_of
from oracle.chain.rpc import RpcError, RpcMalformed, hexbytes, quantity
from oracle.errors import NotFound, PermanentError, TransientError
from oracle.types import Address, Bytes32, Log, Wei

if TYPE_CHECKING:  # its import takes 0.15 s, and a command that only reads needs no key
    from eth_account.signers.local import LocalAccount

E = TypeVar("E", bound=Event)
FEE_HISTORY = ("eth_feeHistory", "0x5", "latest", [50])
_MIN_PRIORITY = 10**6  # wei per gas; zero could never be outbid by a percentage
_GAS_MARGIN = (120, 100)  # of the estimate: state may change until the transaction is mined


class FundsInsufficient(PermanentError):
    """The account cannot pay for gas."""


class TransactionPending(TransientError):
    """A transaction was sent and is not mined yet; it may still be."""

    def __init__(self, tx_hash: Bytes32, waited: float, said: str = "") -> None:
        super().__init__(
            f"transaction 0x{tx_hash.hex()} is not mined after {waited:.0f} seconds"
            + (f"; the node said: {said}" if said else ""),
            hint="it may still be mined: look again before you repeat it",
        )
        self.tx_hash = tx_hash


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees in wei per gas."""

    max_fee: int
    priority_fee: int

    def bumped(self, floor: "Fees | None" = None) -> "Fees":
        """Return fees that may replace these: both at least 12.5 % up, and not below `floor`."""
        least_max = floor.max_fee if floor else 0
        least_priority = floor.priority_fee if floor else 0
        return Fees(
            max(self.max_fee * 1125 // 1000 + 1, least_max),
            max(self.priority_fee * 1125 // 1000 + 1, least_priority),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction, its events decoded."""

    tx_hash: Bytes32
    block_number: int
    block_hash: Bytes32
    succeeded: bool
    gas_used: int
    gas_price: Wei
    contract: Address | None  # created by it
    logs: tuple[Log, ...]
    events: tuple[Event, ...]

    def one(self, kind: type[E]) -> E:
        """Return the first event of a kind.

        Raises:
            NotFound: there is none.
        """
        for event in self.events:
            if isinstance(event, kind):
                return event
        raise NotFound(f"transaction 0x{self.tx_hash.hex()} logged no {kind.__name__}")

    def all(self, kind: type[E]) -> list[E]:
        """Return all events of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


def fees_from(history: Any) -> Fees:
    """Return fees for the next blocks from the answer to `FEE_HISTORY`.

    The base fee may double within six full blocks; twice of it covers those.

    Raises:
        RpcMalformed: it is no fee history.
    """
    try:
        base = quantity(history["baseFeePerGas"][-1])
        tips = sorted(quantity(row[0]) for row in history.get("reward") or [] if row)
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise RpcMalformed(f"the node answered {history!r:.80}, not a fee history") from error
    priority = max(tips[len(tips) // 2] if tips else 0, _MIN_PRIORITY)
    return Fees(2 * base + priority, priority)


def with_margin(gas: int) -> int:
    """Return the gas limit for an estimate."""
    return gas * _GAS_MARGIN[0] // _GAS_MARGIN[1]


def with_bond_margin(needed: Wei) -> Wei:
    """Return the bond to send when so much is needed now: the base fee moves until it is mined."""
    return Wei(needed * 125 // 100)


def as_object(
    sender: Address, to: Address | None, data: bytes, value: int, gas: int | None = None
) -> dict[str, str]:
    """Return the transaction object that `eth_call` and `eth_estimateGas` take."""
    body = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)}
    if to is not None:
        body["to"] = to
    if gas is not None:
        body["gas"] = hex(gas)
    return body


def sign(  # noqa: PLR0917 -- a transaction has that many fields
    account: "LocalAccount",
    chain_id: int,
    nonce: int,
    to: Address | None,
    data: bytes,
    value: int,
    gas: int,
    fees: Fees,
) -> bytes:
    """Sign an EIP-1559 transaction, ready to be broadcast; `to` None creates a contract.

    eth_account uses coincurve when it is installed: 0.4 ms instead of 5.
    """
    fields: dict[str, Any] = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "to": to or "",
        "data": data,
        "value": value,
        "gas": gas,
        "maxFeePerGas": fees.max_fee,
        "maxPriorityFeePerGas": fees.priority_fee,
    }
    return bytes(account.sign_transaction(fields).raw_transaction)


def hash_of(raw: bytes) -> Bytes32:
    """Return the hash of a signed transaction."""
    return Bytes32(keccak(raw))


def call_of(raw: bytes) -> tuple[Address | None, bytes, Wei]:
    """Return recipient (None creates a contract), data and wei of a signed EIP-1559 transaction."""
    import rlp  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; only a sender needs it

    _, _, _, _, _, to, value, data, *_ = rlp.decode(raw[1:])
    return address(to) if to else None, data, Wei(int.from_bytes(value))


def parse_receipt(raw: Any) -> Receipt:
    """Read the answer to `eth_getTransactionReceipt`.

    Raises:
        RpcMalformed: it is no receipt.
    """
    try:
        entries: Sequence[Any] = raw["logs"]
        created = raw.get("contractAddress")
        found = tuple(logs.parse(entry) for entry in entries)
        return Receipt(
            tx_hash=Bytes32(hexbytes(raw["transactionHash"], 32)),
            block_number=quantity(raw["blockNumber"]),
            block_hash=Bytes32(hexbytes(raw["blockHash"], 32)),
            succeeded=quantity(raw["status"]) == 1,
            gas_used=quantity(raw["gasUsed"]),
            gas_price=Wei(quantity(raw["effectiveGasPrice"])),
            contract=address(created) if created else None,
            logs=found,
            events=logs.decode_all(found),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise RpcMalformed(f"the node answered {raw!r:.80}, not a receipt") from error


def funds_error(error: RpcError, sender: Address) -> FundsInsufficient | None:
    """Return what to raise when the node says that the account cannot pay for gas."""
    if fate_of(error) is not Fate.POOR:
        return None
    return FundsInsufficient(
        f"{sender} cannot pay for gas", hint="send it some of the chain's currency"
    )
