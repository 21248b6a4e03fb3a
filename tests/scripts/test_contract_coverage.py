"""What the coverage of contracts counts, on a contract of a few lines."""

from typing import Any

import compile as solidity
import pyrevm
import pytest
import solcx
from contract_coverage import FIRST, WRAPPER, WRAPPER_TEXT, Condition, Wrapper
from eth_utils import keccak

PATH = "contracts/Till.sol"
TILL = """// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

contract Till {
    error Closed(); // in €: offsets are bytes

    function pay(uint256 amount) external pure returns (uint256 left) {
        assert(amount != 99);
        if (amount == 0 || (amount > 7 && !(amount == 9))) revert Closed();
        left = amount > 3 ? amount : 3;
        assembly {
            if lt(left, 5) { left := 5 }
        }
    }
}
"""
CALLER = "0x" + "11" * 20


def compiled(texts: dict[str, str]) -> dict[str, Any]:
    request = {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in texts.items()},
        "settings": solidity.SETTINGS
        | {"outputSelection": {"*": {"": ["ast"], "*": ["evm.bytecode.object"]}}},
    }
    return solcx.compile_standard(request, solc_binary=solidity.compiler())


@pytest.fixture(scope="module")
def wrapped() -> tuple[list[Condition], bytes]:
    """The contract's conditions, and its bytecode when they are wrapped."""
    conditions: list[Condition] = []
    wrapper = Wrapper(PATH, TILL, conditions)
    wrapper.walk(compiled({PATH: TILL})["sources"][PATH]["ast"])
    output = compiled({PATH: wrapper.wrapped(), WRAPPER: WRAPPER_TEXT})
    return conditions, bytes.fromhex(output["contracts"][PATH]["Till"]["evm"]["bytecode"]["object"])


@pytest.mark.parametrize(
    ("amount", "returned", "ways"),
    [
        (0, None, {"amount == 0": 1}),
        (1, 5, {"amount == 0": 0, "amount > 7": 0, "amount > 3": 0, "lt(left, 5)": 1}),
        (8, None, {"amount == 0": 0, "amount > 7": 1, "amount == 9": 0}),
        (9, 9, {"amount == 0": 0, "amount > 7": 1, "amount == 9": 1, "amount > 3": 1,
                "lt(left, 5)": 0}),
    ],
)  # fmt: skip
def test_wrapped__call__goes_the_ways_that_it_went_and_returns_the_same(
    wrapped: tuple[list[Condition], bytes], amount: int, returned: int | None, ways: dict[str, int]
) -> None:
    conditions, code = wrapped
    evm = pyrevm.EVM(spec_id="PRAGUE")
    till = evm.deploy(CALLER, code)
    data = keccak(text="pay(uint256)")[:4] + amount.to_bytes(32)
    if returned is None:
        with pytest.raises(RuntimeError, match="Revert"):
            evm.message_call(CALLER, till, data, is_static=True)
    else:
        assert int.from_bytes(evm.message_call(CALLER, till, data, is_static=True)) == returned
    found = {int(address, 16) for address in evm.db_accounts}
    assert ways == {
        condition.text: way
        for number, condition in enumerate(conditions)
        for way in (0, 1)
        if FIRST + 2 * number + way in found
    }


def test_walk__conditions__are_named_by_function_and_found_by_line(
    wrapped: tuple[list[Condition], bytes],
) -> None:
    conditions, _ = wrapped
    assert {condition.where for condition in conditions} == {"Till.pay"}
    assert [condition.line for condition in conditions] == [9, 9, 9, 10, 12]
    assert conditions[0].key(1) == "Till.pay: amount == 0 | never true"
