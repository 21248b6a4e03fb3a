"""Finding, detaching and stopping a network: the file lies, the process is another, it dies.

The processes are real, tiny and ours; no sockets.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from oracle.devnet import background
from oracle.devnet.background import RunningPart
from oracle.errors import ConfigInvalid, TransientError

UP = """
import sys, time
from dataclasses import replace
from pathlib import Path
from oracle.devnet import background
home = Path(sys.argv[1])
with background.stoppable():
    try:
        print("starting the chain", flush=True)
        background.write(home, replace(background.myself(), ready=True))
        time.sleep(3600)
    finally:
        (home / "tidied").touch()
"""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A live process that is not ours to stop."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1, "parts": []}', '{"parts": [1]}'])
def test_read__not_our_file__is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / background.FILE).write_text(text)
    assert background.read(tmp_path) is None


def test_read__pid_used_by_another_process__is_none(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    background.write(tmp_path, replace(background.myself(), pid=stranger.pid, created=1.0))
    assert background.read(tmp_path) is None


def test_stop__pid_used_by_another_process__leaves_it_alone(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    background.write(tmp_path, replace(background.myself(), pid=stranger.pid, created=1.0))
    assert background.stop(tmp_path) is False
    assert stranger.poll() is None


def test_stop__child_is_of_another_parent__leaves_it_alone(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    network = background.detach(tmp_path, [sys.executable, "-c", UP, str(tmp_path)])
    background.write(
        tmp_path, replace(network, parts=(RunningPart("anvil", "running", stranger.pid),))
    )
    assert background.stop(tmp_path) is True
    assert stranger.poll() is None


def test_refuse_second__one_runs__says_how_to_stop_it(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    created = psutil.Process(stranger.pid).create_time()
    background.write(tmp_path, replace(background.myself(), pid=stranger.pid, created=created))
    with pytest.raises(ConfigInvalid) as caught:
        background.refuse_second(tmp_path)
    assert "tallystick down" in caught.value.hint


def test_refuse_second__only_this_process__passes(tmp_path: Path) -> None:
    background.write(tmp_path, background.myself())
    background.refuse_second(tmp_path)


def test_detach__ends_at_once__quotes_its_log(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="no room left"):
        background.detach(tmp_path, [sys.executable, "-c", "raise SystemExit('no room left')"])


def test_detach__ready__returns_it_and_stop_ends_it_tidily(tmp_path: Path) -> None:
    said: list[str] = []
    network = background.detach(tmp_path, [sys.executable, "-c", UP, str(tmp_path)], said.append)
    assert background.read(tmp_path) == network
    assert said == ["starting the chain"]
    assert background.stop(tmp_path) is True
    assert (tmp_path / "tidied").exists()
    assert background.read(tmp_path) is None
    assert not (tmp_path / background.FILE).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stoppable__signalled__raises_once_and_lets_the_end_run(number: signal.Signals) -> None:
    end: list[str] = []

    def work() -> None:
        with background.stoppable():
            try:
                os.kill(os.getpid(), number)
                time.sleep(600)
            finally:
                os.kill(os.getpid(), number)
                end.append("reached")

    with pytest.raises(background.Stopped) as caught:
        work()
    assert (caught.value.number, end) == (number, ["reached"])


def test_write__read_back__is_equal(tmp_path: Path) -> None:
    network = replace(
        background.myself(),
        ready=True,
        kinds={"ipfs": "embedded"},
        parts=(RunningPart("redis", "up", 1),),
    )
    background.write(tmp_path, network)
    assert background.read(tmp_path) == network
    assert json.loads((tmp_path / background.FILE).read_text())["parts"][0]["name"] == "redis"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stoppable__signal_dropped_by_a_finalizer__is_raised_again() -> None:
    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # the handler runs in here, where Python drops what it raises

    ended = False
    with pytest.raises(background.Stopped), background.stoppable():  # noqa: PT012
        try:
            Finalized()
            time.sleep(600)
        finally:
            time.sleep(1.2)  # two alarms pass: cleaning up is not disturbed
            ended = True
    assert ended
