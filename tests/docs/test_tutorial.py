"""The README's walk and the tutorial, as they stand, one after the other on one network.

Other tests look at the same network, so the fixture `home` gives the first command and the last.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, shell


@pytest.mark.real
def test_readme_and_tutorial__as_they_stand__work(home: Path, tmp_path: Path) -> None:
    walk = shell("README.md") + shell("docs/tutorial.md")
    (tmp_path / "build").mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    for given in ("tallystick up --detach\n", "tallystick down\n"):
        assert walk.count(given) == 1
        walk = walk.replace(given, "")
    script = f"set -euxo pipefail\n{walk}"
    done = subprocess.run(
        ["bash", "-c", script.replace("build/", f"{tmp_path}/build/")],
        cwd=ROOT,
        env={**kept, "TALLYSTICK_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "answered and paid" in done.stdout
    assert "(as on chain)" in done.stdout
