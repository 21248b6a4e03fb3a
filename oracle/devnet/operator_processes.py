"""The processes that make an operator, for a supervisor; each gets only what it may hold.

```
  watcher     no key, no torch   RPC, store, queue
  infer       no key, no RPC     queue, IPFS
  submitter   the key            queue, store, RPC
  responder   no key             queue, IPFS, store; serves traces over HTTP
  endpoint    the key and torch  RPC, IPFS; answers over HTTP what a channel pays
```
Variables that a process must not have are set empty, so that none is inherited from our own.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from oracle.config import Settings
from oracle.devnet.supervisor import ProcessSpec
from oracle.errors import ConfigInvalid
from oracle.services.wallets import WalletInfo, read_password

_LOOPBACK = ("127.0.0.1", "localhost")
GRACE = 30.0  # seconds that a worker gets to finish the answer it is at


def processes(
    settings: Settings,
    wallet: WalletInfo,
    *,
    name: str = "",
    infer_processes: int = 0,
    endpoint: str = "",
) -> tuple[ProcessSpec, ...]:
    """Return an operator's watcher, infer worker, submitter and responder, as they are started.

    Args:
        settings: of the network; `password_file` opens the operator's wallet.
        wallet: the operator's keystore.
        name: of the operator: prefix of its queues, folder of its store, cache and logs; the
            wallet's name when left out.
        infer_processes: children of the infer worker; 0 = what fits the machine.
        endpoint: registered on chain; one on loopback is where the responder listens, unless
            `settings.listen` says otherwise.

    Raises:
        ConfigInvalid: no password file, or one that cannot be read: a process cannot be asked.
    """
    name, folder, public, secret = _surroundings(settings, wallet, name)
    serving = {"TALLYSTICK_LISTEN": settings.listen or loopback(endpoint)}
    infer = ["worker", "--role", "infer"]
    if infer_processes:
        infer += ["--processes", str(infer_processes)]

    def spec(role: str, module: Sequence[str], env: Mapping[str, str]) -> ProcessSpec:
        argv = (sys.executable, "-m", *module)
        return ProcessSpec(f"{name}.{role}", argv, env, folder / f"{role}.log", grace=GRACE)

    return (
        spec("watcher", ["oracle.operator.watch_process"], public),
        spec("infer", infer, public),
        spec("submitter", ["worker", "--role", "submit"], public | secret),
        spec("responder", ["worker", "--role", "respond"], public | serving),
    )


def endpoint_process(
    settings: Settings,
    wallet: WalletInfo,
    models: Sequence[str],
    listen: str,
    *,
    name: str = "",
    hosts: Sequence[str] = (),
    locks: int = 0,
) -> ProcessSpec:
    """Return the process that answers what channels pay. Errors as `processes`.

    Args:
        models: that it sells; () = all for which the operator is authorised, as they come.
        listen: host:port.
        hosts: names under which clients know it.
        locks: to put behind an offer where there is none; 0 = cover none.
    """
    name, folder, public, secret = _surroundings(settings, wallet, name)
    argv = [sys.executable, "-m", "worker", "--role", "endpoint"]
    argv += [f"--model={model}" for model in models] + [f"--host={host}" for host in hosts]
    argv += [f"--locks={locks}"] if locks else []
    env = public | secret | {
        "TALLYSTICK_LISTEN": listen, "TALLYSTICK_BOOKS_URL": settings.books_url,
    }  # fmt: skip
    return ProcessSpec(f"{name}.endpoint", argv, env, folder / "endpoint.log", grace=GRACE)


def _surroundings(
    settings: Settings, wallet: WalletInfo, name: str
) -> tuple[str, Path, dict[str, str], dict[str, str]]:
    """Return an operator's name, its folder, the variables of all its processes, and the key's."""
    if not settings.password_file:
        raise ConfigInvalid(
            "an operator's processes run unattended and need a password file",
            hint="say --password-file FILE or set TALLYSTICK_PASSWORD_FILE",
        )
    read_password(Path(settings.password_file))
    name = name or wallet.name
    public = {
        "TALLYSTICK_HOME": str(settings.home.resolve()),
        "TALLYSTICK_OPERATOR": name,
        "TALLYSTICK_OPERATOR_ADDRESS": wallet.address,
        "TALLYSTICK_RPC_URL": settings.rpc_url,
        "TALLYSTICK_IPFS_API": settings.ipfs_api,
        "TALLYSTICK_REDIS_URL": settings.redis_url,
        "TALLYSTICK_FAULT": settings.fault,
        "TALLYSTICK_BOOKS_URL": "",
        "TALLYSTICK_KEY": "",
        "TALLYSTICK_PASSWORD_FILE": "",
    }
    secret = {
        "TALLYSTICK_KEY": str(wallet.path.resolve()),
        "TALLYSTICK_PASSWORD_FILE": str(Path(settings.password_file).expanduser().resolve()),
    }
    return name, settings.home / "operators" / name, public, secret


def loopback(endpoint: str) -> str:
    """Return host:port of an endpoint on this machine's loopback; "" for any other."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK or not port:
        return ""
    return f"127.0.0.1:{port}"
