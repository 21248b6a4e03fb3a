"""StepVerifier.check and compute: one element of one operator, judged from its proof alone."""

from dataclasses import is_dataclass, replace

import pytest
from eth_abi import decode

from oracle.chain.codec import plain
from oracle.exact import proofs
from oracle.exact.commitments import Committed
from oracle.exact.ops import ABSENT
from oracle.exact.steps import ExactClaim, Slice, TensorOpening
from oracle.exact.tensors import TensorTree
from tests.contracts.market import refuses
from tests.exact import vectors
from tests.vectors.exact.make import step_type

GATHER, QK, SOFTMAX, COLUMNS, PV, ADD, LAYERNORM, TURNED, MEAN = range(9)  # of the network


@pytest.fixture(scope="module")
def verifier(StepVerifier, deployer):
    return StepVerifier.deploy({"from": deployer})


@pytest.fixture(scope="module")
def network():
    return vectors.load("network")[0].case()


@pytest.fixture(scope="module")
def honest(network):
    return network.committed()


@pytest.fixture(scope="module")
def claim(honest):
    return proofs.claim(honest)


@pytest.fixture(scope="module")
def step(network, honest):
    """Return a function that proves an element of the honest trace."""
    return lambda op, row=0, col=0: proofs.step(network.constants, honest, op, row, col)


@pytest.fixture(scope="module")
def refuse(verifier):
    """Return a function that expects a step to be refused for one of its parts."""

    def expect(claim, step, part):
        for function in (verifier.check, verifier.compute):
            if function is verifier.compute and part in ("result", "element"):
                continue  # which it does not look at
            with refuses("ProofInvalid", part):
                function(abi(claim), abi(step))

    return expect


def abi(record):
    return plain(record) if is_dataclass(record) else _claim(record)


def _claim(claim):
    return claim.model_root, claim.input_root, claim.output_root, claim.trace_root


def faulty(honest: Committed, op: int, at: int) -> Committed:
    """Return the trace with one wrong byte in what an operator wrote."""
    tree = honest.tree(honest.program.id_of(op))
    stored = tree.stored.copy()
    stored.flat[at] ^= 1
    tree = TensorTree(tree.spec, stored)
    return Committed(honest.program, honest.tensors, {honest.program.id_of(op): tree})


# ── Second preimages and positions ──────────────────────────────────────────────────────────────


def test_check__trace_root_as_tensor_root_with_an_empty_path__refused(refuse, claim, step):
    given = step(QK)
    trace = TensorOpening(claim.trace_root)
    opened = Slice(given.slices[0].data, (*given.slices[0].path, *given.operands[0].path))
    bent = replace(
        given,
        operands=(trace, *given.operands[1:]),
        slices=(opened, *given.slices[1:]),
    )
    refuse(claim, bent, "operand 0")


LONGER, SHORTER = (lambda path: (*path, bytes(32))), (lambda path: path[:-1])
PARTS = ("operator", "operand 0", "slice 0", "result", "element")


@pytest.mark.parametrize(
    ("part", "change"),
    [*((part, LONGER) for part in (*PARTS, "slice 2")), *((part, SHORTER) for part in PARTS)],
)
def test_check__path_of_another_length__refused(refuse, claim, step, part, change):
    given = step(ADD)
    name, _, k = part.partition(" ")
    if name == "operator":
        bent = replace(given, operator_path=change(given.operator_path))
    elif name in ("result", "element"):
        old = getattr(given, name)
        bent = replace(given, **{name: replace(old, path=change(old.path))})
    else:
        old = list(getattr(given, name + "s"))
        old[int(k)] = replace(old[int(k)], path=change(old[int(k)].path))
        bent = replace(given, **{name + "s": tuple(old)})
    assert bent != given
    refuse(claim, bent, part)


@pytest.mark.parametrize(
    "opening", [TensorOpening(bytes(32), (bytes(32),)), TensorOpening(b"\1" * 32)]
)
def test_check__something_for_an_operand_that_is_absent__refused(refuse, opening):
    cases = [vector.case() for vector in vectors.load("softmax")]
    unmasked = next(case for case in cases if case.program.ops[0].operands[1] == ABSENT)  # no mask
    committed = unmasked.committed()
    given = proofs.step(unmasked.constants, committed, 0, 0, 0)
    operands = (given.operands[0], opening, given.operands[2])
    refuse(proofs.claim(committed), replace(given, operands=operands), "operand 1")


def test_check__last_result_that_was_not_delivered__refused(refuse, claim, step):
    given = step(MEAN)
    assert given.result.path == ()
    refuse(claim, replace(given, result=replace(given.result, root=bytes(32))), "result")


def test_check__inner_node_as_a_leaf__refused(refuse, claim, step, honest):
    given = step(ADD)
    tree = honest.tree(honest.program.id_of(ADD))
    two = tree.node(tree.depth, 0) + tree.node(tree.depth, 1)  # 64 bytes, hashed without a tag
    refuse(claim, replace(given, element=Slice(two, tree.path(tree.depth - 1, 0))), "element")


def test_check__leaf_as_an_inner_node__refused(refuse, claim, step):
    given = step(ADD)
    data, path = given.element.data, given.element.path
    refuse(claim, replace(given, element=Slice(data, (data[:32], *path))), "element")


def test_check__row_of_another_tensor__refused(refuse, claim, step):
    given, other = step(QK), step(PV)
    refuse(claim, replace(given, slices=(other.slices[0], *given.slices[1:])), "slice 0")


def test_check__operand_of_another_operator__refused(refuse, claim, step):
    given, other = step(QK), step(PV)
    bent = replace(given, operands=(other.operands[0], *given.operands[1:]))
    refuse(claim, bent, "operand 0")


def test_check__operands_swapped__refused(refuse, claim, step):
    given = step(PV)
    a, b, c = given.operands
    refuse(claim, replace(given, operands=(b, a, c)), "operand 0")


def test_check__slices_swapped__refused(refuse, claim, step):
    given = step(PV)
    a, b, c = given.slices
    refuse(claim, replace(given, slices=(b, a, c)), "slice 0")


def test_check__row_beside_the_right_one__refused(refuse, claim, step):
    refuse(claim, replace(step(QK, 1, 2), slices=step(QK, 0, 2).slices), "slice 0")
    refuse(claim, replace(step(QK, 1, 2), slices=step(QK, 1, 1).slices), "slice 1")


def test_check__result_of_another_operator__refused(refuse, claim, step):
    refuse(claim, replace(step(ADD), result=step(QK).result), "result")


def test_check__element_of_another_row__refused(refuse, claim, step):
    refuse(claim, replace(step(ADD, 1), element=step(ADD, 2).element), "element")


@pytest.mark.parametrize("position", [(MEAN + 1, 0, 0), (QK, 5, 0), (QK, 0, 5), (2**255, 0, 0)])
def test_check__index_past_the_shape__reverts(verifier, claim, step, position):
    op, row, col = position
    bent = replace(step(QK if op == QK else MEAN), op=op, row=row, col=col)
    for function in (verifier.check, verifier.compute):
        with refuses("PositionInvalid", *position):
            function(abi(claim), abi(bent))


# ── Bytes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", ["slice 0", "slice 2", "element"])
@pytest.mark.parametrize("tail", [b"\0", b"\1"])
def test_check__padding_brought_along__refused(refuse, claim, step, part, tail):
    given = step(QK)
    name, _, k = part.partition(" ")
    if name == "element":
        bent = replace(given, element=replace(given.element, data=given.element.data + tail))
    else:
        slices = list(given.slices)
        slices[int(k)] = replace(slices[int(k)], data=slices[int(k)].data.ljust(128, tail))
        bent = replace(given, slices=tuple(slices))
    refuse(claim, bent, part)


def test_check__one_other_byte_of_an_operand__refused(refuse, claim, step):
    given = step(QK)
    data = bytearray(given.slices[0].data)
    data[0] ^= 1
    slices = (replace(given.slices[0], data=bytes(data)), *given.slices[1:])
    refuse(claim, replace(given, slices=slices), "slice 0")


# ── Lists ───────────────────────────────────────────────────────────────────────────────────────


def test_check__more_or_fewer_slices__refused(refuse, claim, step):
    given = step(QK)
    refuse(claim, replace(given, slices=given.slices[:-1]), "slices")
    refuse(claim, replace(given, slices=(*given.slices, given.slices[-1])), "slices")


def test_check__more_or_fewer_operands__refused(refuse, claim, step):
    given = step(QK)
    refuse(claim, replace(given, operands=given.operands[:-1]), "operands")
    refuse(claim, replace(given, operands=(*given.operands, given.operands[-1])), "operands")


def test_check__input_leaves_where_none_is_read__refused(refuse, claim, step):
    leaves = step(GATHER).input_leaves
    refuse(claim, replace(step(QK), input_leaves=leaves), "inputs")


def test_check__input_leaves_bent__refused(refuse, claim, step):
    given = step(GATHER)
    first, second = given.input_leaves
    for leaves in ((), (first,), (second, first), (first, second, second)):
        refuse(claim, replace(given, input_leaves=leaves), "inputs")


def test_check__constant_with_a_path__refused(refuse, claim, step):
    given = step(QK)
    a, b, c = given.operands
    refuse(claim, replace(given, operands=(a, b, replace(c, path=(bytes(32),)))), "operand 2")


# ── The program ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("word", range(9))
def test_check__another_word_of_the_operator__refused(refuse, claim, step, word):
    given = step(QK)
    words = list(given.operator)
    words[word] ^= 1
    refuse(claim, replace(given, operator=tuple(words)), "operator")


def test_check__operator_of_the_program_at_another_place__refused(refuse, claim, step):
    given, other = step(COLUMNS), step(TURNED)
    bent = replace(given, operator=other.operator, operator_path=other.operator_path)
    refuse(claim, bent, "operator")


def test_check__preamble_bent__refused(refuse, claim, step):
    given = step(QK)
    header, first, second = given.preamble
    for preamble, part in (
        ((), "preamble"),
        ((header, first), "preamble"),
        ((header, first, second, 0), "preamble"),
        ((header, second, first), "operator"),
        ((header, first, second ^ 1), "operator"),
        ((header + 1, first, second), "operator"),
        ((header ^ 1 << 24, first, second), "operator"),
    ):
        refuse(claim, replace(given, preamble=preamble), part)


# ── The claim ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "op", "part"),
    [
        ("model_root", QK, "operator"),
        ("input_root", GATHER, "inputs"),
        ("trace_root", QK, "operand 0"),
        ("trace_root", GATHER, "result"),
        ("output_root", MEAN, "result"),
    ],
)
def test_check__of_another_request_or_model__refused(refuse, claim, step, field, op, part):
    refuse(replace(claim, **{field: b"\7" * 32}), step(op), part)


def test_check__no_trace_on_chain__refused(refuse, claim, step):
    refuse(replace(claim, trace_root=bytes(32)), step(QK), "operand 0")


# ── Verdicts ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("op", range(9))
def test_check__one_wrong_byte_in_an_operators_tensor__inconsistent(verifier, network, honest, op):
    false = faulty(honest, op, 0)
    given = proofs.step(network.constants, false, op, 0, 0)
    size = honest.program.ops[op].result.size
    right = honest.tree(honest.program.id_of(op)).leaf(0, 0)[:size]
    claim = _claim(proofs.claim(false))
    assert not verifier.check(claim, plain(given))
    assert verifier.compute(claim, plain(given)) == int.from_bytes(right)


@pytest.mark.life
@pytest.mark.parametrize("name", vectors.NAMES)
def test_check__golden_step__consistent_and_computed(verifier, name):
    for vector in vectors.load(name):
        claim = ExactClaim(
            vector.model_root, vector.input_root, vector.output_root, vector.trace_root
        )
        for proven in vector.steps:
            (given,) = decode([step_type()], proven.abi)
            stored = verifier.compute(_claim(claim), given)
            assert stored == int.from_bytes(proven.stored), vector.name
            assert verifier.check(_claim(claim), given), vector.name
