"""The clock of a test's chain: only the test moves it on."""

import time

from oracle.chain.rpc import Node, quantity


def stop(rpc: Node) -> None:
    """Give every block the second after the one before it, however long the test takes for it.

    So a deadline of seconds on the chain is none for a loaded machine.
    """
    rpc.call("anvil_setBlockTimestampInterval", 1)


def pass_time(rpc: Node, seconds: int) -> None:
    """Mine a block that is so many seconds after the last one."""
    _mine(rpc, _last(rpc) + seconds)


def catch_up(rpc: Node) -> None:
    """Mine a block of this second if the last one is older: endpoints read the machine's clock."""
    now = int(time.time())
    if _last(rpc) < now:
        _mine(rpc, now)


def _last(rpc: Node) -> int:
    return quantity(rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"])


def _mine(rpc: Node, at: int) -> None:
    rpc.call("evm_setNextBlockTimestamp", at)
    rpc.call("evm_mine")
