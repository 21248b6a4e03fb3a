"""Settings: loaded once, explicitly, at the edge of a process; then passed in.

Precedence, lowest first: defaults, `network.json` in the home folder (written by `tallystick up`
and by deployment), environment variables `TALLYSTICK_*`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from oracle.errors import ConfigInvalid, did_you_mean
from oracle.types import Contracts

NETWORK_FILE = "network.json"
PROGRESS_CHANNEL = "tallystick.progress"  # on Redis: how far jobs have come, for who listens


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process needs to know about its surroundings.

    Each field but `contracts` is set by the variable `TALLYSTICK_<FIELD>`. Secrets are never
    values: `password_file` names a file.
    """

    home: Path
    rpc_url: str = "http://127.0.0.1:8545"
    ipfs_api: str = "http://127.0.0.1:5001"
    redis_url: str = "redis://127.0.0.1:6379/0"
    store_url: str = ""  # "" = SQLite in the operator's folder (or in home)
    operator: str = ""  # name of the operator this process belongs to; prefixes its queues
    key: str = ""  # name of a keystore in home/keys, or a path to one
    password_file: str = ""  # file that holds the keystore's password
    operator_address: str = ""  # "" = the one that the keystore names; the watcher has no key
    finality_depth: int = 0  # blocks below the head that count as final; 0 on Anvil
    poll_interval: float = 0.25  # seconds between two looks at the chain
    requeue_after: float = 60.0  # seconds without progress until a job is put on the queue again
    max_claims: int = 32  # an operator with so many requests to answer claims no others'
    cache_bytes: int = 20 * 2**30  # bound of the weight cache on disk
    trace_bytes: int = 2 * 2**30  # bound of the traces on disk that disputes may ask for
    listen: str = ""  # host:port where the responder serves traces; "" = on chain alone
    audit_share: float = 0.02  # of deliveries that are re-executed by another operator; 0 = none
    fault: str = ""  # faults on purpose, for demonstrations (worker/faults.py); "" = none
    ipfs_timeout: float = 30.0  # seconds until an unresolved CID gives up
    metrics_port: int = 0  # of the watcher on loopback, the submitter has the next; 0 = none
    log_level: str = "info"
    log_format: str = "console"  # console | json
    contracts: Contracts | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str], home: Path | None = None) -> "Settings":
        """Read network.json and the environment.

        Raises:
            ConfigInvalid: a value does not parse, or an unknown TALLYSTICK_ variable is set.
        """
        home = home or Path(environ.get("TALLYSTICK_HOME", "~/.tallystick")).expanduser()
        settings = cls(home=home)
        if (path := home / NETWORK_FILE).exists():
            settings = replace(settings, **_parse_network(path))
        kinds: dict[str, Any] = {
            f.name: f.type for f in fields(cls) if f.name not in ("home", "contracts")
        }
        known = [f"TALLYSTICK_{name.upper()}" for name in kinds]
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            name = variable.removeprefix("TALLYSTICK_").lower()
            if not variable.startswith("TALLYSTICK_") or name == "home":
                continue
            if name not in kinds:
                raise ConfigInvalid(
                    f"{variable} is not a setting",
                    hint=did_you_mean(variable, known) + f"known: {', '.join(known)}",
                )
            try:
                values[name] = kinds[name](text)
            except ValueError as error:
                raise ConfigInvalid(f"{variable}={text!r}: {error}") from error
        return replace(settings, **values)

    @property
    def deployed(self) -> Contracts:
        """The contracts, or a ConfigInvalid that says how to get some."""
        if self.contracts is None:
            raise ConfigInvalid(
                f"no contracts known in {self.home}",
                hint="start a development network with `tallystick up`, or set TALLYSTICK_HOME",
            )
        return self.contracts

    @property
    def state_dir(self) -> Path:
        """Folder of this operator's store, cache and logs (or of the home without an operator)."""
        return self.home / "operators" / self.operator if self.operator else self.home

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.store_url or f"sqlite:///{self.state_dir / 'store.db'}"

    def keystore(self, name: str = "") -> Path:
        """Path of a keystore, `key`'s by default: of this name in home/keys, else the file named.

        A file in the current folder never stands in for a wallet: a path has a separator in it.
        """
        name = name or self.key
        stored = self.home / "keys" / f"{name}.json"
        return Path(name).expanduser() if os.sep in name and not stored.exists() else stored

    def queue(self, role: str) -> str:
        """Name of the Celery queue for a role (`infer`, `submit`, …) of this operator."""
        return f"{self.operator}.{role}" if self.operator else role


def save_network(settings: Settings) -> None:
    """Write what other processes need to find this network, atomically."""
    settings.home.mkdir(parents=True, exist_ok=True)
    body = {
        "rpc_url": settings.rpc_url,
        "ipfs_api": settings.ipfs_api,
        "redis_url": settings.redis_url,
        "finality_depth": settings.finality_depth,
        "poll_interval": settings.poll_interval,
        "contracts": asdict(settings.contracts) if settings.contracts else None,
    }
    temporary = settings.home / (NETWORK_FILE + ".tmp")
    temporary.write_text(json.dumps(body, indent=2) + "\n")
    temporary.replace(settings.home / NETWORK_FILE)


def _parse_network(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text())
        contracts = body.pop("contracts", None)
        return {**body, "contracts": Contracts(**contracts) if contracts else None}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigInvalid(
            f"{path} is not a network file: {error}", hint="delete it and run `tallystick up`"
        ) from error
