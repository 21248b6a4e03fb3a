"""ABIs as code: signatures, selectors, encoders and decoders, built once from generated ABIs.

Types come from the artifacts that the compiler wrote, never from here. The codec is eth-abi's, as
strict as web3's, which is made of the same parts: importing web3 takes as long as all the rest of a
short command (docs/adr/013-bindings-of-contracts-are-generated.md). A test holds the two equal.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from eth_abi.codec import ABICodec
from eth_abi.decoding import BytesDecoder
from eth_abi.encoding import BytesEncoder
from eth_abi.exceptions import DecodingError, ValueOutOfBounds
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as default_registry
from eth_utils.abi import (
    abi_to_signature,
    function_abi_to_4byte_selector,
    get_abi_input_types,
    get_abi_output_types,
)
from eth_utils.address import to_checksum_address

from oracle.chain import artifacts
from oracle.chain.rpc import RpcMalformed
from oracle.protocol.records import pack_request
from oracle.types import Address, Request, Stamp, Terms

# The contracts of a deployment, as their artifacts are called.
NAMES = (
    "ModelRegistry",
    "ModelAccess",
    "OperatorRegistry",
    "InferenceMarket",
    "RequestLens",
    "TestDollar",
    "ProgramRegistry",
    "StepVerifier",
    "DisputeGame",
    "Committee",
    "CommitteeSeats",
    "DataCredits",
    "DataRounds",
    "RowDemands",
    "ValuationVerifier",
    "ValuationGame",
    "PaymentChannels",
    "TrainingRounds",
    "TrainingGame",
)

_REQUEST_WORDS = ("uint256",) * 3 + ("bytes32",) * 4 + ("uint256",)


@dataclass(frozen=True, slots=True)
class Function:
    """One function of an ABI."""

    name: str
    signature: str
    selector: bytes
    arguments: tuple[str, ...]  # their names
    inputs: tuple[str, ...]  # their types
    outputs: tuple[str, ...]

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """Return calldata. Dataclasses become structs in the order of their fields."""
        return self.selector + encode(self.inputs, arguments)

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Read return data; addresses come out lowercase (see `address`).

        Raises:
            RpcMalformed: the data does not fit, as when no contract is at the address.
        """
        try:
            return decode(self.outputs, data)
        except DecodingError as error:
            raise RpcMalformed(
                f"{self.name} returned {len(data)} bytes that do not fit its type",
                hint="is the contract deployed on this chain, in this version?",
            ) from error


@functools.cache
def interface(name: str) -> Mapping[str, Function]:
    """Return the functions of a contract by name (of overloaded ones one) and by signature."""
    functions: dict[str, Function] = {}
    for item in artifacts.load(name).abi:
        if item["type"] == "function":
            function = _function(item)
            functions.setdefault(function.name, function)
            functions[function.signature] = function
    return functions


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """Return the ABI encoding of values; dataclasses become structs."""
    return _codec().encode(types, [plain(value) for value in values])


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Read ABI-encoded values; raises eth_abi's `DecodingError`."""
    return _codec().decode(types, data)


class _ExactBytes(BytesEncoder):
    """Refuses 31 bytes where 32 belong, which eth-abi fills up with zeros."""

    def validate_value(self, value: Any) -> None:
        super().validate_value(value)  # type: ignore[no-untyped-call]
        if len(value) * 8 != self.value_bit_size:
            self.invalidate_value(value, exc=ValueOutOfBounds, msg=f"has {len(value)} bytes")


@functools.cache
def _codec() -> ABICodec:
    registry = default_registry.copy()  # type: ignore[no-untyped-call]
    registry.unregister("bytes<M>")
    fixed = BaseEquals("bytes", with_sub=True)  # type: ignore[no-untyped-call]
    registry.register(fixed, _ExactBytes, BytesDecoder, label="bytes<M>")
    return ABICodec(registry)


@functools.lru_cache(maxsize=4096)
def address(raw: str | bytes) -> Address:
    """Return the checksummed address; remembered, since a checksum costs a hash."""
    return Address(to_checksum_address(raw))


def _function(item: Any) -> Function:
    return Function(
        name=item["name"],
        signature=abi_to_signature(item),
        selector=function_abi_to_4byte_selector(item),
        arguments=tuple(argument["name"] for argument in item["inputs"]),
        inputs=tuple(get_abi_input_types(item)),
        outputs=tuple(get_abi_output_types(item)),
    )


def plain(value: Any) -> Any:
    """Turn dataclasses into the tuples that eth_abi takes, those that are packed into words."""
    if isinstance(value, Stamp | Terms):
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
