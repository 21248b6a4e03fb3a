"""EIP-712 messages signed by accounts of a test, as a wallet would sign them."""

from typing import Any

from eth_account import Account

from tests.contracts.chain import chain


def sign(account: Any, contract: Any, name: str, types: dict, message: dict, **domain: Any) -> Any:
    """Sign `message`, of the first of the types, for a contract; `domain` changes its fields."""
    fields = {
        "name": name,
        "version": "1",
        "chainId": chain.id,
        "verifyingContract": contract.address,
    }
    signer = Account.from_key(account.private_key)
    return signer.sign_typed_data(fields | domain, types, message)


def typed(declaration: str) -> list[dict[str, str]]:
    """Read the fields of a type as it is written in a type hash: "address owner,uint256 value"."""
    return [
        dict(zip(("type", "name"), field.split(" "), strict=True))
        for field in declaration.split(",")
    ]


def vrs(signed: Any) -> tuple[int, str, str]:
    """Split a signature as `permit` wants it."""
    return signed.v, f"{signed.r:#066x}", f"{signed.s:#066x}"
