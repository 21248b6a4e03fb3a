"""`tallystick train open|join|aggregate|challenge …`: what is refused before anything is sent."""

import json
from pathlib import Path

import pytest

from oracle.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["aggregate", "challenge"])
@pytest.mark.parametrize("words", [[], ["1", "--watch"]])
def test_watch__with_a_round_or_without_either__says_what_to_say(
    home: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str]
) -> None:
    assert main(["train", name, *words]) == 78
    assert f"tallystick train {name} 1" in capsys.readouterr().err


def test_open__unknown_rule__says_the_known(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "open", "digits", "--rule", "medain"]) != 0
    said = capsys.readouterr().err
    assert "median" in said
    assert "trimmed" in said


@pytest.mark.parametrize("name", ["show", "settle", "claim", "join"])
def test_round__below_one__is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["train", name, "0"]) != 0
    assert "ROUND" in capsys.readouterr().err


def test_show__no_network__says_how_to_get_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "show", "1", "--json"]) == 78
    assert "tallystick up" in json.loads(capsys.readouterr().out)["hint"]
