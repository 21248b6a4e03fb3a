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


@pytest.mark.parametrize(
    ("url", "on_redis"),
    [("redis://h/0", True), ("rediss://h", True), ("unix:///r.sock", False), ("amqp://h", False)],
)
def test_on_redis__scheme__is_one_that_celery_takes(
    tmp_path: Path, url: str, on_redis: bool
) -> None:
    settings = Settings.load({"TALLYSTICK_HOME": str(tmp_path), "TALLYSTICK_REDIS_URL": url})
    assert settings.on_redis is on_redis
