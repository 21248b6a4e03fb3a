"""Commitments: the roots that stand for inputs, output and trace, and what is behind them.

docs/exact.md, section 5. Inputs come from the request and the output from the delivery, so the
trace has neither: it is a tree over the tensor leaves of operators 0 … nOps−2.
"""

from collections.abc import Iterable, Mapping, Sequence

from oracle.exact.dtypes import Array, Spec
from oracle.exact.program import Program
from oracle.exact.tensors import Openable, TensorTree, tensor_leaf
from oracle.merkle import keccak, log, tree_path, tree_root
from oracle.types import ZERO32, Bytes32


def input_root(specs: Sequence[Spec], inputs: Sequence[Array]) -> Bytes32:
    """Return the root of a request's inputs."""
    return join_inputs(
        tensor_leaf(index, spec, TensorTree.of(array, spec.dtype).root)
        for index, (spec, array) in enumerate(zip(specs, inputs, strict=True))
    )


def join_inputs(leaves: Iterable[bytes]) -> Bytes32:
    """Return the input root over the tensor leaves of all inputs."""
    return keccak(b"\x05" + b"".join(leaves))


def output_root(program: Program, output: Array) -> Bytes32:
    """Return the root of an answer."""
    last = program.id_of(len(program.ops) - 1)
    return tensor_leaf(last, program.output, TensorTree.of(output, program.output.dtype).root)


def trace_depth(program_ops: int) -> int:
    """Return the length of a path in the trace of a program of so many operators."""
    return log(max(1, program_ops - 1))


def trace_root(leaves: Sequence[bytes]) -> Bytes32:
    """Return the root over the tensor leaves of operators 0 … nOps−2; zero when there are none."""
    return tree_root(leaves, log(len(leaves))) if leaves else ZERO32


class Committed:
    """Tensors that somebody stands for, true or not, with their hashes.

    Args:
        program: whose tensors they are.
        tensors: by id: inputs, then one of each operator.
        trees: in the place of tensors whose stored bytes or hashes are not what they should be.
    """

    def __init__(
        self,
        program: Program,
        tensors: Sequence[Array],
        trees: Mapping[int, Openable] | None = None,
    ) -> None:
        self.program = program
        self.tensors = tuple(tensors)
        self._trees = dict(trees or {})
        self._leaves: dict[int, Bytes32] = {}

    def tree(self, tensor_id: int) -> Openable:
        """Return a tensor with its hashes."""
        if tensor_id not in self._trees:
            dtype = self.program.spec_of(tensor_id).dtype
            self._trees[tensor_id] = TensorTree.of(self.tensors[tensor_id], dtype)
        return self._trees[tensor_id]

    def leaf(self, tensor_id: int) -> Bytes32:
        """Return what stands for a tensor."""
        if tensor_id not in self._leaves:
            tree = self.tree(tensor_id)
            self._leaves[tensor_id] = tensor_leaf(tensor_id, tree.spec, tree.root)
        return self._leaves[tensor_id]

    @property
    def input_leaves(self) -> tuple[Bytes32, ...]:
        """Tensor leaves of the inputs."""
        return tuple(self.leaf(index) for index in range(len(self.program.inputs)))

    @property
    def trace_leaves(self) -> tuple[Bytes32, ...]:
        """Tensor leaves of operators 0 … nOps−2: what `commitTrace` posts."""
        ops = range(len(self.program.ops) - 1)
        return tuple(self.leaf(self.program.id_of(op)) for op in ops)

    @property
    def input_root(self) -> Bytes32:
        """Root of the inputs."""
        return join_inputs(self.input_leaves)

    @property
    def output_root(self) -> Bytes32:
        """Root of the output."""
        return self.leaf(self.program.id_of(len(self.program.ops) - 1))

    @property
    def trace_root(self) -> Bytes32:
        """Root of the trace."""
        return trace_root(self.trace_leaves)

    def trace_path(self, op: int) -> tuple[Bytes32, ...]:
        """Return the siblings from an operator's tensor leaf up; none for the last, the output."""
        if op == len(self.program.ops) - 1:
            return ()
        return tree_path(self.trace_leaves, trace_depth(len(self.program.ops)), op)
