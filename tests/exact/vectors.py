"""Reads the golden vectors of the exact tier (tests/vectors/exact/README.md)."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array, DType, Spec, decode
from oracle.exact.program import Opcode, Program
from oracle.exact.tensors import TensorTree
from tests.exact.cases import Case

HERE = Path(__file__).parents[1] / "vectors" / "exact"
OPERATORS = tuple(opcode.name.lower() for opcode in Opcode)
NAMES = (*OPERATORS, "network")


@dataclass(frozen=True)
class Stored:
    """A tensor as its bytes."""

    spec: Spec
    data: bytes
    root: bytes

    @property
    def array(self) -> Array:
        """The elements."""
        return decode(self.data, self.spec)

    @property
    def tree(self) -> TensorTree:
        """The tensor with hashes computed anew."""
        raw = decode(self.data, Spec(DType.U8, self.spec.rows, self.spec.row_bytes))
        return TensorTree(self.spec, raw)


@dataclass(frozen=True)
class ProvenStep:
    """One element, and its step as the contract takes it."""

    op: int
    row: int
    col: int
    stored: bytes
    abi: bytes


@dataclass(frozen=True)
class Vector:
    """A program with everything that follows from it and its inputs."""

    name: str
    program: bytes
    constants: tuple[Stored, ...]
    inputs: tuple[Stored, ...]
    tensors: tuple[Stored, ...]  # of the operators
    graph_root: bytes
    model_root: bytes
    input_root: bytes
    output_root: bytes
    trace_root: bytes
    trace_leaves: tuple[bytes, ...]
    steps: tuple[ProvenStep, ...]

    def case(self) -> Case:
        """Return what an executor takes."""
        program = Program.parse(self.program)
        constants = Constants({k: c.tree for k, c in enumerate(self.constants)})
        return Case(program, constants, tuple(x.array for x in self.inputs), len(program.ops) - 1)


@dataclass(frozen=True)
class InvalidProgram:
    """A program with one fault."""

    name: str
    program: bytes
    op: int | None
    part: str


@functools.cache
def document(name: str) -> Any:
    """Return a file's JSON."""
    return json.loads((HERE / f"{name}.json").read_text())


@functools.cache
def load(name: str) -> tuple[Vector, ...]:
    """Return the cases of a file of `NAMES`; a file of one case gives one."""
    found = document(name)
    return tuple(_vector(case) for case in (found if isinstance(found, list) else [found]))


def network() -> bytes:
    """Return the bytes of a valid program of nine operators."""
    return (HERE / "network.bin").read_bytes()


@functools.cache
def invalid() -> tuple[InvalidProgram, ...]:
    """Return the programs with one fault."""
    return tuple(_invalid(fault) for fault in document("invalid"))


def _invalid(fault: dict[str, Any]) -> InvalidProgram:
    if "program" in fault:
        data = unhex(fault["program"])
    else:
        words = [network()[at : at + 32] for at in range(0, len(network()), 32)]
        for number, word in fault["words"].items():
            words[int(number)] = unhex(word)
        data = b"".join(words)
    return InvalidProgram(fault["name"], data, fault["op"], fault["part"])


def _vector(case: dict[str, Any]) -> Vector:
    def tensors(name: str) -> tuple[Stored, ...]:
        return tuple(_stored(tensor) for tensor in case[name])

    return Vector(
        name=case["name"],
        program=unhex(case["program"]),
        constants=tensors("constants"),
        inputs=tensors("inputs"),
        tensors=tensors("tensors"),
        graph_root=unhex(case["graphRoot"]),
        model_root=unhex(case["modelRoot"]),
        input_root=unhex(case["inputRoot"]),
        output_root=unhex(case["outputRoot"]),
        trace_root=unhex(case["traceRoot"]),
        trace_leaves=tuple(unhex(leaf) for leaf in case["traceLeaves"]),
        steps=tuple(_step(step) for step in case["steps"]),
    )


def _stored(tensor: dict[str, Any]) -> Stored:
    spec = Spec(DType[tensor["dtype"]], tensor["rows"], tensor["cols"])
    return Stored(spec, unhex(tensor["stored"]) * tensor.get("repeat", 1), unhex(tensor["root"]))


def _step(step: dict[str, Any]) -> ProvenStep:
    return ProvenStep(
        step["op"], step["row"], step["col"], unhex(step["stored"]), unhex(step["abi"])
    )


def unhex(text: str) -> bytes:
    """Read hexadecimal bytes."""
    return bytes.fromhex(text.removeprefix("0x"))
