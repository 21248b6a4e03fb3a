"""The process that computes for a valuator: torch, IPFS and the queue, but no key and no RPC.

```
  tallystick valuator run   the key    RPC, IPFS, queue; reads the job's folder
  worker --role value       no key     queue, IPFS; writes the job's folder
```
"""

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from oracle.agents.valuation.jobs_folder import Jobs
from oracle.agents.valuation.valuator import Say, Valuator
from oracle.chain.wallet import Wallet
from oracle.config import Settings
from oracle.devnet.supervisor import ProcessSpec
from oracle.queue.broker import CeleryQueue
from oracle.services.network import Network

GRACE = 30.0  # seconds that the worker gets to finish the job it is at


def named(settings: Settings, name: str) -> Settings:
    """Return the settings of the valuator of this name: its queues and its folder."""
    return replace(settings, operator=name)


def worker(settings: Settings) -> ProcessSpec:
    """Return the worker of a valuator.

    Args:
        settings: as `named` returns them.
    """
    environ = {
        "TALLYSTICK_HOME": str(settings.home.resolve()),
        "TALLYSTICK_OPERATOR": settings.operator,
        "TALLYSTICK_IPFS_API": settings.ipfs_api,
        "TALLYSTICK_REDIS_URL": settings.redis_url,
        "TALLYSTICK_FAULT": settings.fault,
        "TALLYSTICK_KEY": "",
        "TALLYSTICK_PASSWORD_FILE": "",
    }
    argv = (sys.executable, "-m", "worker", "--role", "value")
    log: Path = settings.state_dir / "value.log"
    return ProcessSpec(f"{settings.operator}.value", argv, environ, log, grace=GRACE)


def valuator(
    context: Network, wallet: Wallet, settings: Settings, running: ExitStack, say: Say | None = None
) -> Valuator:
    """Open the valuator whose worker listens to the queue; closed with `running`.

    Raises:
        ConfigInvalid: another process uses its folder.
    """
    queue = CeleryQueue(settings.redis_url, settings.operator)
    running.callback(queue.close)
    mine = replace(context, settings=settings)
    made = Valuator(mine, wallet, Jobs.of(settings, queue), settings.state_dir, say)
    return running.enter_context(made)
