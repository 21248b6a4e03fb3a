"""ReceiptTree: every count has its root, and every receipt its way up to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.protocol.receipt_tree import ReceiptTree, is_below, proof
from oracle.types import ZERO32, Bytes32


def leaves(count):
    return [Bytes32(bytes([i % 256, i // 256]) * 16) for i in range(1, count + 1)]


def test_root__no_receipts__is_zero():
    assert ReceiptTree().root == ZERO32


def test_root__every_count__another():
    tree, roots = ReceiptTree(), set()
    for leaf in leaves(130):
        tree.append(leaf)
        roots.add(tree.root)
    assert len(roots) == 130


@given(st.integers(1, 200), st.data())
def test_proof__any_leaf_of_any_count__is_below_its_root_alone(count, data):
    all_leaves = leaves(count)
    index = data.draw(st.integers(0, count - 1))
    root = ReceiptTree(all_leaves).root
    path, peaks = proof(all_leaves, index)
    assert is_below(all_leaves[index], index, path, peaks, root=root, count=count)
    assert not is_below(Bytes32(b"\xff" * 32), index, path, peaks, root=root, count=count)
    assert not is_below(all_leaves[index], index, path, peaks, root=root, count=count + 1)
    assert not is_below(all_leaves[index], index, (*path, ZERO32), peaks, root=root, count=count)
    other = data.draw(st.integers(0, count).filter(lambda i: i != index))
    assert not is_below(all_leaves[index], other, path, peaks, root=root, count=count)


@pytest.mark.parametrize("index", [-1, 3])
def test_proof__no_such_leaf__refused(index):
    with pytest.raises(IndexError):
        proof(leaves(3), index)
