"""A payer by x402 that does without the package: what it signs, and what comes back."""

import base64
import json
import secrets
import time
from dataclasses import dataclass, field

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount

from oracle.protocol import eip712
from oracle.services import balances
from oracle.types import Address, Amount, Bytes32
from tests.api.conftest import DOLLAR, Door


def decoded(header: str) -> dict:
    return json.loads(base64.b64decode(header))


@dataclass(frozen=True)
class Payer:
    """An account with tokens and without currency."""

    door: Door
    account: LocalAccount = field(default_factory=Account.create)

    def fund(self, amount: int = DOLLAR) -> "Payer":
        balances.fund(self.door.devnet.network, Address(self.account.address), Amount(amount))
        return self

    @property
    def tokens(self) -> int:
        return self.door.devnet.network.token.balance_of(Address(self.account.address))

    def demanded(self, path: str, body: dict) -> dict:
        """The requirements that an unpaid request meets."""
        with self.door.client("") as client:
            answered = client.post(path, json=body)
        assert answered.status_code == 402, answered.text
        required = decoded(answered.headers["payment-required"])
        assert required["x402Version"] == 2
        return required["accepts"][0]

    def header(self, accepts: dict, **changes) -> dict[str, str]:
        """The header of a payment that fits the requirements, but for what is changed."""
        typed = eip712.transfer_with_authorization(
            chain_id=int(accepts["network"].partition(":")[2]),
            token=accepts["asset"],
            sender=Address(self.account.address),
            to=accepts["payTo"],
            value=Amount(int(accepts["amount"])),
            nonce=Bytes32(secrets.token_bytes(32)),
            valid_before=int(time.time()) + accepts["maxTimeoutSeconds"],
            token_name=accepts["extra"]["name"],
            token_version=accepts["extra"]["version"],
        )
        typed["message"] |= changes
        message = {
            name: value if isinstance(value, str) else str(value)
            for name, value in typed["message"].items()
        }
        signature = self.account.sign_typed_data(full_message=typed).signature
        payload = {"authorization": message, "signature": "0x" + signature.hex()}
        return packed({"x402Version": 2, "accepted": accepts, "payload": payload})


def packed(document: object) -> dict[str, str]:
    return {"PAYMENT-SIGNATURE": base64.b64encode(json.dumps(document).encode()).decode()}


def post(door: Door, path: str, body: dict, headers: dict[str, str]) -> httpx.Response:
    with door.client("") as client:
        return client.post(path, json=body, headers=headers)
