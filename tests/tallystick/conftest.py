"""A folder built as docs/python.md says, and what runs Python there against the shared network."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oracle.devnet.network import Devnet

ROOT = Path(__file__).parents[2]
Script = Callable[..., str]


@pytest.fixture(scope="package")
def script(devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Script:
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
    home = devnet.settings.home
    kept |= {"TALLYSTICK_HOME": str(home), "TALLYSTICK_PASSWORD_FILE": str(home / "password")}
    return run
