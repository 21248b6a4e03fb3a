"""Settings: which keystore a name means."""

from pathlib import Path

import pytest

from oracle.config import Settings


def test_keystore__file_of_that_name_in_the_current_folder__is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("alice").write_text("no keystore")

    found = Settings(tmp_path / "home", key="alice").keystore()

    assert found == tmp_path / "home" / "keys" / "alice.json"


def test_keystore__path__is_taken(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "key.json"

    assert Settings(tmp_path, key=str(path)).keystore() == path
    assert Settings(tmp_path, key="alice").keystore(str(path)) == path


def test_keystore__path_below_home__is_a_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert Settings(tmp_path, key="~/key.json").keystore() == tmp_path / "key.json"
