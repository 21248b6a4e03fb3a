"""Conversions in a process of their own: parsers that die, libraries that are not there."""

import os
import stat
import zipfile
from pathlib import Path

import pytest

from oracle.errors import ConfigInvalid
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


def test_convert__process_that_leaves_nothing__is_no_model(tmp_path: Path, keras: Path) -> None:
    with pytest.raises(WeightsInvalid, match="left no model"):
        frame.convert(Conversion("keras", str(keras)), environ(script(tmp_path, "exit 0")))


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
