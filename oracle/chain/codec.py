"""ABIs as code: signatures, selectors, encoders and decoders, built once from generated ABIs.

Types come from the artifacts that the compiler wrote, never from here.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_abi.registry import registry
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from oracle.chain import artifacts
from oracle.chain.rpc import RpcMalformed
from oracle.protocol.records import pack_request
from oracle.types import Address, Request, Terms

# The contracts of a deployment, as their artifacts are called.
NAMES = (
    "ModelRegistry",
    "ModelAccess",
    "OperatorRegistry",
    "InferenceMarket",
    "TestDollar",
    "ProgramRegistry",
    "StepVerifier",
    "DisputeGame",
    "Committee",
    "DataCredits",
    "ValuationVerifier",
    "ValuationGame",
)

_REQUEST_WORDS = ("uint256",) * 3 + ("bytes32",) * 4 + ("uint256",)


@dataclass(frozen=True, slots=True)
class Function:
    """One function of an ABI."""

    name: str
    signature: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    encoder: Any  # eth_abi's, for the tuple of all arguments

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """Return calldata. Dataclasses become structs in the order of their fields."""
        data: bytes = self.encoder(tuple(plain(a) for a in arguments))
        return self.selector + data

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Read return data; addresses come out lowercase (see `address`).

        Raises:
            RpcMalformed: the data does not fit, as when no contract is at the address.
        """
        try:
            return abi_decode(self.outputs, data)
        except DecodingError as error:
            raise RpcMalformed(
                f"{self.name} returned {len(data)} bytes that do not fit its type",
                hint="is the contract deployed on this chain, in this version?",
            ) from error


class Interface:
    """The functions of one contract by name (the first of overloaded ones) and by signature."""

    def __init__(self, abi: Sequence[dict[str, Any]]) -> None:
        self.functions: dict[str, Function] = {}
        for item in abi:
            if item["type"] == "function":
                function = _function(item)
                self.functions.setdefault(function.name, function)
                self.functions[function.signature] = function

    def __getitem__(self, name: str) -> Function:
        return self.functions[name]


@functools.cache
def interface(name: str) -> Interface:
    """Return the interface of a contract by name; reads its generated ABI once per process."""
    return Interface(artifacts.load(name).abi)


def signature(item: dict[str, Any]) -> str:
    """Return the canonical signature of a function, event or error of an ABI."""
    return f"{item['name']}({','.join(abi_type(i) for i in item['inputs'])})"


def abi_type(item: dict[str, Any]) -> str:
    """Return the canonical type of an ABI input, structs as tuples."""
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(abi_type(c) for c in item['components'])}){kind[5:]}"


@functools.lru_cache(maxsize=4096)
def address(raw: str | bytes) -> Address:
    """Return the checksummed address; remembered, since a checksum costs a hash."""
    return Address(to_checksum_address(raw))


def _function(item: dict[str, Any]) -> Function:
    text = signature(item)
    inputs = tuple(abi_type(i) for i in item["inputs"])
    return Function(
        name=item["name"],
        signature=text,
        selector=keccak(text=text)[:4],
        inputs=inputs,
        outputs=tuple(abi_type(o) for o in item["outputs"]),
        encoder=registry.get_encoder(f"({','.join(inputs)})") if inputs else lambda _: b"",
    )


def plain(value: Any) -> Any:
    """Turn dataclasses into the tuples that eth_abi takes, requests and terms into their words."""
    if isinstance(value, Terms):
        return value.pack()
    if isinstance(value, Request):
        return _request_words(value)
    if is_dataclass(value):
        return tuple(plain(getattr(value, name)) for name in value.__dataclass_fields__)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _request_words(request: Request) -> tuple[int | bytes, ...]:
    data = pack_request(request)
    words = [data[at : at + 32] for at in range(0, len(data), 32)]
    return tuple(
        int.from_bytes(word) if kind == "uint256" else word
        for kind, word in zip(_REQUEST_WORDS, words, strict=True)
    )
