"""A network with one operator, and a model folder built as docs/python.md says."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oracle.devnet.network import DevnetPlan, running

ROOT = Path(__file__).parents[2]
Script = Callable[..., str]


@pytest.fixture(scope="package")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    """Return a function that runs Python beside the folder `build` and returns what it printed."""
    folder = tmp_path_factory.mktemp("python")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}

    def run(*words: str | Path, **changes: str) -> str:
        environment = {**kept, "PYTHONPATH": str(ROOT), **changes}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(
        *("-m", "examples.digits.build", "build/digits", "--samples", "build/samples.json"),
        *("--calibration", "build/digits.npz"),
    )
    home = folder / "home"
    kept |= {"TALLYSTICK_HOME": str(home), "TALLYSTICK_PASSWORD_FILE": str(home / "password")}
    with running(DevnetPlan(home, operators=("alpha",)), environ={"PATH": os.environ["PATH"]}):
        yield run
