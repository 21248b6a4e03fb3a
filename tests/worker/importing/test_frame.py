"""Conversions in a process of their own: parsers that die, libraries that are not there."""

import os
import resource
import stat
import zipfile
from pathlib import Path

import pytest

from oracle.errors import ConfigInvalid
from tests.support.waiting import wait_until
from worker.errors import ArchiveRefused, WeightsInvalid
from worker.importing import frame
from worker.importing.converted import Conversion


def environ(python: Path) -> dict[str, str]:
    return {**os.environ, frame.TENSORFLOW: str(python)}


def script(folder: Path, text: str) -> Path:
    """Write a program that stands for a Python of its own."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    return path


def test_convert__parser_that_dies__kills_nothing_and_says_so(tmp_path: Path, keras: Path) -> None:
    python = script(tmp_path, "echo 'free(): invalid pointer'; kill -ABRT $$")
    with pytest.raises(WeightsInvalid, match=r"signal 6: free\(\): invalid pointer") as caught:
        frame.convert(Conversion("keras", str(keras)), environ(python))
    assert "damaged" in caught.value.hint


def test_convert__gigabytes_of_output_and_of_an_error__are_not_read(
    tmp_path: Path, keras: Path
) -> None:
    script_ = 'truncate -s 4G "$3/error.json"; truncate -s 4G "$3/output"; echo the end; exit 3'
    most = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, most[1]))
    try:
        with pytest.raises(WeightsInvalid, match="exit code 3"):
            frame.convert(Conversion("keras", str(keras)), environ(script(tmp_path, script_)))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, most)


def test_convert__process_that_leaves_nothing__is_no_model(tmp_path: Path, keras: Path) -> None:
    with pytest.raises(WeightsInvalid, match="left no model"):
        frame.convert(Conversion("keras", str(keras)), environ(script(tmp_path, "exit 0")))


@pytest.mark.parametrize("end", ["exit 0", "exit 1", "kill -KILL $$"])
def test_convert__process_that_leaves_others_behind__none_of_them_lives(
    end: str, tmp_path: Path, keras: Path
) -> None:
    pid = tmp_path / "pid"
    python = script(tmp_path, f"sleep 1000 & (sleep 1000 & echo $! > {pid}); {end}")
    with pytest.raises(WeightsInvalid):
        frame.convert(Conversion("keras", str(keras)), environ(python))
    wait_until(lambda: not alive(int(pid.read_text())))


def test_convert__one_that_takes_too_long__ends_with_all_that_it_started(
    tmp_path: Path, keras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    python = script(tmp_path, f"sleep 1000 & echo $! > {pid}; wait")
    monkeypatch.setattr(frame, "WALL", 1.0)
    with pytest.raises(WeightsInvalid, match="took more than 1 s"):
        frame.convert(Conversion("keras", str(keras)), environ(python))
    wait_until(lambda: not alive(int(pid.read_text())))


def alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_convert__no_tensorflow__says_what_to_install(keras: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != frame.TENSORFLOW}
    with pytest.raises(ConfigInvalid, match="needs its own library") as caught:
        frame.convert(Conversion("keras", str(keras)), kept)
    assert "tensorflow-cpu==" in caught.value.hint
    assert frame.TENSORFLOW in caught.value.hint


def test_convert__no_such_python__names_the_setting(tmp_path: Path, keras: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be run"):
        frame.convert(Conversion("keras", str(keras)), environ(tmp_path / "none"))


def test_convert__refused_in_the_process__is_of_the_same_class_here(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"no archive")
    with pytest.raises(ArchiveRefused, match=r"is no \.keras file") as caught:
        frame.convert(Conversion("keras", str(tmp_path / "model.keras")))
    assert "model.save" in caught.value.hint
