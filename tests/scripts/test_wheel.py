"""The wheel: what an installation outside a clone needs is in it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("examples", "oracle", "tallystick", "worker")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel from a copy, and return the names of its files."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = (sys.executable, "-m", "pip", "wheel", "-q", str(source), "--no-deps")
    subprocess.run([*command, "--no-build-isolation", "-w", str(folder)], check=True)
    (wheel,) = folder.glob("tallystick-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel__every_file_of_the_packages__is_in_it(names):
    tracked = subprocess.run(
        ["git", "ls-files", *SOURCES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    kept = {path for path in tracked if not path.endswith(".md")}

    assert len(kept) > 400
    assert {path for path in kept if (ROOT / path).exists()} - names == set()


@pytest.mark.parametrize(
    "name",
    [
        "oracle/chain/abi/InferenceMarket.json",
        "oracle/store/migrations/env.py",
        "oracle/web/templates/base.html",
        "examples/digits/build.py",
        "tallystick/py.typed",
    ],
)
def test_wheel__data__is_in_it(names, name):
    assert name in names
