"""`tallystick valuator run` and `data challenge` with real processes: key, worker, queue, IPFS."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from oracle.agents.valuation.valuator import Valuator
from oracle.chain.bindings.data_rounds import RoundStage
from oracle.cli import main
from oracle.devnet import background
from oracle.devnet.network import Devnet, DevnetPlan, running
from tests.agents.valuation.play import Round
from tests.services.conftest import DESCRIPTION, World
from tests.support.waiting import assert_gone, wait_until
from tests.valuation import rounds
from worker import faults

pytestmark = pytest.mark.real

SEEDS = iter(range(1, 9))  # a model takes no data set twice
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    home = tmp_path_factory.mktemp("home")
    plan = DevnetPlan(home, operators=(), people=("vera", "victor", "carol"))
    with running(plan, environ={"PATH": os.environ["PATH"]}) as devnet:
        yield devnet


@pytest.fixture
def tallystick(
    devnet: Devnet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Return a function that runs a command line and gives back its JSON document."""
    for name in list(os.environ):
        if name.startswith("TALLYSTICK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TALLYSTICK_HOME", str(devnet.plan.home))
    monkeypatch.setenv("TALLYSTICK_PASSWORD_FILE", str(devnet.plan.home / "password"))

    def call(*words: object, code: int = 0) -> Any:
        capsys.readouterr()  # what a valuator in this process logged
        returned = main([*map(str, words), "--json"])
        captured = capsys.readouterr()
        assert returned == code, captured
        return json.loads(captured.out)

    return call


@pytest.fixture
def round_(devnet: Devnet, tmp_path: Path) -> Round:
    """A sealed round of a new model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(DESCRIPTION))
    (folder / "model.onnx").write_bytes(b"weights")
    owner = devnet.wallet("owner")
    network: Any = devnet.network
    world = World(network, network.ipfs, owner, owner, owner, owner, folder)
    held = rounds.small(next(SEEDS), test_rows=20)
    held = replace(held, sets=held.sets[:-1])  # the last is the same of every seed
    return Round(world, held, tmp_path / "files").seal()


def valuator_run(home: Path) -> "subprocess.Popen[str]":
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    given = ("valuator", "run", "--key", "vera", "--home", home)
    password = ("--password-file", home / "password")
    return subprocess.Popen(
        [*background.command(), *map(str, (*given, *password))],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environ,
    )  # fmt: skip


def test_run__killed_in_the_middle__settled_by_the_next_and_the_worker_has_no_key(
    devnet: Devnet, tallystick: Call, round_: Round
) -> None:
    chain, home = devnet.network.valuations, devnet.plan.home
    assert tallystick("valuator", "stake", "50", "--key", "vera", "--yes")["free"] == "50.00"
    first = valuator_run(home)
    wait_until(lambda: chain.case_of(round_.id).valuator == devnet.accounts["vera"])
    children = psutil.Process(first.pid).children(recursive=True)
    (environ, *_) = [child.environ() for child in children if "value" in child.cmdline()]
    assert not environ["TALLYSTICK_KEY"]
    assert not environ["TALLYSTICK_PASSWORD_FILE"]
    first.kill()
    first.wait()
    assert_gone(children)

    second = valuator_run(home)
    wait_until(lambda: chain.case_of(round_.id).published)
    round_.world.pass_time(chain.config().challenge_window)
    wait_until(lambda: devnet.network.data_rounds.round_of(round_.id).stage is RoundStage.SETTLED)
    wait_until(lambda: not devnet.network.data_rounds.balance_of(devnet.accounts["vera"]))
    second.send_signal(signal.SIGTERM)

    printed, _ = second.communicate()
    assert second.returncode == 0, printed
    found = tallystick("valuator", "status", "vera")
    assert (found["published"], found["settled"]) == ([round_.id], [round_.id])
    valued = tallystick("data", "values", round_.id)
    assert (valued["served"], valued["valuator"]) == (True, devnet.accounts["vera"])
    held = valued["contributions"]
    assert [max(0, one["total"]) for one in held] == [one["value"] for one in held]
    assert all(one["data_shapley"] is not None for one in held)
    assert tallystick("valuator", "unstake", "50", "--key", "vera", "--yes")["staked"] == "0.00"


def test_challenge__false_valuation__convicted_by_one_command(
    devnet: Devnet, tallystick: Call, round_: Round
) -> None:
    tallystick("valuator", "stake", "50", "--key", "victor", "--yes")
    jobs, _ = round_.jobs("victor", wanted=frozenset({faults.FALSE_VALUE}))
    with Valuator(devnet.network, devnet.unlock("victor"), jobs, round_.folder) as liar:
        while liar.cycle():
            pass

    found = tallystick("data", "challenge", round_.id, "--key", "carol")

    assert (found["stand"], found["fault"]) == ("convicted", "RUNNING_SUM")
    assert len(found["transactions"]) == 3  # announced, proven, the reward withdrawn
    assert tallystick("data", "challenge", round_.id, "--key", "carol")["stand"] == "none"
    assert tallystick("valuator", "status", "victor")["convicted"] == [round_.id]


def test_challenge__neither_round_nor_watch__says_so(devnet: Devnet, tallystick: Call) -> None:
    assert tallystick("data", "challenge", "--key", "carol", code=78)["error"] == "ConfigInvalid"
