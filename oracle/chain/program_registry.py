"""The ProgramRegistry and StepVerifier contracts: which programs are valid, what they compute."""

from collections.abc import Sequence
from typing import Any

from oracle.chain.contract import Call, Contract
from oracle.chain.rpc import BlockId
from oracle.types import Bytes32


class ProgramRegistry(Contract):
    """Programs of the exact tier that were validated on chain (IPrograms.sol)."""

    NAME = "ProgramRegistry"

    def register_program(self, program: Sequence[int]) -> Call:
        """Validate a program's words and store its root, which is in `ProgramRegistered`."""
        label = f"register a program of {len(program)} words"
        return self._call("registerProgram", program, label=label)

    def is_program(self, model_root: Bytes32, block: BlockId = "latest") -> bool:
        """Return whether the program under this root was found valid."""
        return bool(self._read("isProgram", model_root, block=block))


class StepVerifier(Contract):
    """Judges one element of an exact answer (IStepVerifier.sol). Claims and steps: oracle.exact."""

    NAME = "StepVerifier"

    def check(self, claim: Any, step: Any, block: BlockId = "latest") -> bool:
        """Return whether the committed element is the right one."""
        return bool(self._read("check", claim, step, block=block))

    def compute(self, claim: Any, step: Any, block: BlockId = "latest") -> int:
        """Return the element that the operands imply, in stored form."""
        return int(self._read("compute", claim, step, block=block))
