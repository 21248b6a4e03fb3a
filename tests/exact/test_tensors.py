"""Trees: against a tree built naively, and what they refuse."""

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.exact.dtypes import DType, Spec
from oracle.exact.tensors import TensorTree, leaf_hash, leaves_of, row_hash, tensor_leaf
from oracle.merkle import absent, climb, keccak, log, tree_path, tree_root
from tests.exact import vectors

SPECS = [
    Spec(DType.I8, 1, 1),
    Spec(DType.I8, 1, 300),
    Spec(DType.I16, 5, 1),
    Spec(DType.U16, 3, 193),
    Spec(DType.I32, 8, 32),
    Spec(DType.I32, 6, 33),
    Spec(DType.NODE, 1, 41),
]


def make(spec: Spec) -> TensorTree:
    stored = (np.arange(spec.bytes) * 31 % 251).astype(np.uint8)
    return TensorTree(spec, stored.reshape(spec.rows, -1))


def levels(tree: TensorTree) -> list[list[bytes]]:
    """Return all nodes of the padded tree by level, root first, by the book."""
    beside = leaves_of(tree.spec)
    bottom = [
        leaf_hash(tree.leaf(row, leaf)) if row < tree.spec.rows and leaf < beside else bytes(32)
        for row in range(1 << log(tree.spec.rows))
        for leaf in range(1 << log(beside))
    ]
    found = [bottom]
    while len(found[0]) > 1:
        pairs = zip(found[0][::2], found[0][1::2], strict=True)
        found.insert(0, [keccak(left + right) for left, right in pairs])
    return found


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_node__every_one__as_by_the_book(spec: Spec) -> None:
    tree = make(spec)

    found = [[tree.node(level, k) for k in range(1 << level)] for level in range(tree.depth + 1)]

    assert found == levels(tree)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_path__every_node__climbs_to_the_root(spec: Spec) -> None:
    tree = make(spec)

    for level in range(tree.depth + 1):
        for k in range(1 << level):
            assert climb(tree.node(level, k), k, tree.path(level, k)) == tree.root
    for row in range(spec.rows):
        path = tree.path(tree.row_levels, row)
        assert climb(row_hash(tree.row(row)), row, path) == tree.root


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_below__any_node__the_bytes_of_its_leaves(spec: Spec) -> None:
    tree = make(spec)

    for level in range(tree.depth + 1):
        joined = b"".join(tree.below(level, k) for k in range(1 << level))
        assert joined == tree.stored.tobytes()


def test_absent__heights__hash_upwards_from_zero() -> None:
    assert absent(0) == bytes(32)
    assert absent(2) == keccak(keccak(bytes(64)) * 2)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_tree_path__every_leaf__climbs_to_the_root(count: int) -> None:
    hashes = [keccak(bytes([k])) for k in range(count)]

    for k, leaf in enumerate(hashes):
        path = tree_path(hashes, log(count), k)
        assert len(path) == log(count)
        assert climb(leaf, k, path) == tree_root(hashes, log(count))


@pytest.mark.parametrize("n", range(1, 70))
def test_log__count__least_power_that_holds_it(n: int) -> None:
    assert 2 ** log(n) >= n
    assert n == 1 or 2 ** (log(n) - 1) < n


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (Spec(DType.I8, 0, 1), (0, 1)),
        (Spec(DType.I8, 1, 0), (1, 0)),
        (Spec(DType.I16, 2, 3), (2, 3)),
        (Spec(DType.I8, 2, 3), (3, 2)),
    ],
)
def test_tree__bytes_of_another_shape__refused(spec: Spec, shape: tuple[int, int]) -> None:
    with pytest.raises(InputInvalid):
        TensorTree(spec, np.zeros(shape, np.uint8))


def test_tensor_leaf__any_field_changed__another_leaf() -> None:
    spec, root = Spec(DType.I8, 2, 3), bytes(32)
    leaves = {
        tensor_leaf(1, spec, root),
        tensor_leaf(2, spec, root),
        tensor_leaf(1, Spec(DType.U8, 2, 3), root),
        tensor_leaf(1, Spec(DType.I8, 3, 3), root),
        tensor_leaf(1, Spec(DType.I8, 2, 2), root),
        tensor_leaf(1, spec, bytes(31) + b"\1"),
    }

    assert len(leaves) == 6


@pytest.mark.parametrize("number", range(10))
def test_tree__golden__same_nodes_and_paths(number: int) -> None:
    golden = vectors.document("trees")[number]
    spec = Spec.from_word(int(golden["spec"], 16))
    stored = np.frombuffer(vectors.unhex(golden["stored"]), np.uint8)
    tree = TensorTree(spec, stored.reshape(spec.rows, -1))

    nodes = [[vectors.unhex(node) for node in level] for level in golden["nodes"]]
    last = (
        0
        if tree.depth == 0
        else ((spec.rows - 1) << tree.depth - tree.row_levels) + (leaves_of(spec) - 1)
    )

    assert levels(tree) == nodes
    assert tree.path(tree.row_levels, spec.rows - 1) == tuple(map(vectors.unhex, golden["lastRow"]))
    assert tree.path(tree.depth, last) == tuple(map(vectors.unhex, golden["lastLeaf"]))
    assert tensor_leaf(7, spec, tree.root) == vectors.unhex(golden["tensorLeaf"]["leaf"])
