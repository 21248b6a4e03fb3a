"""Files that are there whole or not at all."""

import stat
from pathlib import Path

import pytest

from oracle import whole_file


def test_write__cannot_finish__leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    whole_file.write(path, "old")

    def full(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        whole_file.write(path, "new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_new__another_was_first__its_file_stays(tmp_path: Path) -> None:
    whole_file.write_new(tmp_path / "file", "first")
    whole_file.write_new(tmp_path / "file", "second")

    assert (tmp_path / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_write__any_umask__nobody_else_can_read(tmp_path: Path) -> None:
    whole_file.write(tmp_path / "file", b"\0secret")

    assert (tmp_path / "file").read_bytes() == b"\0secret"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
