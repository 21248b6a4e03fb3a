"""TestBlockingDollar in an EVM of this process, in the place of TestDollar."""

import json
from typing import Any

from eth_abi import encode

from oracle.protocol.canonical import keccak
from tests.contracts.in_process import BUILD
from tests.support.evm import Evm

ISSUER = "0x" + "15" * 20


def deploy(world: Evm, deployer: str) -> str:
    """Deploy it and return its address; calls of "TestDollar" are calls of it from now on."""
    built = json.loads((BUILD / "TestBlockingDollar.json").read_text())
    world.places["TestDollar"] = world.create(deployer, bytes.fromhex(built["bytecode"]))
    return world.places["TestDollar"]


def pause(world: Evm, paused: bool = True) -> None:
    """Refuse every transfer, or none."""
    _tell(world, "setPaused(bool)", ("bool",), paused)


def block(world: Evm, account: str, blocked: bool = True) -> None:
    """Refuse transfers from and to an account, or no longer."""
    _tell(world, "setBlocked(address,bool)", ("address", "bool"), account, blocked)


def _tell(world: Evm, signature: str, types: tuple[str, ...], *arguments: Any) -> None:
    data = keccak(signature.encode())[:4] + encode(types, arguments)
    world.send(ISSUER, world.places["TestDollar"], data)
