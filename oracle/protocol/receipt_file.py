"""A receipt as a file that anyone can check: what its operator signed, and what that is made of.

```
 channel (deployment, offer, payer, signer) ─┐
 receipt (index, time, digests)              ─┴▶ request id ─▶ EIP-712 digest ─▶ signature
 input, output: the bytes behind the digests     proof: the receipt is below a voucher's root
```
JSON of schema `tallystick/receipt/1`; names are those of the headers, bytes are base64.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oracle.errors import InputInvalid
from oracle.protocol import channel_wire, receipt_tree, records, vouchers
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.hexadecimal import parse_bytes32, to_hex
from oracle.types import Address, Bytes32, Contracts, Offer, Request, RequestId

SCHEMA = "tallystick/receipt/1"
MAX_BYTES = 64 << 20  # of a file: an input and an output of the largest size, and room
_CONTRACTS = {"market": "inferenceMarket", "game": "disputeGame", "channels": "paymentChannels"}


@dataclass(frozen=True, slots=True)
class SignedChannel:
    """A channel, and the contracts that signatures of its answers are for."""

    chain_id: int
    market: Address
    game: Address
    channels: Address
    offer: Offer
    payer: Address
    signer: Address

    @classmethod
    def on(
        cls, contracts: Contracts, offer: Offer, payer: Address, signer: Address
    ) -> "SignedChannel":
        """Return a channel of a deployment."""
        return cls(
            contracts.chain_id, contracts.inference_market, contracts.dispute_game,
            contracts.payment_channels, offer, payer, signer,
        )  # fmt: skip

    @property
    def offer_id(self) -> Bytes32:
        """What the channel pays for."""
        return vouchers.offer_id(self.offer)

    @property
    def channel_id(self) -> Bytes32:
        """Its name on chain."""
        return vouchers.channel_id(self.payer, self.signer, self.offer_id)

    def request(self, receipt: AnswerReceipt) -> Request:
        """Return the request that a receipt of this channel answers, as `summon` wants it."""
        return vouchers.answer_request(
            self.offer, self.payer, self.signer, receipt.index, receipt.answered_at,
            receipt.input_root, receipt.input_cid, receipt.params,
        )  # fmt: skip

    def request_id(self, receipt: AnswerReceipt) -> RequestId:
        """Return that request's id."""
        return records.request_id(self.chain_id, self.market, self.request(receipt))

    def digest(self, receipt: AnswerReceipt) -> Bytes32:
        """Return what the operator signed; also the receipt's leaf below a voucher's root."""
        return vouchers.receipt_digest(
            vouchers.separator(self.chain_id, self.game), self.request_id(receipt),
            receipt.output_root, receipt.trace_root,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RootProof:
    """Shows that a receipt is one of the first `count` below a voucher's root."""

    root: Bytes32
    count: int
    path: tuple[Bytes32, ...]
    peaks: tuple[Bytes32, ...]

    def holds(self, leaf: Bytes32, index: int) -> bool:
        """Say whether `leaf` is receipt `index` (from 1 on) below the root."""
        return receipt_tree.is_below(
            leaf, index - 1, self.path, self.peaks, root=self.root, count=self.count
        )


@dataclass(frozen=True, slots=True)
class ReceiptFile:
    """One receipt with all that is needed to check it; nothing of it was checked yet."""

    channel: SignedChannel
    receipt: AnswerReceipt
    proof: RootProof | None = None
    input: bytes | None = None  # canonical
    output: bytes | None = None  # canonical

    @property
    def request_id(self) -> RequestId:
        """The id of the request that it answers."""
        return self.channel.request_id(self.receipt)

    @property
    def digest(self) -> Bytes32:
        """What the operator signed."""
        return self.channel.digest(self.receipt)


def proof_of(leaves: Sequence[Bytes32], index: int) -> RootProof:
    """Return what shows that receipt `index` (from 1 on) is below the root over `leaves`."""
    path, peaks = receipt_tree.proof(leaves, index - 1)
    return RootProof(receipt_tree.ReceiptTree(leaves).root, len(leaves), path, peaks)


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────
def channel_json(channel: SignedChannel) -> dict[str, Any]:
    """Return a channel as JSON."""
    return {
        "chainId": channel.chain_id,
        **{name: getattr(channel, field) for field, name in _CONTRACTS.items()},
        "payer": channel.payer,
        "signer": channel.signer,
        "offer": channel_wire.offer_json(channel.offer),
    }


def channel_of(fields: Mapping[str, Any]) -> SignedChannel:
    """Read a channel from JSON.

    Raises:
        InputInvalid: it is none.
    """
    try:
        market, game, channels, payer, signer = (
            channel_wire.address(fields[name]) for name in (*_CONTRACTS.values(), "payer", "signer")
        )
        offer = channel_wire.offer_of(fields["offer"])
        chain_id = channel_wire.whole(fields["chainId"], 256)
        return SignedChannel(chain_id, market, game, channels, offer, payer, signer)
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"it is no channel: {error}") from error


def write(file: ReceiptFile, *, without_bytes: bool = False) -> str:
    """Return a receipt's file; question and answer can be left out."""
    body = {
        "schema": SCHEMA,
        **channel_json(file.channel),
        "receipt": channel_wire.receipt_json(file.receipt),
    }
    if file.proof:
        body["proof"] = {
            "root": to_hex(file.proof.root),
            "count": file.proof.count,
            "path": list(map(to_hex, file.proof.path)),
            "peaks": list(map(to_hex, file.proof.peaks)),
        }
    for name, data in (("input", file.input), ("output", file.output)):
        if data is not None and not without_bytes:
            body[name] = base64.b64encode(data).decode()
    return json.dumps(body, indent=2) + "\n"


def read(data: bytes) -> ReceiptFile:
    """Read a receipt's file; nothing of what it says is checked.

    Raises:
        InputInvalid: it is none.
    """
    hint = "`tallystick receipts export` writes one"
    if len(data) > MAX_BYTES:
        raise InputInvalid(f"a receipt's file has {MAX_BYTES} bytes at most", hint=hint)
    try:
        body = json.loads(data)
        if not isinstance(body, dict) or body.get("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        receipt = channel_wire.receipt_of(body["receipt"])
        if receipt.index == 0:
            raise ValueError("receipts are counted from 1 on")
        proof = _proof(body["proof"]) if "proof" in body else None
        return ReceiptFile(
            channel_of(body), receipt, proof, _bytes(body.get("input")), _bytes(body.get("output"))
        )
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputInvalid(f"it is no receipt's file: {error}", hint=hint) from error
    except InputInvalid as error:
        raise InputInvalid(f"it is no receipt's file: {error}", hint=hint) from error


def _proof(fields: Mapping[str, Any]) -> RootProof:
    path, peaks = (tuple(map(parse_bytes32, fields[name])) for name in ("path", "peaks"))
    return RootProof(
        parse_bytes32(fields["root"]), channel_wire.whole(fields["count"], 64), path, peaks
    )


def _bytes(given: Any) -> bytes | None:
    try:
        return None if given is None else base64.b64decode(given, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{error} in base64") from error
