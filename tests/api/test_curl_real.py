"""The curl lines of docs/rest.md, as they stand but for the address, the key and the model."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
PAGE = (Path(__file__).parents[2] / "docs" / "rest.md").read_text()
SETTINGS = re.findall(r"^(?:auth|image)=.*$", PAGE, re.MULTILINE)
LINES = re.findall(r"^curl .*$", PAGE, re.MULTILINE)


def test_page__has_lines_to_replay():
    assert len(SETTINGS) == 2
    assert len(LINES) >= 4


@pytest.mark.parametrize("line", LINES)
def test_curl__line_of_the_page__is_answered(door, line):
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH")
    line = line.replace("http://127.0.0.1:8551", door.url).replace("digits-cnn", "digits")
    done = subprocess.run(
        ["bash", "-c", "\n".join([*SETTINGS, f"{line} --noproxy '*'"])],
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "KEY": door.secret},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout)
    assert "error" not in answered, answered
    assert "code" not in answered, answered
