"""A step and its parts, as IStepVerifier.sol and IDisputeGame.sol declare them, field by field."""

from dataclasses import dataclass

from oracle.types import ZERO32, Bytes32

Path = tuple[Bytes32, ...]


@dataclass(frozen=True, slots=True)
class ExactClaim:
    """What the chain knows of one answer."""

    model_root: Bytes32
    input_root: Bytes32
    output_root: Bytes32
    trace_root: Bytes32 = ZERO32  # zero: none yet


@dataclass(frozen=True, slots=True)
class TensorOpening:
    """A tensor's root and its path in the trace, which is empty for inputs and constants."""

    root: Bytes32
    path: Path = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """Logical bytes below a root: one row, or its share of one leaf."""

    data: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One element of one operator with all that is needed to compute it again."""

    op: int
    row: int
    col: int
    preamble: tuple[int, ...]
    operator: tuple[int, ...]
    operator_path: Path
    input_leaves: Path
    operands: tuple[TensorOpening, ...]
    slices: tuple[Slice, ...]
    result: TensorOpening
    element: Slice


@dataclass(frozen=True, slots=True)
class TensorProof:
    """The tensor that an operator of the program wrote."""

    preamble: tuple[int, ...]
    operator: tuple[int, ...]
    operator_path: Path
    result: TensorOpening
