"""Which IPFS node this machine uses: one that answers, else `ipfs` on PATH, else our own.

Starts what it must and gives back a handle that stops only what it started.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from oracle import whole_file
from oracle.errors import Unavailable
from oracle.ipfs.client import IpfsClient
from oracle.patience import busy
from oracle.ports import free_port
from oracle.private_files import make_folder, open_log

Kind = Literal["kubo by url", "kubo on path", "embedded"]

_STARTS_WITHIN = 30.0  # seconds in which it does not use the processor
_STOPS_WITHIN = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class IpfsNode:
    """An IPFS node that answers at `api_url`."""

    kind: Kind
    api_url: str
    agent: str  # what it says it is
    process: "subprocess.Popen[bytes] | None" = None  # None: not ours to stop

    @property
    def pid(self) -> int | None:
        """Process id of a node that was started here."""
        return self.process.pid if self.process else None

    def stop(self) -> None:
        """Stop the node if it was started here."""
        if self.process is not None:
            _stop(self.process)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A node that somebody else starts: it will answer at `api_url`."""

    kind: Kind
    api_url: str
    command: list[str]
    environ: Mapping[str, str]  # on top of the caller's


def ensure(
    api_url: str,
    repo: Path,
    *,
    log: Path | None = None,
    port: int = 0,
    environ: Mapping[str, str] | None = None,
) -> IpfsNode:
    """Return a node that answers, starting one in `repo` when `api_url` does not.

    Args:
        api_url: asked first; "" skips that.
        repo: parent of the folders `kubo` and `embedded`, made when needed.
        log: file for the output of a node started here; default in `repo`.
        port: TCP port of a node started here; 0 = a free one.
        environ: environment to look for `ipfs` on PATH in; default this process's.

    Raises:
        Unavailable: the node that was started does not answer.
    """
    if api_url and (agent := probe(api_url)):
        return IpfsNode("kubo by url", api_url, agent)
    environ = dict(os.environ if environ is None else environ)
    make_folder(repo)
    log = log or repo / "node.log"
    if binary := shutil.which("ipfs", path=environ.get("PATH", "")):
        return _start_kubo(binary, repo / "kubo", log, port, environ)
    return start_embedded(repo / "embedded", log=log, port=port)


def prepare(repo: Path, port: int, environ: Mapping[str, str]) -> Prepared:
    """Say how to start the node that `ensure` would start, for a caller that keeps it running.

    Raises:
        Unavailable: Kubo's repository cannot be made.
    """
    url = f"http://127.0.0.1:{port}"
    if binary := shutil.which("ipfs", path=environ.get("PATH", "")):
        command, changes = _kubo(binary, repo / "kubo", port, environ)
        return Prepared("kubo on path", url, command, changes)
    make_folder(repo / "embedded")
    return Prepared("embedded", url, _embedded(repo / "embedded", port), {})


def probe(api_url: str, timeout: float = 10.0) -> str:
    """Return what answers at a URL, or "" when nothing that speaks the RPC does."""
    try:
        return IpfsClient(api_url, timeout).version()
    except Unavailable:
        return ""


def start_embedded(repo: Path, *, log: Path, port: int = 0) -> IpfsNode:
    """Start our own node on a folder of blocks; it ends with this process, however that ends.

    Raises:
        Unavailable: it does not come up (its log says why).
    """
    ready = _Lines(log)
    process = _spawn([*_embedded(repo, port), "--follow"], log, dict(os.environ))
    patience = busy(process.pid, _STARTS_WITHIN)
    while process.poll() is None and not patience.over():
        for line in ready.new():
            if line.startswith("ready "):
                url = line.removeprefix("ready ").strip()
                return IpfsNode("embedded", url, IpfsClient(url, 60.0).version(), process)
        time.sleep(0.02)
    raise _gave_up(process, "the embedded node", log)


def _start_kubo(
    binary: str, repo: Path, log: Path, port: int, environ: Mapping[str, str]
) -> IpfsNode:
    """Start Kubo offline, on loopback, on a repository of its own."""
    port = port or free_port()
    command, changes = _kubo(binary, repo, port, environ)
    process = _spawn(command, log, {**environ, **changes})
    url, patience = f"http://127.0.0.1:{port}", busy(process.pid, _STARTS_WITHIN)
    while process.poll() is None and not patience.over():
        if agent := probe(url):
            return IpfsNode("kubo on path", url, agent, process)
        time.sleep(0.1)
    raise _gave_up(process, binary, log)


def _embedded(repo: Path, port: int) -> list[str]:
    """Return the command of our own node."""
    return [sys.executable, "-m", "oracle.ipfs.node", "--repo", str(repo), "--port", str(port)]


def _kubo(
    binary: str, repo: Path, port: int, environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Make Kubo's repository when there is none; return its command and variables."""
    changes = {"IPFS_PATH": str(repo), "IPFS_TELEMETRY": "off"}
    if not (repo / "config").exists():
        make_folder(repo)
        made = subprocess.run(  # noqa: S603 (a binary that the user has on PATH)
            [binary, "init", "--empty-repo"],
            env={**environ, **changes},
            capture_output=True,
            timeout=60,
            check=False,
        )
        if made.returncode != 0:
            raise Unavailable(
                f"`{binary} init` failed: {made.stderr.decode(errors='replace')[-300:]}",
                hint="take it off PATH to use the embedded node",
            )
    _keep_local(repo / "config", port)
    return [binary, "daemon", "--offline", "--migrate=false"], changes


def _keep_local(config: Path, port: int) -> None:
    """Point a Kubo repository's addresses to loopback."""
    body: dict[str, Any] = json.loads(config.read_text())
    body["Bootstrap"] = []
    body.setdefault("Addresses", {}).update(API=f"/ip4/127.0.0.1/tcp/{port}", Gateway=[], Swarm=[])
    body.setdefault("Discovery", {}).setdefault("MDNS", {})["Enabled"] = False
    whole_file.write(config, json.dumps(body, indent=2) + "\n")


def _spawn(command: list[str], log: Path, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    with open_log(log) as output:
        # A session of its own: Ctrl-C reaches us, and we stop it when nobody needs it any more
        return subprocess.Popen(  # noqa: S603 (our own module, or a binary on PATH)
            command,
            stdin=subprocess.PIPE,  # what `--follow` watches
            stdout=output,
            stderr=output,
            env=dict(environ),
            start_new_session=True,
        )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin:
        process.stdin.close()
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _gave_up(process: "subprocess.Popen[bytes]", name: str, log: Path) -> Unavailable:
    ended = process.poll()
    _stop(process)
    what = f"ended with status {ended}" if ended is not None else "does not answer"
    tail = log.read_text(errors="replace").strip().splitlines()[-1:]
    return Unavailable(
        f"{name} {what}: {tail[0][:300] if tail else 'no output'}", hint=f"its log is {log}"
    )


class _Lines:
    """Follows a log from where it ends now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def new(self) -> list[str]:
        """Return the complete lines that were added."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            text, newline, _ = file.read().rpartition(b"\n")
        self._at += len(text) + len(newline)
        return text.decode(errors="replace").splitlines()
