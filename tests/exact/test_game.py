"""Decisions of a dispute, played to the end against liars of every sort, without a chain."""

import numpy as np
import pytest

from oracle.exact import game, judge, proofs
from oracle.exact.builder import ProgramBuilder
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import DType, Spec, channels
from oracle.exact.errors import ProofInvalid
from oracle.exact.partial_tensor import DisputedTensors, PartialTensor, TreeNode
from oracle.exact.program import Program
from oracle.exact.reference import execute
from oracle.exact.tensors import TensorTree
from oracle.merkle import keccak

MAX_DEMANDS = 12


@pytest.fixture(scope="module")
def model() -> tuple[Program, Constants]:
    """Three layers whose first tensors are too large for one opening."""
    b = ProgramBuilder()
    x = b.input(Spec(DType.I8, 300, 200))
    c = b.constant(channels(0, 1, 1), DType.CHANNEL)
    wide = b.rescale(x, c, dtype=DType.I16)
    two = b.constant(channels([0, 0], [1, 1], [1, 1]), DType.CHANNEL)
    twice = b.add(wide, wide, two, dtype=DType.I16)
    b.sum(twice, cols=3)
    return b.build()


@pytest.fixture(scope="module")
def honest(model: tuple[Program, Constants]) -> Committed:
    program, constants = model
    x = (np.arange(60_000) % 251 - 125).reshape(300, 200).astype(np.int8)
    return Committed(program, execute(program, constants, (x,)).tensors)


def altered(honest: Committed, op: int, row: int, col: int) -> Committed:
    """Return a trace with one wrong element of one operator; what follows from it is right."""
    tensors = [tensor.copy() for tensor in honest.tensors]
    tensors[1 + op][row, col] ^= 1
    for later in range(op + 1, 3):
        source = tensors[1 + later - 1].astype(np.int64)
        if later == 1:
            tensors[2] = ((2 * source + 1) >> 1).clip(-32768, 32767).astype(np.int16)
        else:
            tensors[3] = source.sum(axis=1).reshape(-1, 3).astype(np.int32)
    return Committed(honest.program, tensors)


def play(
    constants: Constants, honest: Committed, liar: Committed
) -> tuple[game.Move, Committed | None, int]:
    """Play until the challenger can prove: the last move, what it knows, and the demands made."""
    leaves, known, demands = None, {}, 0
    while True:
        move = game.next_move(honest, liar.output_root, leaves, known)
        match move:
            case game.DemandTrace():
                leaves = game.answer_trace(liar).leaves
            case game.DemandNode(op, node):
                demands += 1
                pieces = known.setdefault(op, PartialTensor(honest.program.ops[op].result))
                answer = game.answer_node(liar, op, node)
                if isinstance(answer, game.OpenNodeArguments):
                    pieces.add_nodes(node, answer.nodes)
                else:
                    pieces.add_leaves(node, answer.data)
            case game.ProveElement():
                return move, DisputedTensors(honest, leaves, liar.output_root, known), demands
            case game.NoFault():
                return move, None, demands


@pytest.mark.parametrize(
    ("op", "row", "col"), [(0, 0, 0), (0, 299, 199), (1, 150, 63), (1, 150, 64), (2, 99, 2)]
)
def test_next_move__one_element_wrong__ends_in_a_proof_of_it(
    model: tuple[Program, Constants], honest: Committed, op: int, row: int, col: int
) -> None:
    liar = altered(honest, op, row, col)

    move, known, demands = play(model[1], honest, liar)

    assert move == game.ProveElement(op, row, col)
    assert known is not None
    assert demands <= 3
    proof = proofs.step(model[1], known, op, row, col)
    assert proof == proofs.step(model[1], liar, op, row, col)
    assert not judge.check(proofs.claim(liar), proof)


def test_next_move__output_true__no_fault(
    model: tuple[Program, Constants], honest: Committed
) -> None:
    tensors = list(honest.tensors)
    tensors[1] = tensors[1] + np.int16(1)  # a lie that led to nothing
    liar = Committed(honest.program, tensors)

    assert play(model[1], honest, liar)[0] == game.NoFault()


class Junk(TensorTree):
    """A tree that carries something where the shape has nothing."""

    def node(self, level: int, index: int) -> bytes:
        lowest = TreeNode(self.depth, (1 << self.depth) - 1)
        if index == lowest.index >> self.depth - level:
            if level == self.depth:
                return keccak(b"junk")
            return keccak(self.node(level + 1, 2 * index) + self.node(level + 1, 2 * index + 1))
        return super().node(level, index)


def test_next_move__padding_carries_values__asks_for_what_cannot_be_shown(
    model: tuple[Program, Constants], honest: Committed
) -> None:
    program = model[0]
    tree = honest.tree(3)
    assert isinstance(tree, TensorTree)
    liar = Committed(program, honest.tensors, {3: Junk(tree.spec, tree.stored)})

    with pytest.raises(ProofInvalid, match=r"leaves|nodes"):
        play(model[1], honest, liar)


def test_answer_node__below_the_leaves__shows_that_there_is_none(honest: Committed) -> None:
    answer = game.answer_node(honest, 2, TreeNode(60, 0))

    assert isinstance(answer, game.OpenNodeArguments)
    assert (answer.nodes, answer.path, answer.tensor.result.path) == ((), (), ())


def test_answer_step__outside_the_tensor__shows_the_operator_alone(
    model: tuple[Program, Constants], honest: Committed
) -> None:
    answer = game.answer_step(model[1], honest, 1, 300, 0)

    assert answer.operator == honest.program.ops[1].words()
    assert answer.slices == ()


@pytest.mark.parametrize("spec", [Spec(DType.I16, 300, 200), Spec(DType.I8, 1, 9)])
def test_pieces__other_bytes_than_the_known_hash__refused(spec: Spec) -> None:
    tree = TensorTree.of(np.zeros((spec.rows, spec.cols), spec.dtype.numpy), spec.dtype)
    pieces = PartialTensor(spec)
    if tree.depth > 5:
        pieces.add_nodes(TreeNode(0, 0), proofs.open_node(tree, 0, 0))
        lower = TreeNode(6, 0)
    else:
        pieces.add_leaves(TreeNode(0, 0), tree.below(0, 0))
        lower = TreeNode(0, 0)
    data = bytearray(tree.below(lower.level, lower.index))
    data[0] ^= 1

    with pytest.raises(ProofInvalid):
        pieces.add_leaves(lower, bytes(data))


def test_pieces__too_many_bytes__refused() -> None:
    with pytest.raises(ProofInvalid, match="leaves"):
        PartialTensor(Spec(DType.I8, 1, 9)).add_leaves(TreeNode(0, 0), bytes(10))


def test_pieces__other_number_of_nodes__refused() -> None:
    with pytest.raises(ProofInvalid, match="nodes"):
        PartialTensor(Spec(DType.I16, 300, 200)).add_nodes(TreeNode(0, 0), [bytes(32)] * 32)
