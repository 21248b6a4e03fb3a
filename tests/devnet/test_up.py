"""`tallystick up` with real servers: it is complete, and leaves no process behind however it ends.

One network is shared by the tests that only look; each that ends one starts its own, with no
operators where they make no difference.
"""

import json
import os
import signal
import stat
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from oracle.config import Settings
from oracle.devnet import accounts, background
from oracle.devnet.background import RunningNetwork
from oracle.types import Contracts
from tests.support.waiting import assert_gone, exit_code, wait_until

pytestmark = pytest.mark.real


def tallystick(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*background.command(), *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )


def clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}


def start(home: Path, *options: str) -> tuple["subprocess.Popen[bytes]", RunningNetwork]:
    """Start `up` in the foreground and wait until it says that it is ready."""
    process = subprocess.Popen(
        [*background.command(), "up", "--home", str(home), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    )
    try:
        wait_until(
            lambda: (network := background.read(home)) and network.ready,
            "the network to be ready",
            process=process,
        )
    except AssertionError:
        process.kill()
        raise
    network = background.read(home)
    assert network is not None
    return process, network


def descendants(
    process: "subprocess.Popen[bytes]", network: RunningNetwork
) -> list[psutil.Process]:
    """Return every process below `up`, those that the file names among them."""
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    named = {part.pid for part in network.parts}
    assert named <= {child.pid for child in found}
    return found


def test_up__second_in_one_home__is_refused(home: Path) -> None:
    done = tallystick(home, "up")
    assert done.returncode == 78
    assert "tallystick down" in done.stderr


def test_up__detached__runs_every_part(home: Path) -> None:
    done = tallystick(home, "status", "--json")
    status: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0
    roles = {
        f"{name}.{role}"
        for name in ("alpha", "beta")
        for role in ("watcher", "infer", "submitter", "responder")
    }
    assert {part["name"] for part in status["parts"]} == {
        "chain", "ipfs", "redis", "rest", "alpha.endpoint",
    } | roles  # fmt: skip
    assert {part["state"] for part in status["parts"]} == {"running"}


def test_up__wallets__are_secret_and_funded(home: Path) -> None:
    assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
    names = {*accounts.PEOPLE, "alpha", "beta"}
    assert {path.stem for path in (home / "keys").glob("*.json")} == names
    done = tallystick(home, "wallet", "show", "treasury", "--json")
    shown = json.loads(done.stdout)
    assert float(shown["tokens"]) == 10_000
    operator = json.loads(tallystick(home, "operator", "status", "alpha", "--json").stdout)
    assert float(operator["staked"]) == 1_000


def test_doctor__network_runs__finds_everything_well(home: Path) -> None:
    done = tallystick(home, "doctor", "--json")
    findings = {f["part"]: f["state"] for f in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0
    assert set(findings.values()) == {"ok"}, findings


def test_doctor__chain_was_reset__fails_and_names_the_contracts(home: Path, tmp_path: Path) -> None:
    body = json.loads((home / "network.json").read_text())
    body["contracts"]["inference_market"] = "0x" + "00" * 19 + "99"
    (tmp_path / "network.json").write_text(json.dumps(body))
    done = tallystick(tmp_path, "doctor", "--json")
    findings = {f["part"]: f for f in json.loads(done.stdout)["findings"]}
    assert done.returncode == 69
    assert findings["contracts"]["state"] == "failed"
    assert "inference_market" in findings["contracts"]["found"]
    assert "tallystick up" in findings["contracts"]["todo"]


def test_status__nothing_runs__exits_66(tmp_path: Path) -> None:
    assert tallystick(tmp_path, "status").returncode == 66
    assert tallystick(tmp_path, "down").returncode == 0


def test_up__foreign_home__is_left_alone(tmp_path: Path) -> None:
    contracts = {field.name: "0x" + "11" * 20 for field in fields(Contracts)}
    (tmp_path / "network.json").write_text(
        json.dumps({"contracts": {**contracts, "chain_id": 1, "deployed_at": 0}})
    )
    store = tmp_path / "operators" / "alpha" / "store.db"
    store.parent.mkdir(parents=True)
    store.write_text("precious")
    done = tallystick(tmp_path, "up")
    assert done.returncode == 78
    assert "chain 1" in done.stderr
    assert store.read_text() == "precious"


def test_up__interrupted__leaves_no_process_behind(tmp_path: Path) -> None:
    process, network = start(tmp_path, "--operators", "alpha")
    children = descendants(process, network)
    process.send_signal(signal.SIGINT)
    assert exit_code(process) == 0
    assert_gone(children)
    assert not (tmp_path / background.FILE).exists()


def test_up__signalled_while_it_starts__leaves_no_process_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*background.command(), "up", "--home", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    )
    this = psutil.Process(process.pid)
    children = wait_until(lambda: this.children(recursive=True), "its first child")
    process.terminate()
    assert exit_code(process) == 0
    assert_gone(children)


def test_up__killed__kernel_ends_its_children(tmp_path: Path) -> None:
    process, network = start(tmp_path, "--operators", "alpha")
    children = descendants(process, network)
    process.kill()
    process.wait()
    assert_gone(children)
    assert background.read(tmp_path) is None


def test_up__child_killed_and_terminated__is_restarted_and_leaves_no_process_behind(
    tmp_path: Path,
) -> None:
    process, network = start(tmp_path, "--operators", "none")
    try:
        (redis,) = (part for part in network.parts if part.name == "redis")
        assert redis.pid is not None
        os.kill(redis.pid, signal.SIGKILL)

        def restarted() -> bool:
            now = background.read(tmp_path)
            assert now is not None
            (part,) = (part for part in now.parts if part.name == "redis")
            return part.restarts == 1 and part.state == "running"

        wait_until(restarted, "a new Redis", process=process)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.terminate()
        code = exit_code(process)
    assert code == 0
    assert_gone(children)
    assert not (tmp_path / background.FILE).exists()


def test_up__again__keeps_keys_and_begins_a_new_chain(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        process, _network = start(tmp_path, "--operators", "none")
        seen.append(((tmp_path / "keys" / "owner.json").read_text(), Settings.load({}, tmp_path)))
        assert not (tmp_path / "data").exists()
        (tmp_path / "data").mkdir()  # secrets of this chain's rounds
        process.terminate()
        exit_code(process)
    assert seen[0][0] == seen[1][0]
    # At which of its first blocks deployment began depends on how fast the chain is
    first, second = (replace(settings.contracts, deployed_at=0) for _, settings in seen)
    assert first == second
    assert seen[0][1].rpc_url != seen[1][1].rpc_url
