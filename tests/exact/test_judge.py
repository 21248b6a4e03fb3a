"""The judge: convicts every wrong element, and nobody else, whatever a prover brings."""

from dataclasses import replace

import numpy as np
import pytest

from oracle.exact import judge, proofs
from oracle.exact.builder import ProgramBuilder
from oracle.exact.commitments import Committed
from oracle.exact.constants import Constants
from oracle.exact.dtypes import CHANNEL, DType, Spec, channels
from oracle.exact.errors import PositionInvalid, ProofInvalid
from oracle.exact.program import Opcode
from oracle.exact.steps import ExactClaim, ProofStep, Slice, TensorOpening
from oracle.exact.tensors import LEAF, TensorTree, leaf_hash
from oracle.merkle import HashTree, keccak
from tests.exact import vectors
from tests.exact.attacks import bent
from tests.exact.cases import Case, random_case

ROUNDS = 12


@pytest.fixture(scope="module")
def network() -> Case:
    return vectors.load("network")[0].case()


@pytest.fixture(scope="module")
def honest(network: Case) -> Committed:
    return network.committed()


def verdict(claim: ExactClaim, step: ProofStep) -> str:
    """Return "consistent", "contradiction", or the part that is refused."""
    try:
        return "consistent" if judge.check(claim, step) else "contradiction"
    except ProofInvalid as error:
        return error.part
    except PositionInvalid:
        return "position"


# ── Nobody honest is convicted ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("opcode", Opcode, ids=lambda opcode: opcode.name)
def test_check__honest_trace_and_any_bent_step__never_a_contradiction(opcode: Opcode) -> None:
    rng = np.random.default_rng(1000 + opcode)
    for _ in range(ROUNDS):
        case = random_case(opcode, rng)
        committed = case.committed()
        claim = proofs.claim(committed)
        step = proofs.step(case.constants, committed, *case.position(rng))
        assert verdict(claim, step) == "consistent"
        for name, other in bent(step, rng):
            if other != step:
                assert verdict(claim, other) != "contradiction", name


@pytest.mark.parametrize("field", ["model_root", "input_root", "output_root", "trace_root"])
def test_check__step_of_another_claim__refused(
    network: Case, honest: Committed, field: str
) -> None:
    claim = replace(proofs.claim(honest), **{field: keccak(b"another request")})
    reads = {"model_root": 0, "input_root": 0, "output_root": 8, "trace_root": 4}

    step = proofs.step(network.constants, honest, reads[field], 0, 0)

    assert verdict(claim, step) in ("operator", "inputs", "result", "operand 0")


def test_check__trace_root_as_tensor_root_with_a_longer_row_path__refused() -> None:
    """The attack that convicted an honest operator of the prototype (shared design, soundness)."""
    b = ProgramBuilder()
    x = b.input(Spec(DType.I8, 4, 128))
    y = b.rescale(x, b.constant(channels(0, 2, 1), DType.CHANNEL), dtype=DType.I8)
    b.max(b.rescale(y, b.constant(channels(0, 3, 1), DType.CHANNEL), dtype=DType.I8))
    program, constants = b.build()
    case = Case(program, constants, (np.arange(512).reshape(4, 128).astype(np.int8),), 2)
    honest = case.committed()
    claim = proofs.claim(honest)
    step = proofs.step(constants, honest, 2, 1, 0)
    (part,), (opening,) = step.slices, step.operands
    longer = Slice(part.data, (*part.path, *opening.path))

    forged = replace(step, operands=(TensorOpening(honest.trace_root),), slices=(longer,))

    assert verdict(claim, forged) == "operand 0"
    forged = replace(step, operands=(TensorOpening(opening.root, opening.path),), slices=(longer,))
    assert verdict(claim, forged) == "slice 0"


def test_check__row_of_another_place__refused(network: Case, honest: Committed) -> None:
    claim = proofs.claim(honest)
    step = proofs.step(network.constants, honest, 1, 2, 3)
    tree = honest.tree(network.program.id_of(0))

    for k, row in ((0, 1), (1, 0)):
        slices = list(step.slices)
        slices[k] = proofs.row_slice(tree, row)
        assert verdict(claim, replace(step, slices=tuple(slices))) == f"slice {k}"


def test_check__row_of_another_tensor__refused(network: Case, honest: Committed) -> None:
    claim = proofs.claim(honest)
    step = proofs.step(network.constants, honest, 5, 1, 1)
    other = honest.tree(network.program.id_of(4))
    forged = TensorOpening(other.root, honest.trace_path(4))

    assert verdict(claim, replace(step, operands=(forged, *step.operands[1:]))) == "operand 0"


def test_check__inner_node_as_leaf__refused() -> None:
    b = ProgramBuilder()
    x = b.input(Spec(DType.I8, 1, 256))
    b.view(x, 1, 256, sizes=(256,), strides=(1,))
    program, constants = b.build()
    honest = Case(program, constants, (np.ones((1, 256), np.int8),), 0).committed()
    tree = honest.tree(0)
    step = proofs.step(constants, honest, 0, 0, 0)
    children = tree.node(1, 0) + tree.node(1, 1)

    for data, path in ((children, ()), (children, step.slices[0].path)):
        forged = replace(step, slices=(Slice(data.ljust(128, b"\0"), path),))
        assert verdict(proofs.claim(honest), forged) == "slice 0"
    assert keccak(children) != leaf_hash(children)


@pytest.mark.parametrize("position", [(9, 0, 0), (1, 5, 0), (1, 0, 5), (1, 2**32, 0)])
def test_check__position_past_the_program__refused(
    network: Case, honest: Committed, position: tuple[int, int, int]
) -> None:
    op, row, col = position
    step = replace(proofs.step(network.constants, honest, 1, 0, 0), op=op, row=row, col=col)

    assert verdict(proofs.claim(honest), step) == "position"
    with pytest.raises(PositionInvalid):
        proofs.step(network.constants, honest, *position)


class Padded(TensorTree):
    """A tree whose leaves carry something behind the row."""

    @property
    def hashes(self) -> HashTree:  # type: ignore[override]
        row = self.stored[0].tobytes().ljust(LEAF, b"\7")
        return HashTree(np.frombuffer(keccak(b"\0" + row), np.uint8).reshape(1, 1, 32))


def test_check__padding_that_carries_values__cannot_be_opened() -> None:
    b = ProgramBuilder()
    b.max(b.input(Spec(DType.I8, 1, 9)))
    program, constants = b.build()
    honest = Case(program, constants, (np.ones((1, 9), np.int8),), 0).committed()
    tree = honest.tree(0)
    assert isinstance(tree, TensorTree)
    liar = Committed(program, honest.tensors, {0: Padded(tree.spec, tree.stored)})

    step = proofs.step(constants, liar, 0, 0, 0)

    assert verdict(proofs.claim(liar), step) == "slice 0"
    carried = Slice(step.slices[0].data.ljust(LEAF, b"\7"), ())
    assert verdict(proofs.claim(liar), replace(step, slices=(carried,))) == "slice 0"


# ── No liar walks ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("opcode", Opcode, ids=lambda opcode: opcode.name)
def test_check__one_wrong_element__contradiction(opcode: Opcode) -> None:
    rng = np.random.default_rng(2000 + opcode)
    for _ in range(ROUNDS):
        case = random_case(opcode, rng)
        tensors = [tensor.copy() for tensor in case.committed().tensors]
        op, row, col = case.position(rng)
        tensors[case.program.id_of(op)][row, col] ^= 1 << int(rng.integers(7))
        liar = Committed(case.program, tensors)

        step = proofs.step(case.constants, liar, op, row, col)

        assert verdict(proofs.claim(liar), step) == "contradiction"


def test_check__one_wrong_byte_in_each_operator_of_a_network__contradiction(network: Case) -> None:
    for op, operator in enumerate(network.program.ops):
        for row, col in ((0, 0), (operator.result.rows - 1, operator.result.cols - 1)):
            tensors = [tensor.copy() for tensor in network.committed().tensors]
            tensors[network.program.id_of(op)][row, col] ^= 1
            liar = Committed(network.program, tensors)

            step = proofs.step(network.constants, liar, op, row, col)

            assert verdict(proofs.claim(liar), step) == "contradiction", operator.opcode


def test_check__other_weights_than_registered__refused(network: Case, honest: Committed) -> None:
    trees = {k: network.constants.tree(k) for k in network.constants}
    spec, stored = trees[0].spec, trees[0].stored.copy()
    stored[:] ^= 1
    forged = proofs.step(Constants({**trees, 0: TensorTree(spec, stored)}), honest, 0, 0, 0)

    assert verdict(proofs.claim(honest), forged) == "slice 1"


def test_check__ignored_bytes_of_a_channel__make_no_difference() -> None:
    outputs = set()
    for ignored in (b"\0\0\0", b"\xff\0\7"):
        raw = channels(5, 3, 1).tobytes()
        assert len(raw) == CHANNEL.itemsize
        stored = np.frombuffer(
            (2**63 + 5).to_bytes(8) + (2**31 + 3).to_bytes(4) + b"\1" + ignored, np.uint8
        )
        b = ProgramBuilder()
        c = b.constant(TensorTree(Spec(DType.CHANNEL, 1, 1), stored.reshape(1, 16)), DType.CHANNEL)
        b.rescale(b.input(Spec(DType.I8, 1, 1)), c, dtype=DType.I8)
        program, constants = b.build(canonical=False)
        committed = Case(program, constants, (np.array([[9]], np.int8),), 0).committed()
        step = proofs.step(constants, committed, 0, 0, 0)
        assert verdict(proofs.claim(committed), step) == "consistent"
        outputs.add((judge.compute(proofs.claim(committed), step), program.model_root))

    assert {stored for stored, _ in outputs} == {128 + 16}
    assert len(outputs) == 2
