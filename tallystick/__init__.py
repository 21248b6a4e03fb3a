"""Ask, sell and check answers of AI models on Ethereum from Python.

    import tallystick

    with tallystick.connect(wallet="requester", password_file="password") as network:
        answer = network.ask("digits-cnn", images, max_fee="0.05")
        print(answer.value, answer.operator, tallystick.dollars(answer.cost))

Importing this package takes milliseconds: what connects is imported by `connect`. docs/python.md
is the guide.
"""

import importlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick import errors
    from tallystick.answer import Answer
    from tallystick.connection import Connection, Model, Passages, dollars

_PLACES = {
    "Answer": "answer",
    "Model": "connection",
    "Connection": "connection",
    "Passages": "connection",
    "dollars": "connection",
}

__all__ = ["Answer", "Connection", "Model", "Passages", "connect", "dollars", "errors"]


def connect(
    network: str | PathLike[str] | None = None,
    *,
    wallet: str = "",
    password_file: str | PathLike[str] = "",
    rpc_url: str = "",
    ipfs_api: str = "",
) -> "Connection":
    """Open a network, and check that the node serves its chain and contracts.

    Args:
        network: a home folder (with `network.json` and `keys/`), or a network file alone; the
            folder `TALLYSTICK_HOME` or `~/.tallystick` by default.
        wallet: name of a keystore in the home folder's `keys/`, or a path to one; without it the
            network can be read, and nothing be sent.
        password_file: file with the keystore's password.
        rpc_url: URL of the chain's JSON-RPC, instead of the network file's.
        ipfs_api: URL of an IPFS node's RPC, instead of the network file's.

    Variables `TALLYSTICK_*` hold as they do for the command line; arguments stand above them.

    Raises:
        ConfigInvalid: no deployment is known, or the node serves another chain.
        NotFound, PasswordWrong: the wallet cannot be opened.
        Unavailable: the node cannot be reached.
    """
    from tallystick.connection import open_network  # noqa: PLC0415 - importing the package does no work

    given = {"key": wallet, "password_file": str(password_file)}
    given |= {"rpc_url": rpc_url, "ipfs_api": ipfs_api}
    return open_network(None if network is None else Path(network), given)


def __getattr__(name: str) -> Any:
    """Import what is asked for at first use."""
    if name == "errors":
        return importlib.import_module("tallystick.errors")
    if name in _PLACES:
        return getattr(importlib.import_module(f"tallystick.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
