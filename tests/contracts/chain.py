"""The chain of the contract tests: Brownie's under `brownie test`, else an EVM in this process.

The same tests run on both. `node` marks those that only a node can run, `life` those that are run
on the node too whenever the suite runs (`brownie test` alone runs all of them).
"""

import sys
from typing import Any

from tests.support.evm import Reverted

brownie = sys.modules.get("brownie")
ON_A_NODE = brownie is not None and bool(brownie.project.get_loaded_projects())

if ON_A_NODE:
    from brownie import chain, web3
    from brownie.exceptions import VirtualMachineError

    def reverts(message: str | None = None) -> Any:
        """Expect a revert, with exactly this text where one is given."""
        return brownie.reverts(message)
else:
    from tests.contracts.in_process import Reverts, chain

    reverts, VirtualMachineError = Reverts, Reverted


def rpc(method: str, *parameters: Any) -> Any:
    """Ask the node for what Brownie has no word for: only in tests marked `node`."""
    reply = web3.provider.make_request(method, list(parameters))
    assert "error" not in reply, reply
    return reply.get("result")


def now() -> int:
    """Return the time of the last block."""
    return chain[-1].timestamp


def at(timestamp: int) -> None:
    """Give the next transaction's block exactly this time."""
    if ON_A_NODE:
        rpc("evm_setNextBlockTimestamp", timestamp)
    else:
        chain.next_time = timestamp


def fund(account: Any, wei: int) -> None:
    """Let an account have at least so much."""
    if ON_A_NODE:
        rpc("anvil_setBalance", account.address, hex(wei))
    assert account.balance() >= wei
