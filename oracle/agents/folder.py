"""The folder of an agent: one process at a time, one account, one store; locks of accounts."""

import fcntl
from pathlib import Path
from typing import IO

from oracle.errors import ConfigInvalid
from oracle.private_files import open_log
from oracle.store.store import Store
from oracle.types import Address

_EARLIER = ("challenger.db", "votes")  # names of what earlier versions promised in


def locked(path: Path, role: str) -> IO[bytes]:
    """Return a file that only this process has locked, for as long as it is open.

    Raises:
        ConfigInvalid: another process has.
    """
    return _lock(path, f"another {role} uses {path.parent}", "choose another --key")


def locked_account(home: Path, account: Address) -> IO[bytes]:
    """Return a lock of what runs in this home and sends with an account: operator or gateway.

    Raises:
        ConfigInvalid: another process has it; two would send with one nonce.
    """
    return _lock(
        home / "locks" / account,
        f"an operator or gateway already runs with {account} in {home}",
        "stop it first (`tallystick status` shows what `up` started), or choose another --key",
    )


def _lock(path: Path, taken: str, todo: str) -> IO[bytes]:
    file = open_log(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigInvalid(taken, hint=f"one process per account: {todo}") from error
    return file


def open_store(folder: Path, identity: str) -> Store:
    """Open the store in a folder, which is one account's on one deployment.

    Raises:
        ConfigInvalid: it is another's, or of an earlier version.
    """
    for name in _EARLIER:
        if (folder / name).exists():
            raise ConfigInvalid(
                f"{folder / name} is of an earlier version and cannot be read",
                hint="end what is open with that version, then move the folder away",
            )
    store = Store.open(f"sqlite:///{folder / 'agent.db'}")
    try:
        with store.begin() as tx:
            tx.bind(identity)
    except ConfigInvalid as error:
        store.close()
        raise ConfigInvalid(
            f"{folder}: {error}",
            hint="run it with the key and on the network that it belongs to, or move it away",
        ) from error
    return store
