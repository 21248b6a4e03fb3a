"""`Program.parse` and `registerProgram` find the same programs valid, and the same rule broken."""

import pytest

from oracle.exact.errors import ProgramInvalid
from oracle.exact.ops import OPERATOR_WORDS
from oracle.exact.program import Opcode, Program
from tests.exact import vectors
from tests.exact.cases import Rng, random_case
from tests.exact_evm.differential import generator
from tests.exact_evm.evm import Registry
from tests.support.evm import Reverted

MUTANTS = 1_500
FIELDS = ((0, 32), (32, 32), (64, 8), (72, 8), (80, 8), (80, 16))  # of spec, head and operand


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@pytest.mark.parametrize("opcode", Opcode, ids=lambda opcode: opcode.name)
def test_register__random_program__has_the_references_root(
    registry: Registry, opcode: Opcode
) -> None:
    rng = generator(1, opcode)
    for _ in range(20):
        program = random_case(opcode, rng).program
        assert registry.dry_run(words_of(program.encode())) == program.model_root


def test_register__one_word_changed__same_rule_broken(registry: Registry) -> None:
    rng, invalid = generator(2), 0
    for _ in range(MUTANTS):
        words = mutant(
            words_of(random_case(Opcode(int(rng.integers(1, 16))), rng).program.encode()), rng
        )
        expected = reference(words)
        assert contract(registry, words) == expected, [hex(word) for word in words]
        invalid += expected != "valid"
    assert 0 < MUTANTS - invalid < invalid


def test_register__network_with_every_bit_flipped__same_verdict(registry: Registry) -> None:
    """Of each word the bits at the ends of its fields, and the highest."""
    words = words_of(vectors.network())
    for place in range(len(words)):
        for bit in (0, 1, 31, 32, 63, 64, 71, 72, 79, 80, 87, 88, 95, 96, 255):
            flipped = [*words[:place], words[place] ^ 1 << bit, *words[place + 1 :]]
            assert contract(registry, flipped) == reference(flipped), (place, bit)


def words_of(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 32]) for at in range(0, len(data), 32)]


def mutant(words: list[int], rng: Rng) -> list[int]:
    """Return a program with one field of one word set to another number."""
    inputs = words[0] >> 16 & 0xFF
    place = int(rng.integers(1, len(words)))
    kind = (place - 1 - inputs) % OPERATOR_WORDS
    if place > inputs and kind in (1, 2):
        low, width = 32 * int(rng.integers(8)), 32
    else:
        low, width = FIELDS[int(rng.integers(len(FIELDS)))]
    old = words[place] >> low & (1 << width) - 1
    values = [0, 1, 2, 3, 5, old + 1, old - 1, 2 * old, (1 << width) - 1, int(rng.integers(256))]
    new = values[int(rng.integers(len(values)))] & (1 << width) - 1
    changed = words[place] & ~(((1 << width) - 1) << low) | new << low
    return [*words[:place], changed, *words[place + 1 :]]


def reference(words: list[int]) -> str:
    """Return "valid", or the operator and the part of it that is invalid."""
    try:
        Program.parse(b"".join(word.to_bytes(32) for word in words))
    except ProgramInvalid as error:
        return f"{error.op} {error.part}"
    return "valid"


def contract(registry: Registry, words: list[int]) -> str:
    try:
        registry.dry_run(words)
    except Reverted as error:
        match error.name:
            case "OperatorInvalid":
                return f"{error.arguments[0]} {error.arguments[1]}"
            case "InputInvalid":
                return f"None input {error.arguments[0]}"
            case "HeaderInvalid":
                return "None header"
            case "ProgramLengthInvalid":
                return "None length"
        raise
    return "valid"
