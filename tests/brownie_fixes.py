"""Mends, at import, what eth-brownie 1.22.2 gets wrong with Anvil 1.7.1 and with immutables.

Imported before the first contract is deployed: by tests/contracts/conftest.py and scripts/brownie.
Goes when Brownie does these two things itself.
"""

from brownie.network import contract as _contract
from brownie.network.rpc import anvil as _anvil

_PLACEHOLDER = "7f" + "0" * 64  # PUSH32 0: what solc leaves where an immutable goes
_compare_exactly = _contract._verify_deployed_code


def _verify_deployed_code(address: str, expected_bytecode: str, language: str) -> bool:
    """Compare deployed code with what was compiled, whatever the immutables hold.

    Brownie compares byte for byte, so a contract with an immutable never matches: it then drops
    the program-counter map, and with it traces, revert lines and coverage.
    """
    if _compare_exactly(address, expected_bytecode, language):
        return True
    if language != "Solidity":
        return False
    actual = _contract.web3.eth.get_code(address).hex().removeprefix("0x")
    expected = expected_bytecode.removeprefix("0x")
    if len(actual) != len(expected):
        return False
    at = expected.find(_PLACEHOLDER)
    while at >= 0:
        end = at + len(_PLACEHOLDER)
        expected = expected[:at] + actual[at:end] + expected[end:]
        at = expected.find(_PLACEHOLDER, end)
    end = -(int(expected[-4:], 16) + 2) * 2  # the metadata is not compared
    return actual[:end] == expected[:end]


def _mine(timestamp: int | None = None) -> None:
    """Mine a block; Brownie sends the bare number where JSON-RPC wants a list."""
    _anvil._request("evm_mine", [] if timestamp is None else [int(timestamp)])


_contract._verify_deployed_code = _verify_deployed_code
_anvil.mine = _mine
