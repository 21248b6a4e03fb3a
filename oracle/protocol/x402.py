"""x402, version 2, scheme `exact` on EVM chains: what its headers say and what its payer signed.

A payment is an EIP-3009 `TransferWithAuthorization`: whoever has it may send it to the token, once.
Nothing here asks a chain. Sources: x402-specification-v2.md and scheme_exact_evm.md of
github.com/coinbase/x402, EIP-3009.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from eth_utils.address import to_checksum_address
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from oracle.errors import InputInvalid, Refused
from oracle.protocol import eip712, vouchers
from oracle.protocol.eip712 import TypedData
from oracle.types import Address, Amount, Bytes32, RequestId, Timestamp

VERSION = 2
SCHEME = "exact"
REQUIRED, SIGNATURE, RESPONSE = "PAYMENT-REQUIRED", "PAYMENT-SIGNATURE", "PAYMENT-RESPONSE"
TIMEOUT = 300  # seconds that a payment may be signed for
SKEW = 60  # seconds that a payer's clock may be ahead
MARGIN = 6  # seconds that must be left: the transfer still has to be mined
MAX_HEADER = 16_384  # characters
OLD_SIGNATURE = "X-PAYMENT"  # header of version 1
_INSTEAD = {  # what to do who signed for another scheme
    "upto": "sign the whole of a fixed price",
    "batch-settlement": "pay many answers over a channel, or sign a payment for each",
}

_Account = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
_Uint = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,77}$")]  # every one fits a uint256


class PaymentInvalid(Refused):
    """A payment cannot be taken; nothing was paid. `code` is x402's word for the reason."""

    def __init__(self, code: str, message: str, *, hint: str = "sign a new payment") -> None:
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class Authorization:
    """One signed EIP-3009 transfer. Times are unix seconds; it is good strictly between them."""

    payer: Address
    to: Address
    value: Amount
    valid_after: Timestamp
    valid_before: Timestamp
    nonce: Bytes32
    signature: bytes  # r ‖ s ‖ v; of a contract whatever it takes for its own

    @property
    def id(self) -> RequestId:
        """Name the payment: of all that a payer signs with one nonce a token takes one."""
        words = bytes.fromhex(self.payer[2:]) + self.nonce
        return RequestId(hashlib.sha256(words).digest())


@dataclass(frozen=True, slots=True)
class Token:
    """The EIP-712 domain of what is paid in."""

    address: Address
    chain_id: int
    name: str
    version: str

    @property
    def network(self) -> str:
        """The chain's name (CAIP-2)."""
        return f"eip155:{self.chain_id}"

    def typed(self, authorization: Authorization) -> TypedData:
        """Return what the payer signed."""
        return eip712.transfer_with_authorization(
            chain_id=self.chain_id,
            token=self.address,
            sender=authorization.payer,
            to=authorization.to,
            value=authorization.value,
            nonce=authorization.nonce,
            valid_after=authorization.valid_after,
            valid_before=authorization.valid_before,
            token_name=self.name,
            token_version=self.version,
        )

    def digest(self, authorization: Authorization) -> Bytes32:
        """Return the digest of what the payer signed."""
        return eip712.digest(self.typed(authorization))


def signed_by_key(authorization: Authorization, digest: Bytes32) -> bool:
    """Return whether the payer's key signed; a contract may have signed otherwise.

    The other form of a signature (high s) is none.
    """
    try:
        return vouchers.signer_of(digest, authorization.signature) == authorization.payer
    except InputInvalid:
        return False


@dataclass(frozen=True, slots=True)
class PaymentRequirements:
    """What one answer costs, and to whom it is paid."""

    token: Token
    pay_to: Address
    amount: Amount
    timeout: int = TIMEOUT  # seconds

    def document(self) -> dict[str, Any]:
        """Return it as an entry of `accepts`."""
        return {
            "scheme": SCHEME,
            "network": self.token.network,
            "asset": self.token.address,
            "amount": str(self.amount),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.timeout,
            "extra": {"name": self.token.name, "version": self.token.version},
        }

    def check(self, authorization: Authorization, now: int) -> None:
        """Refuse what does not pay this.

        Raises:
            PaymentInvalid: another receiver or amount, not yet or no longer good, or for too long.
        """
        if authorization.to != self.pay_to:
            raise PaymentInvalid(
                "invalid_exact_evm_payload_recipient_mismatch",
                f"it pays {authorization.to}, not {self.pay_to}",
            )
        if authorization.value != self.amount:
            raise PaymentInvalid(
                "invalid_exact_evm_payload_authorization_value_mismatch",
                f"it pays {authorization.value} token units, the answer costs {self.amount}",
            )
        if authorization.valid_after >= now:
            raise PaymentInvalid(
                "invalid_exact_evm_payload_authorization_valid_after", "it is not good yet"
            )
        if authorization.valid_before < now + MARGIN:
            raise PaymentInvalid(
                "invalid_exact_evm_payload_authorization_valid_before", "it has expired"
            )
        if authorization.valid_before > now + self.timeout + SKEW:
            raise PaymentInvalid(
                "invalid_exact_evm_payload_authorization_valid_before",
                f"it is good for longer than {self.timeout} seconds",
            )


# ── Headers ─────────────────────────────────────────────────────────────────────────────────────
class _SignedTransfer(BaseModel):
    from_: _Account = Field(alias="from")
    to: _Account
    value: _Uint
    valid_after: _Uint = Field(alias="validAfter")
    valid_before: _Uint = Field(alias="validBefore")
    nonce: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{64}$")]


class _Inner(BaseModel):
    authorization: _SignedTransfer
    signature: Annotated[str, StringConstraints(pattern=r"^0x([0-9a-fA-F]{2})*$")]


class _Accepted(BaseModel):
    scheme: str
    network: str
    asset: str


class _Envelope(BaseModel):
    x402_version: int = Field(alias="x402Version")
    accepted: Any = None
    payload: dict[str, Any]


def read(header: str, token: Token) -> Authorization:
    """Return the payment in a PAYMENT-SIGNATURE header; its signature is not looked at.

    Raises:
        PaymentInvalid: it is none of version 2 and scheme `exact` with EIP-3009, or of another
            chain or token.
    """
    try:
        if len(header) > MAX_HEADER:
            raise ValueError(f"it has more than {MAX_HEADER} characters")
        read = _Envelope.model_validate_json(base64.b64decode(header, validate=True))
        if read.x402_version != VERSION:
            raise version_unknown(read.x402_version)
        accepted = _Accepted.model_validate(read.accepted)
        if accepted.scheme != SCHEME:
            hint = _INSTEAD.get(accepted.scheme, "sign a new payment")
            raise PaymentInvalid("unsupported_scheme", f"the scheme is {SCHEME}", hint=hint)
        if "permit2Authorization" in read.payload:
            raise ValueError("a transfer is signed for EIP-3009 here, not for Permit2")
        inner = _Inner.model_validate(read.payload)
    except (ValidationError, binascii.Error, ValueError) as error:
        said = error.errors()[0] if isinstance(error, ValidationError) else None
        why = f"{'.'.join(map(str, said['loc']))}: {said['msg']}" if said else str(error)
        raise PaymentInvalid("invalid_payload", f"{SIGNATURE} is no payment: {why}") from error
    signed = inner.authorization
    if accepted.network != token.network:
        raise PaymentInvalid("network_mismatch", f"the network is {token.network}")
    if accepted.asset.lower() != token.address.lower():
        raise PaymentInvalid("asset_mismatch", f"the token is {token.address}")
    return Authorization(
        payer=Address(to_checksum_address(signed.from_)),
        to=Address(to_checksum_address(signed.to)),
        value=Amount(int(signed.value)),
        valid_after=Timestamp(int(signed.valid_after)),
        valid_before=Timestamp(int(signed.valid_before)),
        nonce=Bytes32(bytes.fromhex(signed.nonce[2:])),
        signature=bytes.fromhex(inner.signature[2:]),
    )


def version_unknown(version: int) -> PaymentInvalid:
    """Return the refusal of another version of the protocol."""
    return PaymentInvalid(
        "invalid_x402_version",
        f"version {VERSION} of x402 is spoken here, not version {version}",
        hint="use a client of version 2",
    )


def encode(document: Mapping[str, Any]) -> str:
    """Return a document as a header's value."""
    return base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()


def decode(header: str) -> dict[str, Any]:
    """Return the document in a header that a server sent."""
    document: dict[str, Any] = json.loads(base64.b64decode(header))
    return document


def payment_required(
    accepts: PaymentRequirements, url: str, description: str, error: str
) -> dict[str, Any]:
    """Return what the PAYMENT-REQUIRED header says."""
    return {
        "x402Version": VERSION,
        "error": error,
        "resource": {"url": url, "description": description, "mimeType": "application/json"},
        "accepts": [accepts.document()],
    }


def settled(token: Token, payer: Address, amount: Amount, transaction: Bytes32) -> dict[str, Any]:
    """Return what the PAYMENT-RESPONSE header says of a transfer that is on the chain."""
    return {
        "success": True,
        "payer": payer,
        "transaction": "0x" + transaction.hex(),
        "network": token.network,
        "amount": str(amount),
    }
