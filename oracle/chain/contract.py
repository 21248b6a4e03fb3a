"""What every contract wrapper stands on: calls as data, and reads pinned to a block."""

from dataclasses import dataclass
from typing import Any, ClassVar

from eth_utils.address import to_checksum_address

from oracle.chain import logs, revert
from oracle.chain.codec import interface
from oracle.chain.events import Event
from oracle.chain.rpc import BlockId, Node, RpcError, block_param, hexbytes
from oracle.errors import InputInvalid
from oracle.types import Address, Log, Wei

_NOTHING = Wei(0)


@dataclass(frozen=True, slots=True)
class Call:
    """What to execute: pure intent, nothing is sent. `label` is for people."""

    to: Address
    data: bytes
    value: Wei = _NOTHING
    label: str = ""


class Contract:
    """One deployed contract. Subclasses name it and give each function a typed method."""

    NAME: ClassVar[str]

    def __init__(self, rpc: Node, address: Address) -> None:
        self.rpc = rpc
        self.address = Address(to_checksum_address(address))

    def decode(self, log: Log) -> Event | None:
        """Return the event of a log of this contract; None when it is another's or unknown."""
        return logs.decode(log) if log.address == self.address else None

    def _read(self, name: str, *arguments: Any, block: BlockId = "latest") -> Any:
        """Call a view; return its value, or a tuple when it has several.

        Raises:
            ContractError: the view reverted. RpcError: the block is unknown, among others.
        """
        function = interface(self.NAME)[name]
        data = "0x" + function.encode(arguments).hex()
        try:
            answer = self.rpc.call(
                "eth_call", {"to": self.address, "data": data}, block_param(block)
            )
        except RpcError as error:
            raise (revert.from_rpc(error) or error) from error
        values = function.decode(hexbytes(answer))
        return values[0] if len(values) == 1 else values

    def _call(self, name: str, *arguments: Any, value: int = 0, label: str = "") -> Call:
        function = interface(self.NAME)[name]
        return Call(self.address, function.encode(arguments), Wei(value), label or name)


def split_signature(signature: bytes) -> tuple[int, bytes, bytes]:
    """Return (v, r, s) of a 65-byte signature r‖s‖v.

    Raises:
        InputInvalid: it has another length.
    """
    if len(signature) != 65:
        raise InputInvalid(f"a signature has 65 bytes, not {len(signature)}")
    return signature[64], signature[:32], signature[32:64]
