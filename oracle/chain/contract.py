"""What the generated bindings stand on: calls as data, typed reads pinned to a block, events."""

import functools
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

from oracle.chain import revert
from oracle.chain.codec import address, interface
from oracle.chain.event import Event
from oracle.chain.rpc import BlockId, Node, RpcError, block_param, hexbytes
from oracle.errors import InputInvalid
from oracle.types import NO_WEI, Address, Bytes32, Wei

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """What to execute: pure intent, nothing is sent. `label` is for people."""

    to: Address | None  # None creates a contract
    data: bytes
    value: Wei = NO_WEI
    label: str = ""


class Contract:
    """One deployed contract. A generated subclass names it and types its functions and events."""

    NAME: ClassVar[str]
    EVENTS: ClassVar[Mapping[str, type[Event]]]  # by their names in the ABI

    def __init__(self, rpc: Node, address_: Address) -> None:
        self.rpc = rpc
        self.address = address(address_)

    def _read(self, name: str, *arguments: Any, block: BlockId = "latest") -> Any:
        """Call a view; return its value, or a tuple when it has several.

        Raises:
            ContractError: the view reverted. RpcError: the block is unknown, among others.
        """
        function = interface(self.NAME)[name]
        call = {"to": self.address, "data": "0x" + function.encode(arguments).hex()}
        try:
            answer = self.rpc.call("eth_call", call, block_param(block))
        except RpcError as error:
            raise (revert.from_rpc(error) or error) from error
        values = function.decode(hexbytes(answer))
        return values[0] if len(values) == 1 else values

    def _call(self, name: str, *arguments: Any, value: int = 0) -> Call:
        function = interface(self.NAME)[name]
        named = dict(zip(function.arguments, arguments, strict=True))
        said = revert.describe(f"{self.NAME}.{function.name}", named)
        return Call(self.address, function.encode(arguments), Wei(value), said)


def struct(kind: Callable[..., T], values: Any) -> T:
    """Return a struct of the values that the codec decoded, addresses and enumerations typed."""
    return kind(*[make(value) for make, value in zip(_makers(kind), values, strict=True)])


@functools.cache
def _makers(kind: Any) -> tuple[Callable[[Any], Any], ...]:
    hints = typing.get_type_hints(kind)
    return tuple(_maker(hints[field.name]) for field in fields(kind))


def _maker(hint: Any) -> Callable[[Any], Any]:
    if hint is Address:
        return address
    if is_dataclass(hint):
        made: Callable[..., Any] = hint  # type: ignore[assignment]  # a class, not an instance
        return functools.partial(struct, made)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return hint
    return lambda value: value


def split_signature(signature: bytes) -> tuple[int, Bytes32, Bytes32]:
    """Return (v, r, s) of a 65-byte signature r‖s‖v.

    Raises:
        InputInvalid: it has another length.
    """
    if len(signature) != 65:
        raise InputInvalid(f"a signature has 65 bytes, not {len(signature)}")
    return signature[64], Bytes32(signature[:32]), Bytes32(signature[32:64])
