"""What README, docs and deploy/ say is so: settings, the walk, the console, paths, links."""

import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from oracle.config import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")])


def fenced(text: str, language: str, containing: str) -> str:
    """Return the code block of a language that contains some text."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if containing in block)
    return block


def environment(**changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    return {**kept, **changes}


def test_operations__settings__are_all_documented_and_exist() -> None:
    documented = set(re.findall(r"^\| `(TALLYSTICK_[A-Z_]+)`", OPERATIONS, re.MULTILINE))
    settings = {f"TALLYSTICK_{f.name.upper()}" for f in fields(Settings) if f.name != "contracts"}
    assert documented == settings


def test_operations__defaults__are_those_of_the_code() -> None:
    rows = dict(
        re.findall(r"^\| `TALLYSTICK_([A-Z_]+)` \| `?([^`|]+?)`? \|", OPERATIONS, re.MULTILINE)
    )
    checked = 0
    for field in fields(Settings):
        if isinstance(field.default, int | float):
            written = rows[field.name.upper()]
            number, _, unit = written.partition(" ")
            assert float(number) * (2**30 if unit == "GiB" else 1) == field.default, field.name
            checked += 1
    assert checked >= 6


def test_operator_env__example__is_accepted(tmp_path: Path) -> None:
    lines = (ROOT / "deploy" / "operator.env").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = Settings.load(environ, tmp_path)
    assert settings.finality_depth == 64
    assert settings.log_format == "json"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document__links__lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


def test_readme__file_tree__exists() -> None:
    table = README[README.index("## What is where") : README.index("## Whom you trust")]
    folder = ""
    paths = []
    for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            paths.append(name if "/" in name else f"{folder}/{name}")
            folder = str(Path(paths[-1]).parent)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.real
@pytest.mark.timeout(240)
def test_readme__walk__works_as_it_stands(tmp_path: Path) -> None:
    walk = fenced(README, "sh", "tallystick up --detach").replace("build/", f"{tmp_path}/build/")
    (tmp_path / "build").mkdir()
    home = tmp_path / "home"
    script = f"set -euxo pipefail\ntrap 'tallystick down' EXIT\n{walk}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=environment(TALLYSTICK_HOME=str(home)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "answered and paid" in done.stdout
    assert "(as on chain)" in done.stdout


@pytest.mark.real
@pytest.mark.timeout(240)
def test_readme__console__replays_as_it_stands() -> None:
    transcript = fenced(README, "console", ">>> ")
    lines = [line for line in transcript.splitlines() if not line.startswith("$")]
    said = [line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")]
    answers = [line for line in lines if not line.startswith(">>> ")]
    assert len(said) == len(answers) > 0
    done = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "brownie"), "console"],
        cwd=ROOT,
        env=environment(),
        input="\n".join(said) + "\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout).replace("\r", "\n")
    printed = iter(line.strip() for line in plain.splitlines())
    missing = [answer for answer in answers if answer not in printed]  # each after the one before
    assert missing == [], plain[-3000:]
