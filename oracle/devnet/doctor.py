"""Looks at every part that this machine needs and says what to do about each that is not well.

Each check is a function of the settings that returns what it found or raises one of our errors;
`examine` turns both into findings. A check that needs a part whose own check failed is not run.
"""

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from oracle.chain.rpc import Rpc, quantity
from oracle.config import Settings
from oracle.errors import ConfigInvalid, NotFound, TallystickError, Unavailable
from oracle.ipfs.client import IpfsClient
from oracle.services import operators, wallets
from oracle.services.network import Network
from oracle.store.store import Store

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
DISK_NEEDED = 2 * 2**30  # bytes: a model or two beside the store
LAG_ALLOWED = 60.0  # seconds that the finalized head may be old, and the store behind it
_TIMEOUT = 10.0  # seconds per server
_GPU_TIMEOUT = 60.0  # seconds: torch is imported in a process of its own
_DESCRIBE_GPU = "from worker import device; print(device.describe())"


class Note(str):
    """What a check found, when it is not quite well but nothing fails."""

    hint = ""

    def __new__(cls, text: str, hint: str) -> "Note":
        note = super().__new__(cls, text)
        note.hint = hint
        return note


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How one part is, and what to do when it is not well."""

    part: str
    state: str  # ok | warning | failed | skipped
    found: str
    todo: str = ""


class Check(NamedTuple):
    """One look at one part; `after` names the parts without which it makes no sense."""

    part: str
    look: Callable[[Settings], str]
    after: Sequence[str] = ()


def examine(settings: Settings, checks: Sequence[Check] = ()) -> Iterator[Diagnosis]:
    """Run the checks in order, yielding each finding as it comes."""
    broken: set[str] = set()
    for check in checks or CHECKS:
        missing = [part for part in check.after if part in broken]
        if missing:
            broken.add(check.part)
            yield Diagnosis(check.part, SKIPPED, f"needs {', '.join(missing)}")
            continue
        try:
            found = check.look(settings)
        except TallystickError as error:
            broken.add(check.part)
            yield Diagnosis(check.part, FAILED, str(error), error.hint)
        else:
            noted = isinstance(found, Note)
            hint = found.hint if isinstance(found, Note) else ""
            yield Diagnosis(check.part, WARNING if noted else OK, str(found), hint)


def check_rpc(settings: Settings) -> str:
    """Ask the node for its name and head."""
    rpc = _rpc(settings)
    client = str(rpc.call("web3_clientVersion"))
    return f"{client} at block {quantity(rpc.call('eth_blockNumber'))}, {rpc.name}"


def check_chain(settings: Settings) -> str:
    """Compare the node's chain id with the one that the contracts are on."""
    rpc = _rpc(settings)
    rpc.expect_chain(settings.deployed.chain_id)
    return f"chain id {settings.deployed.chain_id}"


def check_contracts(settings: Settings) -> str:
    """Look for code at each contract's address."""
    contracts, rpc = settings.deployed, _rpc(settings)
    addresses = {
        f.name: getattr(contracts, f.name)
        for f in fields(contracts)
        if f.name not in ("chain_id", "deployed_at")
    }
    codes = rpc.batch([("eth_getCode", address, "latest") for address in addresses.values()])
    empty = [n for n, code in zip(addresses, codes, strict=True) if code in ("0x", None)]
    if empty:
        raise ConfigInvalid(
            f"no code at {', '.join(f'{name} {addresses[name]}' for name in empty)}",
            hint="the chain was reset or is another one: run `tallystick up` again, "
            "or take network.json of the right deployment",
        )
    return f"{len(addresses)} with code, deployed in block {contracts.deployed_at}"


def check_finality(settings: Settings) -> str:
    """See how old the newest final block is: nothing is acted on before it is final."""
    rpc = _rpc(settings)
    head = quantity(rpc.call("eth_blockNumber"))
    final = max(head - settings.finality_depth, 0)
    block = rpc.call("eth_getBlockByNumber", hex(final), False)
    age = time.time() - quantity(block["timestamp"])
    text = f"final block {final} ({settings.finality_depth} below the head) is {age:.0f} s old"
    if age > LAG_ALLOWED + 15 * settings.finality_depth:
        return Note(text, "the node is behind or its chain stands still; requests wait meanwhile")
    return text


def check_ipfs(settings: Settings) -> str:
    """Put a few bytes on the node and take them back."""
    client = IpfsClient(settings.ipfs_api, timeout=_TIMEOUT, attempts=1)
    agent = client.version()
    published = client.publish_bytes(b"tallystick doctor\n")
    client.fetch_bytes(published.cid, published.size)
    return f"{agent} at {settings.ipfs_api}, a block went in and came back"


def check_redis(settings: Settings) -> str:
    """Ask the queue's server for its version."""
    if not settings.on_redis:
        return Note(f"{settings.redis_url.partition(':')[0]} broker", "only a Redis is looked at")
    try:
        with Redis.from_url(
            settings.redis_url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
        ) as redis:
            version = redis.info("server")["redis_version"]
    except (RedisError, ValueError, LookupError) as error:
        raise Unavailable(
            f"no Redis answers: {error}",
            hint="`tallystick up` starts one; or name yours in TALLYSTICK_REDIS_URL",
        ) from error
    return f"Redis {version}"


def check_store(settings: Settings) -> str:
    """Look at the store that is named, else at those of the operators that have run here."""
    if settings.store_url or settings.operator:
        return _store(settings)
    folder = settings.home / "operators"
    names = sorted(path.name for path in folder.glob("*") if path.is_dir())
    if settings.key and settings.keystore().stem in names:
        names = [settings.keystore().stem]
    if not names:
        _require_writable(folder)
        return f"none yet: no operator has run in {settings.home}"
    found = (f"{name}: {_store(replace(settings, operator=name))}" for name in names)
    return "; ".join(found)


def _store(settings: Settings) -> str:
    """Open a store, which migrates it, take the writers' lock, and see how far it has come."""
    url = settings.database_url
    file = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    if file and not file.exists():
        _require_writable(file.parent)
        return f"not made yet; the watcher makes {file}"
    store = Store.open(url)
    try:
        with store.begin() as transaction:
            cursor = transaction.cursor()
    finally:
        store.close()
    return "current and writable, " + ("empty" if cursor is None else f"at block {cursor}")


def _require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written or made.

    Raises:
        ConfigInvalid: it cannot.
    """
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        raise ConfigInvalid(f"{nearest} is not writable", hint="choose another TALLYSTICK_HOME")


def check_key(settings: Settings) -> str:
    """See that the key this process would sign with opens with its password file."""
    if not settings.key:
        return "none named (TALLYSTICK_KEY); only what signs needs one"
    path = settings.keystore()
    if not path.exists():
        raise NotFound(f"no keystore {path}", hint="`tallystick wallet list` shows what there is")
    if not settings.password_file:
        return Note(f"{path.stem}, its password is asked for", "services need a password file")
    password_file = Path(settings.password_file)
    if not password_file.is_file():
        raise NotFound(
            f"no password file {password_file}", hint="set TALLYSTICK_PASSWORD_FILE to one"
        )
    open_to = stat.S_IMODE(password_file.stat().st_mode) & 0o077
    from oracle.chain import keystore  # noqa: PLC0415 - eth-account takes 0.3 s to import

    account = keystore.load(path, keystore.password_file(password_file))
    text = f"{path.stem} is {account.address}"
    if open_to:
        return Note(text + "; others can read its password file", f"chmod 600 {password_file}")
    return text


def check_operator(settings: Settings) -> str:
    """Say whether the named key is an operator's, and what keeps it from being asked."""
    if not settings.key:
        return "none named: `tallystick doctor --key NAME` looks at one"
    wallet = wallets.find(settings, settings.key)
    network = Network.open(settings)
    try:
        found = operators.status(network, wallet.address)
        missing = operators.lacking(network, found)
    except NotFound:
        return f"{wallet.name} is not registered as an operator"
    if missing:
        return Note(f"{wallet.name} will not be asked yet", "; ".join(missing))
    return f"{wallet.name} can be asked: models {', '.join(map(str, found.models))}"


def check_disk(settings: Settings) -> str:
    """See whether a model would still fit."""
    folder = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    if free < DISK_NEEDED:
        raise ConfigInvalid(
            f"{text}, {DISK_NEEDED / 2**30:.0f} are wanted",
            hint="make room, or lower TALLYSTICK_CACHE_BYTES, or move TALLYSTICK_HOME",
        )
    return text


def check_gpu(settings: Settings) -> str:
    """Ask torch, in a process of its own, which device models would run on."""
    try:
        answer = subprocess.run(  # noqa: S603 - fixed argv
            [sys.executable, "-c", _DESCRIBE_GPU],
            capture_output=True,
            text=True,
            timeout=_GPU_TIMEOUT,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        last = getattr(error, "stderr", "") or str(error)
        return Note(
            f"torch cannot be asked: {(last.strip().splitlines() or ['no reason'])[-1]}",
            "needed where models run: pip install 'tallystick[worker]'",
        )
    return answer.stdout.strip()


CHECKS: Sequence[Check] = (
    Check("rpc", check_rpc),
    Check("chain", check_chain, ("rpc",)),
    Check("contracts", check_contracts, ("chain",)),
    Check("finality", check_finality, ("rpc",)),
    Check("ipfs", check_ipfs),
    Check("redis", check_redis),
    Check("store", check_store),
    Check("key", check_key),
    Check("operator", check_operator, ("contracts", "key")),
    Check("disk", check_disk),
    Check("gpu", check_gpu),
)


def _rpc(settings: Settings) -> Rpc:
    return Rpc(settings.rpc_url, timeout=_TIMEOUT, attempts=1)
