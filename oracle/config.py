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
from urllib.parse import urlsplit

from oracle import whole_file
from oracle.errors import ConfigInvalid, did_you_mean
from oracle.private_files import make_folder
from oracle.types import Contracts

NETWORK_FILE = "network.json"
PROGRESS_LINE = "progress: "  # begins a line of a module of `worker` that says how far it has come
PROGRESS_CHANNEL = "tallystick.progress"  # on Redis: how far jobs have come, for who listens


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process needs to know about its surroundings.

    Each field but `contracts` is set by the variable `TALLYSTICK_<FIELD>`. Secrets are never
    values: `password_file` names a file.
    """

    home: Path
    """`~/.tallystick` by default: the folder of keys, `network.json` and the operators' folders."""
    rpc_url: str = "http://127.0.0.1:8545"
    """The chain's JSON-RPC. The path may hold a secret, so the URL is never logged."""
    ws_url: str = ""
    """The same node's WebSocket, `ws://` or `wss://`: new blocks are heard of at once. Empty: they
    are found by looking every `poll_interval`."""
    ipfs_api: str = "http://127.0.0.1:5001"
    """Kubo's RPC. `user:password@` and a path prefix are understood."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """The queue: the URL of any broker that Celery speaks."""
    store_url: str = ""
    """`postgresql://user@host/database`, one database per operator. Empty: SQLite in the
    operator's folder, or in the home folder without an operator."""
    books_url: str = ""
    """`postgresql://user@host/database`, one for all endpoints of an operator, which then share
    their channels; the store's database has room for it. Empty: `endpoint.db` in the operator's
    folder, for one endpoint."""
    queue_key_file: str = ""
    """The key that seals an operator's messages, the same for all its processes, mode 0600. Empty:
    `queue.key` in the operator's folder, made when it is missing."""
    operator: str = ""
    """The operator that a process belongs to: prefix of its queues, name of its folder."""
    key: str = ""
    """A keystore's name in `HOME/keys`, or a path to a keystore file."""
    password_file: str = ""
    """A file that holds the keystore's password, mode 0600."""
    operator_address: str = ""
    """The operator's address, for the watcher, which has no key. Empty: the keystore's."""
    finality_depth: int = 0
    """Blocks below the head that count as final. 0 is for Anvil alone."""
    poll_interval: float = 0.25
    """Seconds between two looks at the chain; up to half a second when nothing happens."""
    requeue_after: float = 60.0
    """Seconds without progress until a job is put on the queue again. The time doubles."""
    max_claims: int = 32
    """An operator with so many requests to answer claims no further ones."""
    cache_bytes: int = 20 * 2**30
    """Bound of the weight cache on disk."""
    trace_bytes: int = 2 * 2**30
    """Bound of the traces that the responder keeps on disk."""
    listen: str = ""
    """`host:port` where the responder serves traces. Empty: the registered endpoint when it is on
    loopback, else demands are answered on chain alone."""
    private_endpoints: bool = False
    """Whether operators' announced endpoints may be at private addresses: `true` or `false`. On
    development networks they may."""
    audit_share: float = 0.05
    """Share of a model's exact deliveries that another operator executes again; 0 is none."""
    fault: str = ""
    """Deliberate faults for demonstrations, separated by commas: `output-byte`, `withhold`,
    `false-value`. They cost stake."""
    text_threads: int = 0
    """Threads of a text model's engine. 0: one for each core of this process."""
    text_slots: int = 8
    """Texts that one engine writes at once."""
    text_engine: str = ""
    """URL of an OpenAI-compatible server (vLLM, llama.cpp's) that writes an operator's texts. It
    serves each model under the name of its version. Empty: the llama.cpp in the package."""
    tensorflow_python: str = ""
    """The Python of the environment that has TensorFlow, for owners who publish its models. Empty:
    the one that runs Tallystick."""
    spark: str = ""
    """The folder that `pip install --target` put pyspark into, for owners who publish Spark's
    pipelines. Empty: the pyspark of the Python that runs Tallystick."""
    ipfs_timeout: float = 30.0
    """Seconds until the search for a CID gives up."""
    metrics_port: int = 0
    """Port on 127.0.0.1 where the watcher serves Prometheus metrics; the submitter has the next
    port. 0 is none."""
    remote_control: bool = True
    """Whether workers answer `celery inspect`, `celery control` and Flower: `true` or `false`."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: str = "console"
    """`console`, or `json`: one object a line, with `operator`, `role`, `request_id`."""
    contracts: Contracts | None = None
    """The deployment's addresses, from `network.json`."""

    @classmethod
    def load(
        cls, environ: Mapping[str, str], home: Path | None = None, network: Path | None = None
    ) -> "Settings":
        """Read a network file (`home`'s network.json by default) and the environment.

        Raises:
            ConfigInvalid: a value does not parse, or an unknown TALLYSTICK_ variable is set.
        """
        home = home or Path(environ.get("TALLYSTICK_HOME", "~/.tallystick")).expanduser()
        settings = cls(home=home)
        path = network or home / NETWORK_FILE
        if network or path.exists():
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
                values[name] = _flag(text) if kinds[name] is bool else kinds[name](text)
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

    def queue_key(self) -> Path:
        """Path of the key that seals messages."""
        named = Path(self.queue_key_file).expanduser() if self.queue_key_file else None
        return named or self.state_dir / "queue.key"

    def keystore(self, name: str = "") -> Path:
        """Path of a keystore, `key`'s by default: of this name in home/keys, else the file named.

        A file in the current folder never stands in for a wallet: a path has a separator in it.
        """
        name = name or self.key
        stored = self.home / "keys" / f"{name}.json"
        return Path(name).expanduser() if os.sep in name and not stored.exists() else stored

    @property
    def on_redis(self) -> bool:
        """Whether the queue's broker is a Redis: progress, seals and generations are kept there.

        `unix://` is no URL that Celery takes.
        """
        return self.redis_url.startswith(("redis://", "rediss://"))

    @property
    def shown_redis_url(self) -> str:
        """The queue's URL without its password, for people."""
        parts = urlsplit(self.redis_url)
        hidden = f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}"
        return parts._replace(netloc=hidden).geturl() if parts.password else self.redis_url

    def queue(self, role: str) -> str:
        """Name of the Celery queue for a role (`infer`, `submit`, …) of this operator."""
        return f"{self.operator}.{role}" if self.operator else role


def _flag(text: str) -> bool:
    """Read `true` or `false`, as words or as 1 and 0.

    Raises:
        ValueError: anything else.
    """
    known = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
    if text.lower() not in known:
        raise ValueError("not one of: " + ", ".join(known))
    return known[text.lower()]


def save_network(settings: Settings) -> None:
    """Write what other processes need to find this network, atomically."""
    make_folder(settings.home)
    body = {
        "rpc_url": settings.rpc_url,
        "ws_url": settings.ws_url,
        "ipfs_api": settings.ipfs_api,
        "redis_url": settings.redis_url,
        "finality_depth": settings.finality_depth,
        "poll_interval": settings.poll_interval,
        "contracts": asdict(settings.contracts) if settings.contracts else None,
    }
    whole_file.write(settings.home / NETWORK_FILE, json.dumps(body, indent=2) + "\n")


def _parse_network(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text())
        contracts = body.pop("contracts", None)
        return {**body, "contracts": Contracts(**contracts) if contracts else None}
    except OSError as error:
        raise ConfigInvalid(f"cannot read the network file {path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigInvalid(
            f"{path} is not a network file: {error}", hint="delete it and run `tallystick up`"
        ) from error
