"""Mends, at import, what eth-brownie 1.22.2 gets wrong with Anvil 1.7.1, immutables and xdist.

Imported before the first contract is deployed: by tests/contracts/conftest.py and scripts/brownie.
Goes when Brownie does these things itself.
"""

import os
import socket
import time
from typing import Any

from brownie._config import CONFIG
from brownie.network import account as _account
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


def _wait_for_receipt(transact: Any) -> Any:
    """Hand a transaction back only when its receipt can be read.

    Anvil counts a mined transaction a moment before it shows the receipt. Under load Brownie looks
    in between: it then sleeps for a second, or takes the transaction for dropped.
    """

    def _transact(self: Any, tx: dict, allow_revert: bool) -> Any:
        txid = transact(self, tx, allow_revert)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            reply = _contract.web3.provider.make_request(
                "eth_getTransactionReceipt", [txid.to_0x_hex()]
            )
            if reply.get("result"):
                break
            time.sleep(0.005)
        return txid

    return _transact


def _take_a_port() -> None:
    """Give this process of pytest-xdist an Anvil of its own.

    Brownie counts up from 8545 and joins, and at the end stops, whatever answers there.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        CONFIG.networks["development"]["cmd_settings"]["port"] = probe.getsockname()[1]


if "PYTEST_XDIST_WORKER" in os.environ:  # else scripts/brownie has chosen one
    _take_a_port()
_account.Account._transact = _wait_for_receipt(_account.Account._transact)
_account.LocalAccount._transact = _wait_for_receipt(_account.LocalAccount._transact)
_contract._verify_deployed_code = _verify_deployed_code
_anvil.mine = _mine
