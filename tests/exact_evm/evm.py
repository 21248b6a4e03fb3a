"""StepVerifier and ProgramRegistry in an EVM in this process: about a thousand steps a second."""

from collections.abc import Sequence
from typing import Any

from oracle.exact.steps import ExactClaim, ProofStep
from tests.support.evm import Evm

SENDER = "0x" + "11" * 20
GAS_LIMIT = 2**24  # of a transaction, EIP-7825


class Contract:
    """One deployed contract; calls commit nothing but what `registerProgram` stores."""

    def __init__(self, name: str) -> None:
        self.name, self.evm = name, Evm()
        self.evm.deploy(SENDER, name)

    def call(self, function: str, *arguments: Any, static: bool = False) -> Any:
        """Call a function and return what it returns.

        Raises:
            Reverted: it reverted.
        """
        return self.evm.call(SENDER, self.name, function, *arguments, gas=GAS_LIMIT, static=static)

    @property
    def gas(self) -> int:
        """Gas that the last call used, without what its transaction and calldata cost."""
        return self.evm.gas


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
        snapshot = self.evm.revm.snapshot()
        try:
            return self.register(words)
        finally:
            self.evm.revm.revert(snapshot)
