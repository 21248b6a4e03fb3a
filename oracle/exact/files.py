"""How inputs and outputs travel: records of tensors, from which alone their roots follow.

docs/exact.md, section 5.
```
 u16 id │ u8 dtype │ u32 rows │ u32 cols │ rows · cols elements in stored form │ next record …
```
"""

import struct
from collections.abc import Sequence

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact.commitments import join_inputs
from oracle.exact.dtypes import NUMBERS, Array, Spec
from oracle.exact.tensors import TensorTree, tensor_leaf
from oracle.types import Bytes32

_HEADER = struct.Struct(">HBII")


def record(tensor_id: int, tree: TensorTree) -> bytes:
    """Return one tensor's record."""
    spec = tree.spec
    return _HEADER.pack(tensor_id, spec.dtype, spec.rows, spec.cols) + tree.stored.tobytes()


def write_inputs(specs: Sequence[Spec], inputs: Sequence[Array]) -> bytes:
    """Return the bytes of a request's inputs.

    Raises:
        InputInvalid: a matrix of another shape, or an element outside its dtype's range.
    """
    trees = [TensorTree.of(array, spec.dtype) for array, spec in zip(inputs, specs, strict=True)]
    for tree, spec in zip(trees, specs, strict=True):
        if tree.spec != spec:
            raise InputInvalid(f"an input is {tree.spec}, not {spec}")
    return b"".join(record(index, tree) for index, tree in enumerate(trees))


def read_records(data: bytes) -> list[tuple[int, TensorTree]]:
    """Return the (id, tensor) pairs of all records.

    Raises:
        InputInvalid: not whole records of number tensors.
    """
    found, at = [], 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise InputInvalid(f"a record's header is cut short at byte {at}")
        tensor_id, code, rows, cols = _HEADER.unpack_from(data, at)
        spec = Spec.from_word(cols | rows << 32 | code << 64)
        at += _HEADER.size
        if spec.dtype not in NUMBERS or not spec.valid or len(data) - at < spec.bytes:
            raise InputInvalid(f"tensor {tensor_id} of {spec} does not fit {len(data) - at} bytes")
        stored = np.frombuffer(data, np.uint8, spec.bytes, at).reshape(spec.rows, spec.row_bytes)
        found.append((tensor_id, TensorTree(spec, stored)))
        at += spec.bytes
    if not found:
        raise InputInvalid("no tensors")
    return found


def read_inputs(data: bytes) -> list[TensorTree]:
    """Return a request's inputs in order.

    Raises:
        InputInvalid: not the records of tensors 0, 1, ….
    """
    found = read_records(data)
    if [tensor_id for tensor_id, _ in found] != list(range(len(found))):
        raise InputInvalid("the inputs are not tensors 0, 1, …")
    return [tree for _, tree in found]


def read_output(data: bytes) -> tuple[int, TensorTree]:
    """Return an answer's tensor and its id.

    Raises:
        InputInvalid: not one record.
    """
    found = read_records(data)
    if len(found) != 1:
        raise InputInvalid(f"an answer is one tensor, not {len(found)}")
    return found[0]


def input_root(data: bytes) -> Bytes32:
    """Return the root of a request's input bytes. Errors as in `read_inputs`."""
    leaves = (tensor_leaf(i, tree.spec, tree.root) for i, tree in enumerate(read_inputs(data)))
    return join_inputs(leaves)


def output_root(data: bytes) -> Bytes32:
    """Return the root of an answer's bytes. Errors as in `read_output`."""
    tensor_id, tree = read_output(data)
    return tensor_leaf(tensor_id, tree.spec, tree.root)
