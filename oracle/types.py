"""The words the whole system is written in: units as types, contract structs as frozen dataclasses.

Knows nothing of chains, files or people; imported by everything, imports nothing of ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NewType

Address = NewType("Address", str)  # EIP-55 checksummed
Bytes32 = NewType("Bytes32", bytes)  # 32 bytes: a digest, root or head
RequestId = NewType("RequestId", bytes)  # 32 bytes
Cid = NewType("Cid", str)  # CIDv1, base32
Amount = NewType("Amount", int)  # token units; 1 dollar = 10**6
Wei = NewType("Wei", int)
Credits = NewType("Credits", int)  # of a model's data share; 2**40 = one point of accuracy, about
Timestamp = NewType("Timestamp", int)  # unix seconds
Activation = NewType("Activation", int)  # one number inside a model, signed, in 1e-9
Say = Callable[[str], None]  # takes one line for a person: what a use case is doing now

ZERO_ADDRESS = Address("0x0000000000000000000000000000000000000000")
ZERO32 = Bytes32(bytes(32))
TOKEN_DECIMALS = 6


class Assurance(IntEnum):
    """How a wrong answer of a version is found out (IModelRegistry.sol)."""

    NONE = 0
    COMMITTEE = 1
    EXACT = 2


class ValuationPart(IntEnum):
    """What of a valuation can be demanded on chain (IValuationGame.sol)."""

    ORDER = 0
    SUMS = 1
    ROWS = 2
    DATA = 3  # the data set of a contribution
    TEST = 4


@dataclass(frozen=True, slots=True)
class Terms:
    """Commercial terms of one version; packed into one word on chain (libraries/Terms.sol)."""

    fee: Amount
    operator_bps: int
    data_bps: int
    insured_multiple: int  # times the fee
    challenge_window: int  # seconds
    tolerance: int  # absolute, in 1e-9
    assurance: Assurance
    retired: bool = False
    max_units: int = 0  # of an answer, and what `fee` is the price of; 0 = each costs `fee`

    def price(self, units: int) -> Amount:
        """Return what an answer of so many units costs (libraries/Fees.sol)."""
        return Amount(-(-self.fee * units // self.max_units)) if self.max_units else self.fee

    def pack(self) -> int:
        """Return the uint256 word that the contracts store."""
        return (
            self.fee
            | self.operator_bps << 64
            | self.data_bps << 80
            | self.insured_multiple << 96
            | self.challenge_window << 112
            | self.tolerance << 144
            | int(self.assurance) << 208
            | int(self.retired) << 216
            | self.max_units << 224
        )

    @classmethod
    def unpack(cls, word: int) -> "Terms":
        """Read the uint256 word that the contracts store."""
        return cls(
            fee=Amount(word & (1 << 64) - 1),
            operator_bps=word >> 64 & 0xFFFF,
            data_bps=word >> 80 & 0xFFFF,
            insured_multiple=word >> 96 & 0xFFFF,
            challenge_window=word >> 112 & 0xFFFFFFFF,
            tolerance=word >> 144 & (1 << 64) - 1,
            assurance=Assurance(word >> 208 & 0xFF),
            retired=bool(word >> 216 & 0xFF),
            max_units=word >> 224,
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """What an operator sells through channels: answers of one version at fixed terms.

    Attributes:
        terms: snapshot; a later price is another offer.
        number: the operator's; an offer that is over never comes back.
    """

    operator: Address
    model_id: int
    version: int
    terms: Terms
    number: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a requester asks for (IInferenceMarket.sol)."""

    model_id: int
    version: int
    lane: int
    input_root: Bytes32
    input_cid: Bytes32
    params: Bytes32
    max_fee: Amount
    priority_window: int  # seconds
    lifetime: int  # seconds
    operator: Address
    consumer: Address = ZERO_ADDRESS
    callback_gas: int = 0
    envelope: Bytes32 = ZERO32


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the chain knows it (IInferenceMarket.sol); only its hash is stored there."""

    model_id: int
    version: int
    lane: int
    nonce: int
    requester: Address
    operator: Address
    priority_until: Timestamp
    expires_at: Timestamp
    consumer: Address
    callback_gas: int
    input_root: Bytes32
    input_cid: Bytes32
    params: Bytes32
    envelope: Bytes32
    terms: Terms


@dataclass(frozen=True, slots=True)
class Claim:
    """An exclusive right to deliver; the empty claim is `NO_CLAIM`."""

    operator: Address
    until: Timestamp


NO_CLAIM = Claim(ZERO_ADDRESS, Timestamp(0))
NO_WEI = Wei(0)


@dataclass(frozen=True, slots=True)
class OperatorAnswer:
    """What an operator says when delivering (IInferenceMarket.sol)."""

    output_root: Bytes32
    output_cid: Bytes32  # SHA-256 of the raw block that holds the output; 0 = output_root is that
    units: int = 0  # of a metered version; 0 = of one with a flat fee


@dataclass(frozen=True, slots=True)
class Stamp:
    """When an answer was delivered and its units; one word on chain (libraries/Stamp.sol)."""

    time: Timestamp
    units: int = 0  # of a metered version; 0 = of one with a flat fee

    def pack(self) -> int:
        """Return the uint256 word that the contracts hash and log."""
        return self.time | self.units << 40

    @classmethod
    def unpack(cls, word: int) -> "Stamp":
        """Read the uint256 word that the contracts hash and log."""
        return cls(Timestamp(word & (1 << 40) - 1), word >> 40)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer that waits for its challenge window to pass."""

    operator: Address
    stamp: Stamp
    output_root: Bytes32


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One link of a model's history, as `VersionPublished` logs it."""

    model_id: int
    version: int
    publisher: Address
    prev_head: Bytes32
    head: Bytes32
    manifest_digest: Bytes32
    model_root: Bytes32
    assurance: Assurance
    tolerance: int  # absolute, in 1e-9
    timestamp: Timestamp


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block of the chain, as far as following it goes."""

    number: int
    hash: Bytes32
    parent_hash: Bytes32
    timestamp: Timestamp


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the node hands it out; `oracle.chain.logs.decode` reads it."""

    address: Address
    topics: tuple[bytes, ...]  # 32 bytes each; the first names the event
    data: bytes
    block_number: int
    block_hash: Bytes32
    tx_hash: Bytes32
    log_index: int


@dataclass(frozen=True, slots=True)
class Contracts:
    """Where one deployment lives."""

    chain_id: int
    token: Address
    model_registry: Address
    model_access: Address
    operator_registry: Address
    inference_market: Address
    payment_channels: Address
    request_lens: Address
    program_registry: Address
    step_verifier: Address
    dispute_game: Address
    committee: Address
    committee_seats: Address
    data_credits: Address
    data_rounds: Address
    row_demands: Address
    valuation_verifier: Address
    valuation_game: Address
    training_rounds: Address
    training_game: Address
    deployed_at: int  # block number: logs are scanned from here
