"""Trees of a program and the sums behind them, walked by onnxruntime: 3 to 10 times as fast.

A TREE of one row, then VIEWs that move nothing and SUMs: each tree adds to one output.
```
 TREE 1 × T ─▶ VIEW C × T/C ─▶ SUM 1 × C          tree t adds to output t / (T/C)
```
Sums are integers below 2³¹, carried in float64: neither order nor rounding matters. Nodes that are
no trees (two lead to one, or deeper than TREE walks) are left to the kernels, step by step.
"""

import math
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from oracle.exact.constants import Constants
from oracle.exact.dtypes import Array
from oracle.exact.operators import LEAF, MISSING, MISSING_LEFT
from oracle.exact.program import Kind, Op, Opcode, Program
from worker.exact.trees import encoding

MAX_NODES = 2**21  # above, the session's lists would take gigabytes


class Forest:
    """Operators 0 to `last` of a program.

    Args:
        targets: the output that each tree adds to.
    """

    def __init__(self, program: Program, constants: Constants, last: int, targets: Array) -> None:
        self.last = last
        self._op, self._targets, self._result = program.ops[0], targets, program.ops[last].result
        self._columns = program.inputs[0].cols
        self._nodes = constants[self._op.operands[1].index][0]
        self._left = len(self._nodes)  # steps of walks until the session's opening has paid

    def pays(self, rows: int) -> bool:
        """Count rows that are asked; return whether as much was walked as opening costs."""
        self._left -= rows * len(self._targets) * self._op.lane(0)
        return self._left < 0

    def open(self) -> "OpenForest | None":
        """Return the trees in a session; None: the nodes do not suit.

        Raises:
            Exception: whatever onnxruntime raises.
        """
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; 0.3 s

        trees = self._trees()
        if trees is None:
            return None
        outputs = self._result.rows * self._result.cols
        info, kind = helper.make_tensor_value_info, TensorProto.DOUBLE
        node = helper.make_node(
            "TreeEnsemble", ["ranks"], ["sums"], domain="ai.onnx.ml",
            **encoding.attributes(trees, outputs, np.float64),
        )  # fmt: skip
        graph = helper.make_graph(
            [node], "trees",
            [info("ranks", kind, [None, self._columns])], [info("sums", kind, [None, outputs])],
        )  # fmt: skip
        versions = [helper.make_opsetid("ai.onnx.ml", encoding.VERSION)]
        made = helper.make_model(graph, opset_imports=versions, ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            made.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        shape = (-1, self._result.rows, self._result.cols)
        return OpenForest(session, self.last, self._columns, shape)

    def _trees(self) -> encoding.JoinedTrees | None:
        nodes, end, roots = self._nodes, len(self._nodes) - 1, len(self._targets)
        if end >= MAX_NODES:
            return None
        feature = (nodes["feature"] & LEAF).astype(np.int64)
        leaf = feature == LEAF
        left, right = (
            np.where(leaf, -1, np.minimum(nodes[way].astype(np.int64), end))
            for way in ("left", "right")
        )
        tree = _trees_of(left, right, roots, self._op.lane(0))
        if tree is None:
            return None
        value, most = np.where(leaf, nodes["value"], 0).astype(np.float64), np.zeros(roots)
        np.maximum.at(most, tree, np.abs(value))
        if np.bincount(self._targets, most).max() >= 2.0**31:  # SUM would clamp
            return None
        return encoding.JoinedTrees(
            np.minimum(feature, self._columns - 1), nodes["threshold"], left, right,
            nodes["feature"] & MISSING_LEFT != 0, value, self._targets[tree], np.arange(roots),
        )  # fmt: skip


class OpenForest:
    """A session, ready. `last`: the operator whose integers it gives."""

    def __init__(self, session: Any, last: int, columns: int, shape: tuple[int, ...]) -> None:
        self.last = last
        self._session, self._columns, self._shape = session, columns, shape

    def run(self, ranks: Array) -> Array:
        """Return integers: int32 [batch, rows, cols].

        Args:
            ranks: uint16 [batch, 1, columns].
        """
        given = ranks.reshape(-1, self._columns).astype(np.float64)
        given[given == MISSING] = np.nan
        (sums,) = self._session.run(["sums"], {"ranks": given})
        integers: Array = sums.astype(np.int32).reshape(self._shape)
        return integers

    def draw(self, rows: int) -> Array:
        """Draw ranks that tell a wrong walk: uint16 [rows, 1, columns], an eighth missing."""
        dice = np.random.default_rng(0)
        ranks = np.exp(dice.uniform(0, math.log(MISSING), (rows, 1, self._columns)))
        missing = dice.random(ranks.shape) < 1 / 8
        return np.where(missing, MISSING, ranks - 1).astype(np.uint16)


def of(program: Program, constants: Constants) -> Forest | None:
    """Return the trees at the beginning of a program; None: it has none that suit."""
    tree = program.ops[0]
    if tree.opcode != Opcode.TREE or tree.result.rows != 1 or len(program.inputs) != 1:
        return None
    targets, last = np.arange(tree.result.cols), 0
    for index, op in enumerate(program.ops[1:], 1):
        given = op.operands[0]
        if given.kind != Kind.ACTIVATION or given.index != program.id_of(index - 1):
            break
        if op.opcode == Opcode.SUM:
            targets = targets // given.spec.cols
        elif op.opcode != Opcode.VIEW or not _moves_nothing(op):
            break
        last = index
    inside = {program.id_of(index) for index in range(last)}
    later = (operand for op in program.ops[last + 1 :] for operand in op.operands)
    if any(one.kind == Kind.ACTIVATION and one.index in inside for one in later):
        return None
    return Forest(program, constants, last, targets)


def _moves_nothing(op: Op) -> bool:
    """Return whether a VIEW gives all elements in their order."""
    x, given = op.operands[0].spec, op.params
    dims = [(size, step) for size, step in zip(given[:5], given[5:10], strict=True) if size > 1]
    count = x.rows * x.cols
    whole = op.result.rows * op.result.cols == count
    return whole and op.lane(10) == 0 and dims in ([(count, 1)], [])


def _trees_of(left: Array, right: Array, roots: int, depth: int) -> Array | None:
    """Return the tree of each node; None if nodes are shared, unreachable, or lie too deep."""
    inner = np.flatnonzero(left >= 0)
    parents = np.bincount(np.concatenate([left[inner], right[inner]]), minlength=len(left))
    if parents[:roots].any() or (parents[roots:] != 1).any():
        return None
    tree, level = np.full(len(left), -1), np.arange(roots)
    tree[level] = level
    for _ in range(depth):
        level = level[left[level] >= 0]
        tree[left[level]] = tree[right[level]] = tree[level]
        level = np.concatenate([left[level], right[level]])
    return tree if (tree >= 0).all() and (left[level] < 0).all() else None
