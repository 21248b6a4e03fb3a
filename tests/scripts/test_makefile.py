"""The Makefile: what its commands run with, whatever the caller's environment says."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_make__bytecode_not_to_be_written__is_written() -> None:
    """Else each of the suite's hundreds of processes compiles what it imports."""
    done = subprocess.run(
        ["make", "-s", "--eval", "show: ; @env", "show"],
        cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "HOME=" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout
