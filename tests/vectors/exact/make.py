"""Makes the golden vectors of the exact tier: bytes that NumPy, torch and Solidity must agree on.

`python -m tests.vectors.exact.make` rewrites the files beside it; a test fails when they are not
what this makes. README.md says how they are laid out.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from eth_abi.abi import encode as abi_encode
from eth_utils.abi import collapse_if_tuple

from oracle.chain import artifacts
from oracle.chain.codec import plain
from oracle.exact import dtypes, proofs, receipt
from oracle.exact.builder import ProgramBuilder
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array, DType, Spec
from oracle.exact.program import Program
from oracle.exact.reference import execute
from oracle.exact.tensors import TensorTree, leaves_of, tensor_leaf
from oracle.protocol import eip712
from oracle.protocol.canonical import sha256
from oracle.types import ZERO32, Address, RequestId
from tests.vectors.exact import operators
from tests.vectors.exact.invalid import invalid

HERE = Path(__file__).parent
GAME = Address("0x5b1869D9A4C187F2EAa108f3062412ecf0526b24")
STEPS = 3  # cases of each operator with a step as the contract takes it


def vectors() -> dict[str, bytes]:
    """Return every file by name."""
    files = {"trees.json": _text(_trees()), "receipts.json": _text(_receipts())}
    for opcode, cases in operators.CASES.items():
        documents = []
        for number, sketch in enumerate(cases()):
            program, constants = sketch.build(canonical=False)
            documents.append(_case(sketch.name, program, constants, sketch.values, number < STEPS))
        files[f"{opcode.name.lower()}.json"] = _text(documents)
    program, constants, inputs = network()
    files["network.json"] = _text(_case("a small network", program, constants, inputs, True))
    files["network.bin"] = program.encode()
    files["invalid.json"] = _text(_invalid(program))
    return files


def network() -> tuple[Program, Constants, list[Array]]:
    """Return a program of nine operators: attention over five tokens, pooled, and a tree."""
    b = ProgramBuilder()
    ids, mask = b.input(Spec(DType.U16, 1, 5)), b.input(Spec(DType.U8, 1, 5))
    words = b.constant(operators.ramp(DType.I8, 11, 16, 29), DType.I8)
    one = b.constant(dtypes.channels(0, 3, 7), DType.CHANNEL)
    two = b.constant(dtypes.channels([0, 0], [2**14, 2**10], [14, 1]), DType.CHANNEL)
    each = b.constant(dtypes.channels(np.arange(16) * 2**20, 3000, 16), DType.CHANNEL)
    exp = b.constant(np.array([[65535 * 9**k // 10**k for k in range(64)]]), DType.U16)
    x = b.gather(ids, words)
    scores = b.dot(x, x, one, dtype=DType.I16, group=5)
    attention = b.softmax(scores, exp, mask=mask, dtype=DType.U8, shift=3)
    columns = b.view(x, 16, 5, sizes=(16, 5), strides=(1, 16))
    mixed = b.dot(attention, columns, one, dtype=DType.I8)
    residual = b.add(x, mixed, two, dtype=DType.I16)
    normal = b.layernorm(residual, each, eps=1 << 20, dtype=DType.I8)
    turned = b.view(normal, 16, 5, sizes=(16, 5), strides=(1, 16))
    b.mean(turned, each, mask=mask, dtype=DType.I16, cols=16)
    program, constants = b.build()
    values = [np.array([[0, 10, 3, 3, 65535]], np.uint16), np.array([[1, 1, 1, 255, 0]], np.uint8)]
    return program, constants, values


def step_type() -> str:
    """Return the ABI type of a step."""
    abi = artifacts.load("IStepVerifier").abi
    check = next(item for item in abi if item.get("name") == "check")
    return collapse_if_tuple(check["inputs"][1])


def _case(
    name: str, program: Program, constants: Constants, inputs: list[Array], with_step: bool
) -> dict[str, Any]:
    committed = Committed(program, execute(program, constants, inputs).tensors)
    ops = range(len(program.ops))
    return {
        "name": name,
        "program": _hex(program.encode()),
        "constants": [_tensor(constants.tree(number)) for number in constants],
        "inputs": [_tensor(committed.tree(index)) for index in range(len(program.inputs))],
        "tensors": [_tensor(committed.tree(program.id_of(op))) for op in ops],
        "graphRoot": _hex(program.graph_root),
        "modelRoot": _hex(program.model_root),
        "inputRoot": _hex(committed.input_root),
        "outputRoot": _hex(committed.output_root),
        "traceRoot": _hex(committed.trace_root),
        "traceLeaves": [_hex(leaf) for leaf in committed.trace_leaves],
        "steps": [_step(constants, committed, op) for op in ops] if with_step else [],
    }


def _tensor(tree: Any) -> dict[str, Any]:
    spec = tree.spec
    stored = tree.stored.tobytes()
    document = {"dtype": spec.dtype.name, "rows": spec.rows, "cols": spec.cols}
    document["root"] = _hex(tree.root)
    unit = stored[: 256 * spec.size]  # long tables repeat themselves: say it once
    times = len(stored) // len(unit)
    if times > 1 and stored == unit * times:
        return {**document, "stored": _hex(unit), "repeat": times}
    return {**document, "stored": _hex(stored)}


def _step(constants: Constants, committed: Committed, op: int) -> dict[str, Any]:
    result = committed.program.ops[op].result
    row, col = result.rows - 1, result.cols - 1
    step = proofs.step(constants, committed, op, row, col)
    at = col * result.size % 128
    return {
        "op": op,
        "row": row,
        "col": col,
        "stored": _hex(step.element.data[at : at + result.size]),
        "abi": _hex(abi_encode([step_type()], [plain(step)])),
    }


def _trees() -> list[dict[str, Any]]:
    shapes = [
        Spec(DType.I8, 1, 1),
        Spec(DType.U8, 1, 128),
        Spec(DType.U8, 1, 129),
        Spec(DType.I8, 1, 300),  # three leaves
        Spec(DType.I16, 5, 3),  # five rows
        Spec(DType.U16, 5, 150),
        Spec(DType.I32, 3, 33),
        Spec(DType.I32, 9, 1),
        Spec(DType.CHANNEL, 1, 9),
        Spec(DType.NODE, 1, 17),
    ]
    return [_tree(number, spec) for number, spec in enumerate(shapes)]


def _tree(number: int, spec: Spec) -> dict[str, Any]:
    stored = (np.arange(spec.bytes) * 7 + number).astype(np.uint8)
    tree = TensorTree(spec, stored.reshape(spec.rows, -1))
    row, leaf = spec.rows - 1, leaves_of(spec) - 1
    return {
        "spec": hex(spec.word()),
        "stored": _hex(tree.stored.tobytes()),
        "root": _hex(tree.root),
        "nodes": [
            [_hex(tree.node(level, k)) for k in range(1 << level)]
            for level in range(tree.depth + 1)
        ],
        "lastRow": [_hex(node) for node in proofs.row_slice(tree, row).path],
        "lastLeaf": [_hex(node) for node in proofs.leaf_slice(tree, row, leaf).path],
        "tensorLeaf": {"id": 7, "leaf": _hex(tensor_leaf(7, spec, tree.root))},
    }


def _receipts() -> list[dict[str, Any]]:
    found = []
    for chain_id, trace_root in ((1, ZERO32), (31337, sha256(b"trace"))):
        typed = receipt.receipt(
            chain_id=chain_id,
            game=GAME,
            request_id=RequestId(sha256(b"request")),
            output_root=sha256(b"output"),
            trace_root=trace_root,
        )
        found.append({"typedData": typed, "digest": _hex(eip712.digest(typed))})
    return found


def _invalid(program: Program) -> list[dict[str, Any]]:
    valid, found = program.encode(), []
    for name, data, op, part in invalid(program):
        fault: dict[str, Any] = {"name": name, "op": op, "part": part}
        if len(data) == len(valid):  # as what differs from network.bin
            fault["words"] = {
                str(at // 32): _hex(data[at : at + 32])
                for at in range(0, len(data), 32)
                if data[at : at + 32] != valid[at : at + 32]
            }
        else:
            fault["program"] = _hex(data)
        found.append(fault)
    return found


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _text(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


if __name__ == "__main__":
    for file_name, content in vectors().items():
        (HERE / file_name).write_bytes(content)
