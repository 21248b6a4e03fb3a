"""ProgramRegistry.registerProgram: which programs are valid, and the root of those that are."""

import pytest

from oracle.exact.builder import ProgramBuilder, Ref
from oracle.exact.dtypes import DType, Spec
from tests.contracts.market import EXACT, ZERO, ZERO32, publication, refuses
from tests.exact import vectors
from tests.vectors.exact.invalid import limits

ERRORS = {"header": "HeaderInvalid", "length": "ProgramLengthInvalid", "input 1": "InputInvalid"}


@pytest.fixture(scope="module")
def programs(ProgramRegistry, deployer):
    return ProgramRegistry.deploy({"from": deployer})


def words(data: bytes) -> list[int]:
    assert len(data) % 32 == 0
    return [int.from_bytes(data[at : at + 32]) for at in range(0, len(data), 32)]


def arguments(fault: vectors.InvalidProgram) -> tuple:
    """Return what the typed error says of a fault."""
    program = words(fault.program)
    if fault.op is not None:
        return fault.op, fault.part
    match fault.part:
        case "header":
            return (program[0],)
        case "length":
            return len(program), 1 + (program[0] >> 16 & 0xFF) + 9 * (program[0] & 0xFFFF)
        case _:
            return 1, program[2]


@pytest.mark.parametrize("fault", vectors.invalid(), ids=lambda fault: fault.name)
def test_register_program__one_fault__names_it(programs, bob, fault):
    error = "OperatorInvalid" if fault.op is not None else ERRORS[fault.part]
    with refuses(error, *arguments(fault)):
        programs.registerProgram.call(words(fault.program), {"from": bob})


def test_register_program__nothing__reverts(programs, bob):
    with refuses("ProgramLengthInvalid", 0, 1):
        programs.registerProgram([], {"from": bob})


def test_register_program__twice__reverts(programs, alice, bob):
    (vector,) = vectors.load("network")
    programs.registerProgram(words(vector.program), {"from": alice})
    with refuses("ProgramAlreadyRegistered", "0x" + vector.model_root.hex()):
        programs.registerProgram(words(vector.program), {"from": bob})


@pytest.mark.parametrize("name", vectors.NAMES)
def test_register_program__golden_program__has_its_root(programs, bob, name):
    for vector in vectors.load(name):
        root = programs.registerProgram.call(words(vector.program), {"from": bob})
        assert bytes(root) == vector.model_root, vector.name


def test_register_program__at_a_limit__accepted(programs, bob):
    for _, data, _ in limits(above=False):
        assert programs.registerProgram.call(words(data), {"from": bob})


@pytest.mark.life
def test_register_program__by_anyone__stored_and_logged(programs, bob):
    (vector,) = vectors.load("network")
    assert not programs.isProgram(vector.model_root)
    tx = programs.registerProgram(words(vector.program), {"from": bob})
    assert programs.isProgram(vector.model_root)
    event = tx.events["ProgramRegistered"]
    assert bytes(event["modelRoot"]) == vector.model_root
    assert event["registrant"] == bob
    assert (event["operators"], event["inputs"]) == (9, 2)


def test_register_program__other_weights__have_another_root(programs, bob):
    (vector,) = vectors.load("network")
    changed = words(vector.program)
    changed[1 + 2 + 6] ^= 1  # the root of the first operator's table
    root = programs.registerProgram.call(changed, {"from": bob})
    assert bytes(root) != vector.model_root


@pytest.mark.life
def test_model_registry__exact_version__takes_what_was_registered(
    ModelRegistry, programs, deployer, bob
):
    (vector,) = vectors.load("network")
    registry = ModelRegistry.deploy(programs, ZERO, 10, 7 * 86_400, 0, 0, ZERO, {"from": deployer})
    registry.registerModel("network", 0, {"from": bob})
    version = publication(assurance=EXACT, modelRoot="0x" + vector.model_root.hex())
    with refuses("ProgramUnknown", "0x" + vector.model_root.hex()):
        registry.publishVersion(1, ZERO32, version, {"from": bob})
    programs.registerProgram(words(vector.program), {"from": bob})
    registry.publishVersion(1, ZERO32, version, {"from": bob})


def test_register_program__operator_twice__writes_two_tensors(programs, bob):
    """No word names what an operator writes: its number does, so nothing is written twice."""
    b = ProgramBuilder()
    x = b.input(Spec(DType.I8, 2, 4))
    for _ in range(2):
        b.sum(x, cols=2)
    b.concat(*[Ref("op", number, Spec(DType.I32, 1, 2)) for number in (0, 1)])
    program, _ = b.build()
    assert program.ops[0].words() == program.ops[1].words()
    assert [program.id_of(op) for op in range(3)] == [1, 2, 3]
    root = programs.registerProgram.call(words(program.encode()), {"from": bob})
    assert bytes(root) == program.model_root
