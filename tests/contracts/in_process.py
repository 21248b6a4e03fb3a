"""Brownie's objects as the contract tests use them, over an EVM in this process.

Values go in and come out through Brownie's own conversions, so that a test cannot tell the two
apart. What only a node has (base fees, several transactions in a block, code put at an address)
is not here: tests of that are marked `node`.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from brownie.convert.normalize import format_event, format_input, format_output
from brownie.convert.utils import get_type_strings
from brownie.network.event import EventDict
from eth_abi import decode, encode
from eth_account import Account as Key
from eth_event import decode_logs, get_topic_map
from eth_utils import keccak, to_checksum_address
from hexbytes import HexBytes

from oracle.chain import artifacts
from oracle.chain.anvil import dev_account
from tests.support.evm import CHAIN_ID, Evm, Reverted

hypothesis.settings.load_profile("suite")  # the import of Brownie has put its own in its place

BUILD = Path(__file__).parents[2] / "build" / "brownie" / "contracts"
START = 1_800_000_000
GAS_LIMIT = 30_000_000  # of a transaction, as in brownie-config.yaml
MOCKS = ("TestBlockingDollar", "TestConsumer", "TestDataCredits", "TestPrograms", "TestWallet")
CONTRACTS = (*artifacts.names(), *MOCKS)


class Chain:
    """Blocks: one for each transaction, a second after the last unless `at` says when."""

    id = CHAIN_ID

    def __init__(self) -> None:
        self.evm = Evm(START)
        self.next_time: int | None = None

    def __getitem__(self, number: int) -> "Block":
        height = self.height if number == -1 else number
        return Block(self.evm.time, self.evm.revm.block_hash(height))

    @property
    def height(self) -> int:
        return self.evm.number

    def mine(self, blocks: int = 1, timestamp: int | None = None) -> None:
        if timestamp is not None:
            self.next_time = timestamp
        for _ in range(blocks):
            self.begin_block()

    def begin_block(self) -> None:
        time = self.evm.time + 1 if self.next_time is None else self.next_time
        assert time >= self.evm.time, f"block time {time} is before {self.evm.time}"
        self.next_time = None
        self.evm.set_time(time)

    def snapshot(self) -> tuple[Any, int, int]:
        return self.evm.revm.snapshot(), self.evm.number, self.evm.time

    def revert(self, to: tuple[Any, int, int]) -> None:
        checkpoint, self.evm.number, self.evm.time = to
        self.evm.revm.revert(checkpoint)
        self.evm.set_block()
        self.next_time = None


@dataclass(frozen=True)
class Block:
    """What tests ask of a block; the time is the last block's."""

    timestamp: int
    hash_: bytes

    @property
    def hash(self) -> Any:
        return HexBytes(self.hash_)


chain = Chain()  # as Brownie has one


class Addressed:
    """Something with an address; equal to the address, and hashed like it."""

    address: str

    def __eq__(self, other: object) -> bool:
        return str(getattr(other, "address", other)).lower() == self.address.lower()

    def __hash__(self) -> int:
        return hash(self.address)

    def __str__(self) -> str:
        return self.address

    __repr__ = __str__

    def balance(self) -> int:
        return chain.evm.revm.get_balance(self.address)


class Account(Addressed):
    """An account with a key and plenty of ether."""

    def __init__(self, key: Any) -> None:
        signer = Key.from_key(key)
        self.address = signer.address
        self.private_key = signer.key.to_0x_hex()
        chain.evm.fund(self.address, 2**100)

    @property
    def nonce(self) -> int:
        """The number of contracts created: calls do not count here."""
        return chain.evm.revm.basic(self.address).nonce

    def transfer(self, to: Addressed, amount: int) -> "Transaction":
        return _send({"from": self, "value": amount}, to.address, b"")


class Accounts:
    """The node's ten accounts, and more where a test adds them."""

    def __init__(self) -> None:
        self._all = [Account(dev_account(index).key) for index in range(10)]

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]

    def add(self, key: Any = None) -> Account:
        """Add the account of a key, or of the next one that nobody has."""
        return Account(key or keccak(b"account %d" % next(_numbers)))


_numbers = iter(range(2**63))


class Transaction:
    """What became of a transaction that did not revert."""

    def __init__(
        self, sender: Account, output: bytes, calldata: bytes, abi: dict[str, Any] | None
    ) -> None:
        self.sender, self.fn_name = sender, abi["name"] if abi else None
        result = chain.evm.revm.result
        self.timestamp, self.block_number = chain.evm.time, chain.evm.number
        self.gas_used = result.gas_used + _intrinsic(calldata)
        self._logs, self._output, self._abi = list(result.logs), output, abi

    @functools.cached_property
    def events(self) -> EventDict:
        logs = [
            {
                "address": log.address,
                "topics": log.topics,
                "data": "0x" + log.data[1].hex(),
                "logIndex": index,
            }
            for index, log in enumerate(self._logs)
        ]
        return EventDict(format_event(event) for event in _decoded(logs))

    @property
    def return_value(self) -> Any:
        return _returned(self._abi, self._output)


class Method:
    """One function of a contract."""

    def __init__(self, contract: "Contract", abi: dict[str, Any]) -> None:
        self._contract, self.abi = contract, abi
        self._types = get_type_strings(abi["inputs"])
        self.selector = keccak(text=f"{abi['name']}({','.join(self._types)})")[:4]

    def __call__(self, *arguments: Any) -> Any:
        if self.abi["stateMutability"] in ("view", "pure"):
            return self.call(*arguments)
        arguments, options = _split(arguments)
        data = self._encode(arguments)
        return _send(options, self._contract.address, data, self.abi)

    def call(self, *arguments: Any) -> Any:
        """Return what the function would return, and change nothing."""
        arguments, options = _split(arguments)
        before = chain.evm.revm.snapshot()
        try:
            output = chain.evm.send(
                str(options.get("from", accounts[0])),
                self._contract.address,
                self._encode(arguments),
                value=options.get("value", 0),
                gas=GAS_LIMIT,
            )
        finally:
            chain.evm.revm.revert(before)
        return _returned(self.abi, output)

    def encode_input(self, *arguments: Any) -> str:
        return "0x" + self._encode(arguments).hex()

    def _encode(self, arguments: Sequence[Any]) -> bytes:
        return self.selector + encode(self._types, format_input(self.abi, arguments))


class Overloaded:
    """Functions of one name, told apart by how many arguments they take."""

    def __init__(self, methods: Sequence[Method]) -> None:
        self._methods = {len(method.abi["inputs"]): method for method in methods}
        assert len(self._methods) == len(methods)

    def __call__(self, *arguments: Any) -> Any:
        return self._methods[len(_split(arguments)[0])](*arguments)


class Contract(Addressed):
    """A deployed contract; its functions are attributes."""

    def __init__(self, address: str, abi: list[dict[str, Any]]) -> None:
        self.address = to_checksum_address(address)
        self.abi = abi
        _topics[self.address] = get_topic_map(abi)

    def __getattr__(self, name: str) -> Method | Overloaded:
        entries = [i for i in self.abi if i["type"] == "function" and i["name"] == name]
        if not entries:
            raise AttributeError(f"no function of the name {name}")
        found = [Method(self, entry) for entry in entries]
        method = found[0] if len(found) == 1 else Overloaded(found)
        setattr(self, name, method)
        return method


class Container:
    """A contract that can be deployed."""

    def __init__(self, name: str) -> None:
        if name in MOCKS:
            built = json.loads((BUILD / f"{name}.json").read_text())
            self.abi, self._code = built["abi"], bytes.fromhex(built["bytecode"])
        else:
            artifact = artifacts.load(name)
            self.abi, self._code = artifact.abi, artifact.bytecode
        none = {"name": "constructor", "inputs": []}
        constructor = next((i for i in self.abi if i["type"] == "constructor"), none)
        self._constructor = {"name": "constructor", **constructor}

    def deploy(self, *arguments: Any) -> Contract:
        arguments, options = _split(arguments)
        types = get_type_strings(self._constructor["inputs"])
        data = encode(types, format_input(self._constructor, arguments))
        chain.begin_block()
        return Contract(chain.evm.create(options["from"].address, self._code + data), self.abi)


def _split(arguments: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if arguments and isinstance(arguments[-1], dict):
        return tuple(arguments[:-1]), arguments[-1]
    return tuple(arguments), {}


def _send(
    options: dict[str, Any], to: str, data: bytes, abi: dict[str, Any] | None = None
) -> Transaction:
    assert options.keys() <= {"from", "value", "gas_limit"}, options
    chain.begin_block()
    output = chain.evm.send(
        options["from"].address,
        to,
        data,
        value=options.get("value", 0),
        gas=options.get("gas_limit", GAS_LIMIT) - _intrinsic(data),
    )
    return Transaction(options["from"], output, data, abi)


def _intrinsic(calldata: bytes) -> int:
    zeros = calldata.count(0)
    return 21_000 + 4 * zeros + 16 * (len(calldata) - zeros)


def _returned(abi: dict[str, Any], output: bytes) -> Any:
    if not abi["outputs"]:
        return None
    values = format_output(abi, decode(get_type_strings(abi["outputs"]), output))
    return values[0] if len(values) == 1 else values


def _decoded(logs: list[dict[str, Any]]) -> Iterator[Any]:
    """Decode each log by its own contract: two contracts index one event differently."""
    for log in logs:
        yield from decode_logs([log], _topics[to_checksum_address(log["address"])])


_topics: dict[str, Any] = {}  # of deployed contracts, by address


class Reverts:
    """Expect a revert, with exactly this text where one is given."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        assert kind is not None, "the call did not revert"
        if not issubclass(kind, Reverted):
            return False
        if self.message is not None:
            assert str(error) == self.message
        return True


accounts = Accounts()
