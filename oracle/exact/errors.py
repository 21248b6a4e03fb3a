"""What can be wrong with a program, its constants, a proof or a position."""

from oracle.errors import DigestMismatch, InputInvalid, PermanentError


class ProgramInvalid(InputInvalid):
    """A rule of docs/exact.md, section 3, is broken.

    `part` is the word that `IPrograms.OperatorInvalid` carries; `op` is None for what stands before
    the operators (part "length", "header" or "input k").
    """

    def __init__(self, op: int | None, part: str, detail: str = "") -> None:
        place = "program" if op is None else f"operator {op}"
        super().__init__(
            f"{place}: {part} invalid" + (f": {detail}" if detail else ""),
            hint="docs/exact.md, section 3, says what is valid",
        )
        self.op = op
        self.part = part


class ConstantMismatch(DigestMismatch):
    """A constant's bytes do not have the root that the program names."""


class ProofInvalid(PermanentError):
    """A part of a step does not fit the claim, the program or its own shape (IStepVerifier)."""

    def __init__(self, part: str) -> None:
        super().__init__(f"proof: {part} invalid", hint="docs/exact.md, section 6")
        self.part = part


class PositionInvalid(InputInvalid):
    """(op, row, col) is no element of the program (IStepVerifier)."""

    def __init__(self, op: int, row: int, col: int) -> None:
        super().__init__(f"operator {op} has no element [{row}, {col}]")
        self.position = (op, row, col)
