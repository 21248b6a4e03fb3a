"""NumPy and Solidity agree on random cases of every operator; nobody honest is ever convicted.

`make soak` runs 20,000 cases of each, `python -m tests.exact_evm.soak` too, and prints counts.
"""

import pytest

from oracle.exact import judge, proofs
from oracle.exact.errors import PositionInvalid, ProofInvalid
from oracle.exact.program import Opcode
from oracle.exact.steps import ExactClaim, ProofStep
from tests.exact.cases import random_case
from tests.exact_evm.attacks import attacked, attacks, verdict
from tests.exact_evm.differential import disagreement, generator, with_fault
from tests.exact_evm.evm import Verifier
from tests.support.effort import ATTACKS, CASES
from tests.support.evm import Reverted

LARGE = -(-CASES // 300)  # with rows of kilobytes


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


@pytest.mark.parametrize("opcode", Opcode, ids=lambda opcode: opcode.name)
def test_check__random_element__consistent_and_one_wrong_byte_inconsistent(
    verifier: Verifier, opcode: Opcode
) -> None:
    rng = generator(7, opcode)
    said = [disagreement(verifier, opcode, rng) for _ in range(CASES)]
    said += [disagreement(verifier, opcode, rng, small=False) for _ in range(LARGE)]
    assert [text for text in said if text] == []


def test_check__malicious_challenger_of_honest_traces__convicts_nobody(verifier: Verifier) -> None:
    verdicts = attacked(verifier, generator(8), ATTACKS)
    assert verdicts["convicted"] == 0
    assert verdicts["refused"] > ATTACKS / 2


def test_check__bent_step__refused_for_the_part_that_the_reference_names(
    verifier: Verifier,
) -> None:
    rng, compared = generator(9), 0
    while compared < ATTACKS / 4:
        for claim, step in attacks(rng):
            assert named(verifier, claim, step) == named(None, claim, step)
            compared += 1


def named(verifier: Verifier | None, claim: ExactClaim, step: ProofStep) -> str:
    """Return the verdict, or the part that is refused, of the contract or of the reference."""
    try:
        check = verifier.check if verifier else judge.check
        return "consistent" if check(claim, step) else "inconsistent"
    except Reverted as error:
        return str(error.arguments[0]) if error.name == "ProofInvalid" else error.name
    except ProofInvalid as error:
        return error.part
    except PositionInvalid:
        return "PositionInvalid"


def test_compute__random_element__is_what_the_reference_computes(verifier: Verifier) -> None:
    rng = generator(10)
    for _ in range(50):
        claim, step = next(attacks(rng))
        assert verifier.compute(claim, step) == judge.compute(claim, step)


def test_verdict__step_of_a_false_trace__convicts(verifier: Verifier) -> None:
    """The attacks' count of convictions can rise: the verdict is not stuck."""
    rng = generator(11)
    case = random_case(Opcode.SUM, rng)
    op, row, col = case.position(rng)
    false = with_fault(case.committed(), case.program.id_of(op), row, col, rng)
    step = proofs.step(case.constants, false, op, row, col)
    assert verdict(verifier, proofs.claim(false), step) == "convicted"
