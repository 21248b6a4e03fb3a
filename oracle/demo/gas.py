"""Every transaction of a development chain, named, with its gas."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from oracle.chain.codec import NAMES, interface
from oracle.chain.rpc import hexbytes, quantity
from oracle.services.network import Network
from oracle.types import Address


@dataclass(frozen=True, slots=True)
class MinedTransaction:
    """One mined transaction."""

    block: int
    hash: str
    sender: str  # name of the account, its address when it has none
    to: str  # name of the contract or account
    function: str  # "" for a creation or a plain transfer
    gas_used: int
    succeeded: bool


@dataclass(frozen=True, slots=True)
class GasOf:
    """Gas of one function over all its calls."""

    function: str
    calls: int
    least: int
    most: int


def read(network: Network, accounts: Mapping[str, Address]) -> list[MinedTransaction]:
    """Return all transactions from the first block on, oldest first."""
    head = quantity(network.rpc.call("eth_blockNumber"))
    numbers = [hex(number) for number in range(head + 1)]
    blocks = network.rpc.batch([("eth_getBlockByNumber", n, True) for n in numbers])
    bodies = [body for block in blocks for body in block["transactions"]]
    hashes = [body["hash"] for body in bodies]
    receipts = network.rpc.batch([("eth_getTransactionReceipt", h) for h in hashes])
    names = _names(network, accounts)
    functions = {
        (_snake(contract), function.selector): f"{contract}.{function.name}"
        for contract in NAMES
        for function in interface(contract).values()
    }
    found = []
    for body, receipt in zip(bodies, receipts, strict=True):
        to, created = body.get("to"), receipt.get("contractAddress")
        place = to or created
        called = names.get(place.lower(), place)
        call = functions.get((called, hexbytes(body["input"])[:4]), "") if to else ""
        found.append(
            MinedTransaction(
                block=quantity(body["blockNumber"]),
                hash=body["hash"],
                sender=names.get(body["from"].lower(), body["from"]),
                to=called,
                function=call or ("create" if not to else "transfer"),
                gas_used=quantity(receipt["gasUsed"]),
                succeeded=quantity(receipt["status"]) == 1,
            )
        )
    return found


def by_function(transactions: Sequence[MinedTransaction]) -> list[GasOf]:
    """Sum up the gas of each function, by name."""
    ordered = sorted(transactions, key=lambda t: t.function)
    result = []
    for function, group in groupby(ordered, key=lambda t: t.function):
        used = [t.gas_used for t in group]
        result.append(GasOf(function, len(used), min(used), max(used)))
    return result


def _names(network: Network, accounts: Mapping[str, Address]) -> dict[str, str]:
    names = {address.lower(): name for name, address in accounts.items()}
    for field in fields(network.contracts):
        value = getattr(network.contracts, field.name)
        if isinstance(value, str):
            names[value.lower()] = field.name
    return names


def _snake(name: str) -> str:
    """Return a contract's name as `Contracts` spells its field."""
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return "token" if words == "test_dollar" else words
