"""StepVerifier and ProgramRegistry in an EVM in this process: about a thousand steps a second."""

import re
from collections.abc import Sequence
from typing import Any

import pyrevm
from eth_abi import decode

from oracle.chain import artifacts
from oracle.chain.codec import interface, signature
from oracle.exact.steps import ExactClaim, ProofStep
from oracle.protocol.canonical import keccak

SENDER = "0x" + "11" * 20
GAS_LIMIT = 2**24  # of a transaction, EIP-7825


class Reverted(Exception):
    """A call reverted with a typed error, or a panic."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        super().__init__(f"{name}{arguments}")
        self.name = name
        self.arguments = arguments


class Contract:
    """One deployed contract; calls commit nothing but what `registerProgram` stores."""

    def __init__(self, name: str) -> None:
        self.evm = pyrevm.EVM(spec_id="PRAGUE", gas_limit=2**40)
        artifact = artifacts.load(name)
        self.address = self.evm.deploy(SENDER, artifact.bytecode)
        self.functions = interface(name)
        self.errors = {
            keccak(signature(item).encode())[:4].hex(): (
                item["name"],
                [argument["type"] for argument in item["inputs"]],
            )
            for item in artifact.abi
            if item["type"] == "error"
        }

    def call(self, function: str, *arguments: Any, static: bool = False) -> Any:
        """Call a function and return what it returns.

        Raises:
            Reverted: it reverted.
        """
        target = self.functions[function]
        data = target.encode(arguments)
        try:
            result = self.evm.message_call(
                SENDER, self.address, data, gas=GAS_LIMIT, is_static=static
            )
        except RuntimeError as error:
            raise self._reverted(str(error)) from None
        return target.decode(bytes(result))[0]

    @property
    def gas(self) -> int:
        """Gas that the last call used, without what its transaction and calldata cost."""
        return int(self.evm.result.gas_used)

    def _reverted(self, text: str) -> Reverted:
        match = re.search(r"output: 0x([0-9a-f]*)", text)
        raw = bytes.fromhex(match[1]) if match else b""
        if raw[:4].hex() == "4e487b71":
            return Reverted("Panic", decode(["uint256"], raw[4:]))
        if raw[:4].hex() in self.errors:
            name, types = self.errors[raw[:4].hex()]
            return Reverted(name, decode(types, raw[4:]))
        return Reverted(text, ())


class Verifier(Contract):
    """StepVerifier."""

    def __init__(self) -> None:
        super().__init__("StepVerifier")

    def check(self, claim: ExactClaim, step: ProofStep) -> bool:
        """Return whether the step is consistent."""
        return bool(self.call("check", claim, step, static=True))

    def compute(self, claim: ExactClaim, step: ProofStep) -> int:
        """Return the stored form of what the element should be."""
        return int(self.call("compute", claim, step, static=True))


class Registry(Contract):
    """ProgramRegistry."""

    def __init__(self) -> None:
        super().__init__("ProgramRegistry")

    def register(self, words: Sequence[int]) -> bytes:
        """Register a program's words and return its root."""
        return bytes(self.call("registerProgram", list(words)))

    def dry_run(self, words: Sequence[int]) -> bytes:
        """Say what `register` would return, without a trace."""
        snapshot = self.evm.snapshot()
        try:
            return self.register(words)
        finally:
            self.evm.revert(snapshot)
