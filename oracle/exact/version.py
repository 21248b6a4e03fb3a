"""An exact version's files: program and constants, held against each other and the chain.

Every user of an exact version (worker, requester, challenger) starts here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle.errors import DigestMismatch, InputInvalid
from oracle.exact import constants, quantisation
from oracle.exact.constants import Constants
from oracle.exact.program import Program
from oracle.protocol.manifest import Manifest
from oracle.types import Bytes32

MAX_PROGRAM_BYTES = 1 << 20


@dataclass(frozen=True)
class ExactVersion:
    """A program and its constants, which have the roots it names."""

    program: Program
    constants: Constants


def read_program(manifest: Manifest, files: Mapping[str, Path]) -> Program:
    """Read and check the program of an exact version.

    Raises:
        ProgramInvalid: a rule of docs/exact.md, section 3, is broken.
        InputInvalid: the manifest is not of an exact version, or says other inputs or output.
    """
    exact = manifest.exact
    if exact is None:
        raise InputInvalid(f"{manifest.name} is not an exact version")
    path = files[manifest.runtime.entry]
    if (size := path.stat().st_size) > MAX_PROGRAM_BYTES:
        raise InputInvalid(f"the program has {size} bytes, above {MAX_PROGRAM_BYTES}")
    program = Program.parse(path.read_bytes())
    said = tuple(quantisation.input_from_json(code).spec for code in exact.inputs)
    outputs = [quantisation.output_from_json(code) for code in exact.outputs]
    if said != program.inputs or exact.output_id != program.id_of(len(program.ops) - 1):
        raise InputInvalid("the manifest names other inputs or another output than the program has")
    for output in outputs:
        if output.dtype != program.output.dtype:
            raise InputInvalid(
                f"the manifest says {output.dtype.name}, not {program.output.dtype.name}"
            )
    return program


def read(
    manifest: Manifest, files: Mapping[str, Path], model_root: Bytes32 | None = None
) -> ExactVersion:
    """Read a version and recompute its root from the weights up, as must be done before serving.

    Args:
        model_root: what the chain names; None before a version is published.

    Raises:
        DigestMismatch: the program is not the one that the chain names.
        ConstantMismatch, ProgramInvalid, InputInvalid: see `read_program` and `constants.load`.
    """
    program = read_program(manifest, files)
    if model_root not in (None, program.model_root):
        raise DigestMismatch(
            f"the program has root 0x{program.model_root.hex()}, the version's record says "
            f"0x{model_root.hex()}",
            hint="the owner must publish a version whose parts agree",
        )
    assert manifest.exact is not None
    data = files[manifest.exact.constants].read_bytes()
    return ExactVersion(program, constants.load(data, program))
