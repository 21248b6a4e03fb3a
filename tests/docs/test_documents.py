"""What the documents name exists: settings, links, paths, commands; the site builds strictly."""

import ast
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from oracle.cli.app import build
from oracle.config import Settings
from tests.docs.pages import GENERATED, ROOT, WRITTEN, name

DOCUMENTS = sorted([*WRITTEN, *GENERATED])
FOLDERS = re.compile(
    r"(benchmarks|contracts|deploy|docs|examples|oracle|scripts|tallystick|tests|worker)/"
)
# What a recipe adds, what stands for any name, and names of schemas
STANDS_FOR = re.compile(r"[Tt]hing|[A-Z]{4,}|/\d$")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_document__links__lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    missing = [link for link in links if not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", WRITTEN, ids=name)
def test_document__paths__exist(document: Path) -> None:
    spans = re.findall(r"`([\w./*<>-]+)`", document.read_text())
    paths = [span for span in spans if FOLDERS.match(span)]
    missing = [p for p in paths if not STANDS_FOR.search(p) and not any(ROOT.glob(p.rstrip("/")))]
    assert missing == []


@pytest.mark.parametrize("document", WRITTEN, ids=name)
def test_document__settings__exist(document: Path) -> None:
    known = {f"TALLYSTICK_{field.name.upper()}" for field in fields(Settings)}
    assert set(re.findall(r"TALLYSTICK_[A-Z_]*[A-Z]", document.read_text())) <= known


def test_settings__every_one__is_documented() -> None:
    """That docs/settings.md is current is checked by `make lint` (scripts/docs.py --check)."""
    documented = set(re.findall(r"`(TALLYSTICK_\w+)`", (ROOT / "docs/settings.md").read_text()))
    assert len(documented) > 20
    assert documented >= {
        f"TALLYSTICK_{f.name.upper()}" for f in fields(Settings) if f.name != "contracts"
    }


def test_operator_env__example__is_accepted(tmp_path: Path) -> None:
    lines = (ROOT / "deploy" / "operator.env").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = Settings.load(environ, tmp_path)
    assert settings.finality_depth == 64
    assert settings.log_format == "json"


def commands() -> list[str]:
    """Return every line of a shell block that is a whole call of the command `tallystick`."""
    found = []
    for document in WRITTEN:
        for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.M | re.S):
            lines = (line.partition("  #")[0].strip() for line in block.splitlines())
            found += [line for line in lines if line.startswith("tallystick ") and "$(" not in line]
    return sorted(set(found))


@pytest.mark.parametrize("line", commands())
def test_document__commands__parse(line: str) -> None:
    command, words = build(), shlex.split(line.partition(" || ")[0])[1:]
    while children := getattr(command, "commands", None):
        command, words = children[words[0]], words[1:]
    assert not command.make_context("tallystick", words).args


def test_examples__list__has_every_folder_and_commands_that_exist() -> None:
    text = (ROOT / "examples" / "README.md").read_text()
    folders = [p.parent.name for p in (ROOT / "examples").glob("*/__init__.py")]
    assert [name for name in folders if f"]({name}/" not in text] == []
    modules = re.findall(r"`python -m ([\w.]+)", text)
    assert len(modules) >= 6
    assert [m for m in modules if not (ROOT / f"{m.replace('.', '/')}.py").is_file()] == []
    lines = re.findall(r"`(tallystick \w+ [^`]+ [^`]+)`", text)
    assert len(lines) >= 2
    for line in lines:
        test_document__commands__parse(line)


def test_contributing__map__has_every_part_of_oracle() -> None:
    parts = [p for p in (ROOT / "oracle").iterdir() if p.name[:2] != "__"]
    names = {f"oracle/{p.name}/" if p.is_dir() else f"oracle/{p.name}" for p in parts}
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert {part for part in names if f"`{part}`" not in text} == set()


def test_architecture__diagram_of_imports__is_that_of_the_test_that_holds_it() -> None:
    held = ast.get_docstring(ast.parse((ROOT / "tests/test_architecture.py").read_text()))
    assert held is not None
    (diagram,) = re.findall(r"```\n(.*?)```", held, re.DOTALL)
    assert diagram in (ROOT / "docs" / "architecture.md").read_text()


def test_decisions__numbers__are_those_of_their_files_and_stand_once() -> None:
    files = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [int(path.name[:3]) for path in files]
    assert numbers == list(range(1, len(files) + 1))
    titles = [path.read_text().split("\n")[0] for path in files]
    assert [int(title.split()[1].rstrip(".")) for title in titles] == numbers


def test_demo__chapters__are_those_of_the_page() -> None:
    titles = re.findall(r'chapter\(\s*"([^"]+)"', (ROOT / "oracle/demo/story.py").read_text())
    assert len(titles) >= 15
    described = re.findall(r"^\*\*(.+?)\.?\*\*", (ROOT / "docs/demo.md").read_text(), re.M)
    assert described == titles


def test_pre_commit__hooks__call_what_the_environment_has() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    called = [word for hook in repository["hooks"] for word in shlex.split(hook["entry"])]
    paths = [word for word in called if "/" in word]
    assert len(paths) >= 8
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_workflow__continuous_integration__is_the_script_of_the_repository() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert job["steps"][-1]["run"].split()[-1] == ".ci/run"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_site__strict_build__has_no_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    market = (tmp_path / "site/reference/contracts/IInferenceMarket.html").read_text()
    assert "Escrows the version's fee" in market
    assert "/v2/models/{name}/infer" in (tmp_path / "site/reference/rest-routes.html").read_text()
    assert 'id="oracle.protocol.manifest"' in (tmp_path / "site/reference/python.html").read_text()
