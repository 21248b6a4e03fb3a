"""TestWallet in an EVM of this process: a contract that calls others and accepts no ether."""

import json
from typing import Any

from eth_abi import encode

from oracle.chain.codec import interface
from oracle.protocol.canonical import keccak
from tests.contracts.in_process import BUILD
from tests.support.evm import Evm


def deploy(world: Evm, deployer: str) -> str:
    """Deploy it and return its address."""
    built = json.loads((BUILD / "TestWallet.json").read_text())
    return world.create(deployer, bytes.fromhex(built["bytecode"]))


def call(
    world: Evm, caller: str, wallet: str, name: str, function: str, *arguments: Any, value: int = 0
) -> None:
    """Let it call a contract that was deployed there."""
    told = encode(
        ["address", "bytes"], [world.places[name], interface(name)[function].encode(arguments)]
    )
    world.send(caller, wallet, keccak(b"execute(address,bytes)")[:4] + told, value=value)
