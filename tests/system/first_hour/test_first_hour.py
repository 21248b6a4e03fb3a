"""A stranger with two models of their own, and docs/publishing.md: published, asked and paid.

The commands are those of the page, as they stand. At most twelve: a user gives up behind that.
"""

import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

MOST = 12  # commands; `export`, `mkdir` and assignments are none
FEE = Decimal("0.05")
SAY = re.compile(r"^(tallystick|python) .*$", re.MULTILINE)


def walk() -> str:
    """Return all shell blocks of the page, in order."""
    page = (ROOT / "docs" / "publishing.md").read_text()
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL))


def test_walk__commands__are_at_most_twelve():
    assert len(SAY.findall(walk())) <= MOST


@pytest.mark.real
def test_walk__as_it_stands__both_models_are_asked_and_paid(tmp_path: Path) -> None:
    look = "\n".join(f"tallystick model show {name} --json" for name in ("wine", "wine-onnx"))
    script = f"set -euo pipefail\ntrap 'tallystick down' EXIT\n{walk()}\necho ANSWERS\n{look}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    done = subprocess.run(
        ["bash", "-c", script.replace("build/", f"{tmp_path}/build/")],
        cwd=ROOT,
        env={**kept, "TALLYSTICK_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    said, _, shown = done.stdout.partition("ANSWERS\n")
    assert said.count("nobody may serve it yet") == 2
    assert said.count("state        answered and paid") == 2, said[-3000:]
    assert "Traceback" not in said
    decoder, models = json.JSONDecoder(), []
    shown = shown.strip()
    while shown.startswith("{"):
        found, end = decoder.raw_decode(shown)
        models.append(found["model"])
        shown = shown[end:].strip()
    wine, wine_onnx = models
    assert (wine["name"], wine_onnx["name"]) == ("wine", "wine-onnx")
    assert Decimal(wine["owner_earnings"]) == 0  # collected
    assert 0 < Decimal(wine_onnx["owner_earnings"]) < FEE
