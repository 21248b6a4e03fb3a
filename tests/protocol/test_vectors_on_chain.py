"""The contracts make the same of the golden vectors, with their code at the vectors' addresses."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.contract import Call, split_signature
from oracle.chain.deploy import deploy
from oracle.chain.revert import ContractError
from oracle.chain.rpc import Rpc
from oracle.chain.wallet import Wallet
from oracle.protocol import eip712, records
from oracle.protocol.canonical import keccak, sha256
from oracle.types import Address, Amount, Contracts, Timestamp

pytestmark = pytest.mark.real
VECTORS = Path(__file__).parents[1] / "vectors"


@dataclass(frozen=True)
class Chain:
    rpc: Rpc
    wallet: Wallet
    contracts: Contracts

    def copy_code(self, source: Address, target: Address) -> None:
        self.rpc.call("anvil_setCode", target, self.rpc.call("eth_getCode", source, "latest"))


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with Anvil() as anvil:
        wallet = Wallet(anvil.rpc, dev_account(0))
        yield Chain(anvil.rpc, wallet, deploy(wallet))


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


def unpacked(vector: Any) -> records.Request:
    names = ("origin", "service", "target", "inputRoot", "inputCid", "params", "envelope", "terms")
    return records.unpack_request(
        b"".join(bytes.fromhex(vector["words"][name][2:]) for name in names)
    )


def test_transfer_with_authorization__another_nonce_than_signed__refused(chain: Chain) -> None:
    with pytest.raises(ContractError):
        chain.wallet.send(authorized_transfer(chain, signed="a", sent="b"))


def test_transfer_with_authorization__signed__moves_the_tokens(chain: Chain) -> None:
    token = TestDollar(chain.rpc, chain.contracts.token)
    receiver = Address(dev_account(2).address)
    chain.wallet.send(token.faucet(Address(dev_account(1).address), Amount(7)))

    chain.wallet.send(authorized_transfer(chain, signed="a", sent="a"))

    assert token.balance_of(receiver) == 7


def test_request_id_of__vector_at_its_address__the_vectors_id(chain: Chain) -> None:
    vector = load("requests")["usual"]
    assert int(vector["chainId"]) == chain.contracts.chain_id
    chain.copy_code(chain.contracts.inference_market, vector["market"])

    found = InferenceMarket(chain.rpc, vector["market"]).request_id_of(unpacked(vector))

    assert "0x" + found.hex() == vector["requestId"]


def test_request_id_of__largest_fields__as_python_says(chain: Chain) -> None:
    request, market = unpacked(load("requests")["largest"]), chain.contracts.inference_market

    found = InferenceMarket(chain.rpc, market).request_id_of(request)

    assert found == records.request_id(chain.contracts.chain_id, market, request)


@pytest.mark.parametrize("name", ["permit", "transfer"])
def test_domain_separator__token_at_the_vectors_address__the_messages(
    chain: Chain, name: str
) -> None:
    typed = load("messages")[name]["typedData"]
    address = typed["domain"]["verifyingContract"]
    chain.copy_code(chain.contracts.token, address)

    separator = TestDollar(chain.rpc, address).domain_separator()

    domain = typed["domain"]
    kinds = ",".join(f"{f['type']} {f['name']}" for f in typed["types"]["EIP712Domain"])
    struct = (
        keccak(f"EIP712Domain({kinds})".encode())
        + keccak(domain["name"].encode())
        + keccak(domain["version"].encode())
        + domain["chainId"].to_bytes(32, "big")
        + bytes.fromhex(address[2:]).rjust(32, b"\0")
    )
    assert separator == keccak(struct)


def authorized_transfer(chain: Chain, signed: str, sent: str) -> Call:
    """Let account 1 pay 7 units to account 2; `signed` and `sent` make the nonces."""
    payer, receiver = dev_account(1), Address(dev_account(2).address)
    typed = eip712.transfer_with_authorization(
        chain_id=chain.contracts.chain_id,
        token=chain.contracts.token,
        sender=Address(payer.address),
        to=receiver,
        value=Amount(7),
        nonce=sha256(signed.encode()),
    )
    v, r, s = split_signature(bytes(payer.sign_typed_data(full_message=typed).signature))
    v, r, s = split_signature(bytes(payer.sign_typed_data(full_message=typed).signature))
    return TestDollar(chain.rpc, chain.contracts.token).transfer_with_authorization_with_v_r_s(
        from_=Address(payer.address),
        to=receiver,
        value=Amount(7),
        valid_after=Timestamp(0),
        valid_before=eip712.FOREVER,
        nonce=sha256(sent.encode()),
        v=v,
        r=r,
        s=s,
    )
