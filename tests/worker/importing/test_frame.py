"""Conversions in a process of their own: parsers that die, libraries that are not there."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn import svm
from sklearn.datasets import load_breast_cancer

from oracle.errors import ConfigInvalid
from tests.worker.importing.originals import save, split
from worker.errors import PickleRefused, WeightsInvalid
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
    path.write_bytes(b"PK")
    return path


def test_convert__svm__comes_back_from_its_process(tmp_path: Path) -> None:
    rows, labels, _, _ = split(load_breast_cancer)
    kind, path = save(svm.SVC().fit(rows, labels), tmp_path)

    made = frame.convert(Conversion(kind, str(path)))

    assert made.version.startswith("scikit-learn 1.")
    assert made.labels == ("0", "1")
    assert set(made.answers) == {"scores", "class"}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.skops"]


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


def test_convert__hostile_skops__is_refused_by_its_own_class(tmp_path: Path) -> None:
    import skops.io

    skops.io.dump(Evil(), tmp_path / "model.skops")
    with pytest.raises(PickleRefused, match="might run code"):
        frame.convert(Conversion("scikit-learn", str(tmp_path / "model.skops")))


class Evil:
    """What would run a command if it were unpickled."""

    def __reduce__(self) -> Any:
        return (os.system, (f'{sys.executable} -c \'open("pwned", "w")\'',))
