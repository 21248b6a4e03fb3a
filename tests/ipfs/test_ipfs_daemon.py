"""Finding a node and starting one: by URL, from PATH, our own; stopping what was started."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from oracle.errors import Unavailable
from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.ports import free_port
from tests.ipfs.liar import hangs_up, lying, says
from tests.support.waiting import assert_gone, exit_code, wait_until

pytestmark = pytest.mark.real  # nodes on loopback

# Stands in for a Kubo binary: `init` writes a config, `daemon` serves where that config says
FAKE_KUBO = """#!{python}
import json, os, pathlib, sys
home = pathlib.Path(os.environ["IPFS_PATH"])
if sys.argv[1] == "init":
    if {broken!r} == "init":
        sys.exit("Error: no space left on device")
    (home / "config").write_text(json.dumps({{"Addresses": {{"API": "/ip4/0.0.0.0/tcp/5001"}}}}))
elif {broken!r} == "daemon":
    sys.exit("Error: lock held")
else:
    assert sys.argv[1:] == ["daemon", "--offline", "--migrate=false"]
    config = json.loads((home / "config").read_text())
    assert config["Bootstrap"] == [] and config["Addresses"]["Swarm"] == []
    port = config["Addresses"]["API"].removeprefix("/ip4/127.0.0.1/tcp/")
    node = ["-m", "oracle.ipfs.node", "--repo", str(home), "--port", port]
    os.execv({python!r}, [{python!r}, *node])
"""


def path_with_kubo(folder: Path, broken: str = "") -> dict[str, str]:
    """Return an environment whose PATH has an `ipfs`."""
    folder.mkdir()
    binary = folder / "ipfs"
    binary.write_text(FAKE_KUBO.format(python=sys.executable, broken=broken))
    binary.chmod(0o755)
    return {**os.environ, "PATH": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}


def test_probe__nothing_or_something_else__is_empty() -> None:
    with lying(says(b"<html>")) as other, lying(hangs_up) as gone:
        assert daemon.probe(other.url) == ""
    assert daemon.probe(gone.url) == ""


@pytest.mark.parametrize(
    ("broken", "complaint"), [("init", "no space left"), ("daemon", "status 1: Error: lock held")]
)
def test_ensure__kubo_on_path_fails__says_why(tmp_path: Path, broken: str, complaint: str) -> None:
    environ = path_with_kubo(tmp_path / "bin", broken)
    with pytest.raises(Unavailable, match=complaint):
        daemon.ensure("", tmp_path / "ipfs", environ=environ)


def test_start_embedded__folder_in_use__says_why(tmp_path: Path) -> None:
    node = daemon.start_embedded(tmp_path / "repo", log=tmp_path / "log")
    try:
        with pytest.raises(Unavailable, match="served by another process") as got:
            daemon.start_embedded(tmp_path / "repo", log=tmp_path / "log2")
        assert str(tmp_path / "log2") in got.value.hint
    finally:
        node.stop()


def test_start_embedded__who_started_it_is_killed__ends_too(tmp_path: Path) -> None:
    starter = (
        "import pathlib, sys, time; from oracle.ipfs import daemon; p = pathlib.Path(sys.argv[1]);"
        "print(daemon.start_embedded(p / 'repo', log=p / 'log').pid, flush=True); time.sleep(3600)"
    )
    command = [sys.executable, "-c", starter, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        node = psutil.Process(int(process.stdout.readline()))
        process.kill()
    assert_gone([node])


@pytest.mark.parametrize("on_path", [True, False])
def test_prepare__what_it_says_to_run__answers_where_it_says(tmp_path: Path, on_path: bool) -> None:
    environ = path_with_kubo(tmp_path / "bin") if on_path else {**os.environ, "PATH": ""}
    node = daemon.prepare(tmp_path / "ipfs", free_port(), environ)
    assert node.kind == ("kubo on path" if on_path else "embedded")
    root = str(Path(__file__).parents[2])
    env = {**environ, **node.environ, "PYTHONPATH": root}
    process = subprocess.Popen(node.command, env=env, stdout=subprocess.PIPE, cwd=root)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().split() == [b"ready", node.api_url.encode()]
        wait_until(lambda: daemon.probe(node.api_url), "an answer")
    finally:
        process.terminate()
        assert exit_code(process) == 0


def test_ensure__node_by_url__uses_it_and_leaves_it_running(tmp_path: Path) -> None:
    running = daemon.start_embedded(tmp_path / "repo", log=tmp_path / "log")
    try:
        found = daemon.ensure(running.api_url, tmp_path / "other")
        assert (found.kind, found.pid) == ("kubo by url", None)
        found.stop()
        assert daemon.probe(running.api_url) == running.agent
        assert not (tmp_path / "other").exists()
    finally:
        running.stop()


def test_ensure__ipfs_on_path__runs_it_offline_on_loopback(tmp_path: Path) -> None:
    node = daemon.ensure("", tmp_path / "ipfs", environ=path_with_kubo(tmp_path / "bin"))
    try:
        assert node.kind == "kubo on path"
        assert IpfsClient(node.api_url).publish_bytes(b"x").size == 1
        again = daemon.ensure(node.api_url, tmp_path / "ipfs")
        assert again.kind == "kubo by url"
    finally:
        node.stop()
    assert node.pid is not None
    assert not psutil.pid_exists(node.pid)


def test_ensure__nothing_there__starts_the_embedded_node(tmp_path: Path) -> None:
    with lying(hangs_up) as gone:
        pass
    environ = {"PATH": str(tmp_path)}
    node = daemon.ensure(gone.url, tmp_path / "ipfs", environ=environ)
    try:
        assert node.kind == "embedded"
        assert node.agent.startswith("tallystick-embedded/")
        published = IpfsClient(node.api_url).publish_bytes(b"survives a restart")
    finally:
        node.stop()
    assert node.pid is not None
    assert not psutil.pid_exists(node.pid)
    node.stop()  # twice is fine
    again = daemon.ensure("", tmp_path / "ipfs", environ=environ)
    try:
        assert IpfsClient(again.api_url).fetch_bytes(published.cid, 100) == b"survives a restart"
    finally:
        again.stop()
