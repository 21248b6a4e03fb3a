"""What the mutation of contracts changes, on a contract of a few lines."""

from typing import Any

import compile as solidity
import pytest
import solcx
from mutants import Finder, Mutant, sample

PATH = "contracts/Till.sol"
TILL = """// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

contract Till {
    event Paid(uint256 amount); // in €: offsets are bytes
    uint256 public left;

    modifier open() {
        if (left == 0 && msg.value > 7) revert();
        _;
    }

    function pay(uint256 amount) external payable open {
        left -= amount;
        emit Paid(left > 1 ? left : amount);
    }
}
"""


@pytest.fixture(scope="module")
def found() -> list[Mutant]:
    """All mutants of the contract."""
    request = {
        "language": "Solidity",
        "sources": {PATH: {"content": TILL}},
        "settings": {"outputSelection": {"*": {"": ["ast"]}}},
    }
    output: dict[str, Any] = solcx.compile_standard(request, solc_binary=solidity.compiler())
    finder = Finder(PATH, TILL)
    finder.walk(output["sources"][PATH]["ast"])
    return list(finder.found.values())


def changes(found: list[Mutant], where: str) -> set[tuple[str, str]]:
    return {(mutant.old, mutant.new) for mutant in found if mutant.where == where}


def test_walk__a_modifier__every_part_of_its_condition(found: list[Mutant]) -> None:
    condition = "left == 0 && msg.value > 7"
    assert changes(found, "Till.open") == {
        (condition, "false"),
        (condition, "left == 0"),
        (condition, "msg.value > 7"),
        ("&&", "||"),
        ("==", "!="),
        (">", ">="),
        ("0", "1"),
        ("7", "8"),
    }


def test_walk__a_function__statements_arms_and_modifiers(found: list[Mutant]) -> None:
    assert changes(found, "Till.pay") == {
        ("open", ""),
        ("-=", "+="),
        ("left -= amount;", "{}"),
        ("emit Paid(left > 1 ? left : amount);", "{}"),
        ("left : amount", "amount : left"),
        (">", ">="),
        ("1", "2"),
    }


def test_apply__after_a_character_of_three_bytes__changes_that_place_alone(
    found: list[Mutant],
) -> None:
    (mutant,) = [mutant for mutant in found if mutant.old == "-="]
    assert mutant.apply(TILL) == TILL.replace("-=", "+=")


def test_sample__one_line_more_in_the_file__the_same_mutants(found: list[Mutant]) -> None:
    moved = [Mutant(m.path, m.where, m.start + 9, m.end + 9, m.old, m.new, m.around) for m in found]
    assert [m.key for m in sample(moved, 5)] == [m.key for m in sample(found, 5)]
