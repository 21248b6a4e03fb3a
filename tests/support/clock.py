"""The clock of a test's chain: only the test moves it on."""

from oracle.chain.rpc import Node, quantity


def stop(rpc: Node) -> None:
    """Give every block the second after the one before it, however long the test takes for it.

    So a deadline of seconds on the chain is none for a loaded machine.
    """
    rpc.call("anvil_setBlockTimestampInterval", 1)


def pass_time(rpc: Node, seconds: int) -> None:
    """Mine a block that is so many seconds after the last one."""
    last = quantity(rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"])
    rpc.call("evm_setNextBlockTimestamp", last + seconds)
    rpc.call("evm_mine")
