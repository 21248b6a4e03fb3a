"""wait_until: patience is counted from the last progress."""

import itertools
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.waiting import assert_gone, exit_code, wait_until


class Ended:
    def poll(self) -> int:
        return 3


def test_wait_until__process_ended__fails_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(AssertionError, match="the process ended: an answer"):
        wait_until(lambda: False, "an answer", process=Ended())
    assert time.monotonic() - begun < 5


def test_wait_until__no_progress__fails_after_its_seconds() -> None:
    with pytest.raises(AssertionError, match=r"no progress in 0.05 s: 3 of 4"):
        wait_until(lambda: False, lambda: "3 of 4", seconds=0.05, progress=lambda: "the same")


def test_wait_until__progress_is_seen__goes_on() -> None:
    numbers, end = itertools.count(), time.monotonic() + 0.3
    assert wait_until(lambda: time.monotonic() > end, seconds=0.1, progress=lambda: next(numbers))


def test_wait_until__log_given__is_quoted(tmp_path) -> None:
    log = tmp_path / "log"
    log.write_text("port is taken")
    with pytest.raises(AssertionError, match="port is taken"):
        wait_until(lambda: False, seconds=0.01, log=log)


def test_wait_until__log_grows_for_ever__fails_with_its_end(tmp_path) -> None:
    log = tmp_path / "log"
    log.write_text("begun\n")

    def logs_an_error() -> bool:
        with log.open("a") as file:
            file.write("port is taken\n")
        return False

    begun = time.monotonic()
    with pytest.raises(AssertionError, match=r"(?s)not in .* s: an answer.*port is taken"):
        wait_until(logs_an_error, "an answer", seconds=0.5, log=log)
    assert time.monotonic() - begun > 2.5


def test_exit_code__process_fails__is_its_code() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"]) as process:
        assert exit_code(process) == 7


def test_assert_gone__zombie__counts_as_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert_gone([psutil.Process(process.pid)])
    process.wait()
