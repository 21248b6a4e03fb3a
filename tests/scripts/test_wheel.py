"""The wheel: what an installation outside a clone needs is in it, and works there."""

import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from oracle.chain.anvil import find_anvil
from tests.docs.pages import shell

ROOT = Path(__file__).parents[2]
SOURCES = ("examples", "oracle", "tallystick", "worker")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy."""
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
    return wheel


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The names of its files."""
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


class Installation:
    """An environment of its own, with nothing but the wheel and what it declares."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.bin = folder / "env" / "bin"
        self.cwd = folder / "elsewhere"
        self.cwd.mkdir()
        subprocess.run([sys.executable, "-m", "venv", str(self.bin.parent)], check=True)
        pip = (str(self.bin / "python"), "-m", "pip", "install", "-q")
        pins = ("-c", str(ROOT / "requirements.txt"))
        subprocess.run([*pip, *pins, f"{wheel}[embedded]"], check=True)

    def run(self, *command: str, path: str = "", **more: str) -> tuple[int, str]:
        """Return the exit code and what was printed; `path` goes before the system's programs."""
        places = (str(self.bin), path, "/usr/bin", "/bin")
        done = subprocess.run(
            command,
            cwd=self.cwd,
            env={
                "PATH": os.pathsep.join(filter(None, places)),
                "HOME": str(self.cwd),
                "PYTHONWARNINGS": "ignore",
                **more,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def borrow(self, folders: list[str]) -> None:
        """Let the environment see packages of another one, behind its own."""
        (packages,) = self.bin.parent.glob("lib/python*/site-packages")
        (packages / "borrowed.pth").write_text("\n".join(folders) + "\n")


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel, installed; no clone can be seen from there."""
    return Installation(tmp_path_factory.mktemp("installation"), wheel)


@pytest.fixture(scope="module")
def anvil() -> str:
    """The folder of Anvil, which no package of Python brings."""
    return str(find_anvil(os.environ).parent)


@pytest.mark.real
@pytest.mark.clients
class TestInstalled:
    """In the order of a stranger's first minutes; PyTorch comes with the last test."""

    def test_tallystick__help__comes_from_the_installed_package(self, installation):
        code, said = installation.run("tallystick", "--help")
        assert (code, "infer" in said) == (0, True)
        code, said = installation.run("python", "-c", "import oracle; print(oracle.__file__)")
        assert said.startswith(str(installation.bin.parent))

    def test_up__no_anvil__names_the_command_that_brings_it(self, installation):
        code, said = installation.run("tallystick", "up", "--detach")
        assert code != 0
        assert "npm install @foundry-rs/anvil-" in said

    def test_up__no_torch__deploys_and_lists(self, installation, anvil):
        code, said = installation.run("tallystick", "up", "--detach", path=anvil)
        try:
            assert code == 0, said
            assert installation.run("tallystick", "model", "list") == (0, "no models yet\n")
            _, said = installation.run("tallystick", "doctor")
            assert "pip install 'tallystick[worker]'" in said
        finally:
            installation.run("tallystick", "down")

    def test_worker__no_torch__says_so_and_takes_no_message(self, installation):
        code, said = installation.run("python", "-m", "worker", "--role", "infer")
        assert code == 72  # EX_OSFILE
        assert "PyTorch is not installed, and the queues infer need it" in said
        assert "no message was taken" in said

    def test_readme_walk__with_torch__is_answered_and_paid(self, installation, anvil):
        installation.borrow(site.getsitepackages())  # 700 MB that need not be installed twice
        walk = shell("README.md").replace('"$PWD/.venv/bin:$PATH"', '"$PATH"')
        script = f"set -euxo pipefail\nmkdir build\ntrap 'tallystick down' EXIT\n{walk}"
        code, said = installation.run("bash", "-c", script, path=anvil)
        assert code == 0, said[-3000:]
        assert "answered and paid" in said

    def test_demo__with_torch__tells_the_whole_story(self, installation, anvil):
        code, said = installation.run("tallystick", "demo", path=anvil)
        assert code == 0, said[-3000:]
        assert "0 of them reverted" in said
