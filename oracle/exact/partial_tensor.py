"""A liar's tensor as a challenger comes to know it: from opened nodes and revealed leaves.

docs/exact.md, section 7. Every `openNode` shows 64 nodes, every `revealLeaves` the bytes below one
node; together with the hashes in between they make the paths of a proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from oracle.exact.commitments import Committed
from oracle.exact.dtypes import Spec, elements
from oracle.exact.errors import ProofInvalid
from oracle.exact.proofs import OPENED_LEVELS
from oracle.exact.tensors import LEAF, Openable, TensorTree, depth_of, leaf_hash, leaves_of
from oracle.merkle import keccak, log
from oracle.types import ZERO32, Bytes32

REVEALED_LEVELS = 5  # at most, above the leaves, of a node that revealLeaves shows


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One node of a tensor's tree; level 0 is the root. Absent ones may be asked for, too."""

    level: int
    index: int


class NodeSource(Protocol):
    """A tree whose nodes are all known."""

    def node(self, level: int, index: int) -> Bytes32:
        """Return node `index` (left to right) at `level` (0 = root)."""


class PartialTree:
    """The known nodes of a tree of this depth."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._nodes: dict[TreeNode, Bytes32] = {}

    def knows(self, node: TreeNode) -> bool:
        """Whether a node's hash is known."""
        return node in self._nodes

    def node(self, level: int, index: int) -> Bytes32:
        """Return a known node."""
        return self._nodes[TreeNode(level, index)]

    def path(self, level: int, index: int) -> tuple[Bytes32, ...]:
        """Return the siblings from a node up to the root; all are known."""
        return tuple(self.node(up, index >> level - up ^ 1) for up in range(level, 0, -1))

    def add_below(self, node: TreeNode, nodes: Sequence[bytes]) -> None:
        """Take a complete level below a node, with the hashes in between.

        Raises:
            ProofInvalid: they do not hash to what is known of `node` (part "nodes").
        """
        hashes = [Bytes32(bytes(hash_)) for hash_ in nodes]
        found: dict[TreeNode, Bytes32] = {}
        level = node.level + log(len(hashes))
        first = node.index << level - node.level
        while True:
            found |= {TreeNode(level, first + k): hash_ for k, hash_ in enumerate(hashes)}
            if level == node.level:
                break
            hashes = [keccak(a + b) for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
            level, first = level - 1, first >> 1
        if self._nodes.get(node, found[node]) != found[node]:
            raise ProofInvalid("nodes")
        self._nodes |= found

    def first_difference(self, honest: NodeSource) -> TreeNode | None:
        """Return the first leaf that differs, or the node above it whose children are not known.

        Args:
            honest: the tree as it should be; None is returned when the roots are equal.
        """
        node = TreeNode(0, 0)
        if not self.knows(node):
            return node
        if self.node(0, 0) == honest.node(0, 0):
            return None
        while node.level < self.depth:
            children = [TreeNode(node.level + 1, 2 * node.index + side) for side in (0, 1)]
            if not self.knows(children[0]):
                return node
            node = next(
                c for c in children if self.node(c.level, c.index) != honest.node(c.level, c.index)
            )
        return node


class PartialTensor(PartialTree, Openable):
    """The known part of a tensor with this spec, over a root that holds it together."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(depth_of(spec))
        self.spec = spec
        self.row_levels = log(spec.rows)
        self._leaves: dict[int, bytes] = {}  # logical bytes by leaf index

    def add_nodes(self, node: TreeNode, nodes: Sequence[bytes]) -> None:
        """Take what `openNode` showed: the nodes six levels below `node`.

        Raises:
            ProofInvalid: they do not hash to what is known of `node` (part "nodes").
        """
        if len(nodes) != 1 << OPENED_LEVELS:
            raise ProofInvalid("nodes")
        self.add_below(node, nodes)

    def add_leaves(self, node: TreeNode, data: bytes) -> None:
        """Take what `revealLeaves` showed: the logical bytes below `node`.

        Raises:
            ProofInvalid: they do not hash to what is known of `node` (part "leaves").
        """
        height = self.depth - node.level
        hashes, leaves, at = [], {}, 0
        for leaf in range(node.index << height, node.index + 1 << height):
            size = self._size(leaf)
            leaves[leaf] = data[at : at + size]
            hashes.append(leaf_hash(leaves[leaf]) if size else ZERO32)
            at += size
        if at != len(data):
            raise ProofInvalid("leaves")
        self.add_below(node, hashes)
        self._leaves.update(leaves)

    def difference(self, honest: TensorTree) -> "TreeNode | tuple[int, int] | None":
        """Return the next node to demand, or the first element known to differ; None when none is.

        Args:
            honest: the tensor as it should be.
        """
        node = self.first_difference(honest)
        if node is None or node.level < self.depth:
            return node
        return self._element(honest, node.index) if node.index in self._leaves else node

    # ── As an openable tensor ─────────────────────────────────────────────────────────────────────

    @property
    def root(self) -> Bytes32:
        return self.node(0, 0)

    def row(self, row: int) -> bytes:
        return b"".join(self.leaf(row, leaf) for leaf in range(leaves_of(self.spec)))

    def leaf(self, row: int, leaf: int) -> bytes:
        return self._leaves[(row << self.depth - self.row_levels) + leaf]

    def below(self, level: int, index: int) -> bytes:
        height = self.depth - level
        return b"".join(self._leaves[k] for k in range(index << height, index + 1 << height))

    def _size(self, leaf: int) -> int:
        """Return the logical bytes of a leaf by its index; 0 of an absent one."""
        row, at = divmod(leaf, 1 << self.depth - self.row_levels)
        left = self.spec.row_bytes - at * LEAF
        return max(0, min(LEAF, left)) if row < self.spec.rows else 0

    def _element(self, honest: TensorTree, index: int) -> tuple[int, int]:
        row, leaf = divmod(index, 1 << self.depth - self.row_levels)
        pairs = zip(
            elements(self.leaf(row, leaf), self.spec.dtype),
            elements(honest.leaf(row, leaf), self.spec.dtype),
            strict=True,
        )
        place = next(k for k, (mine, theirs) in enumerate(pairs) if mine != theirs)
        return row, leaf * (LEAF // self.spec.size) + place


class DisputedTensors(Committed):
    """A liar's trace as far as a proof needs it: true before the first difference, pieces of that.

    Args:
        honest: the true trace.
        leaves: tensor leaves of operators 0 … nOps−2, as the liar posted them.
        output_root: as delivered.
        tensors: by operator, what is known of tensors that differ.
    """

    def __init__(
        self,
        honest: Committed,
        leaves: Sequence[bytes],
        output_root: bytes,
        tensors: Mapping[int, Openable],
    ) -> None:
        program = honest.program
        super().__init__(program, honest.tensors)
        self._honest = honest
        self._stated = [Bytes32(bytes(leaf)) for leaf in (*leaves, output_root)]
        self._known = {program.id_of(op): tree for op, tree in tensors.items()}

    def tree(self, tensor_id: int) -> Openable:
        return self._known.get(tensor_id) or self._honest.tree(tensor_id)

    def leaf(self, tensor_id: int) -> Bytes32:
        inputs = len(self.program.inputs)
        if tensor_id < inputs:
            return self._honest.leaf(tensor_id)
        return self._stated[tensor_id - inputs]
