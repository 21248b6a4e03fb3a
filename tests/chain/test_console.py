"""docs/console.md: `brownie console` opens with everything deployed and named, as it says there."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.mark.real
@pytest.mark.timeout(900)
def test_console__transcript_of_the_docs__is_what_happens(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/console.md").read_text(), re.DOTALL)
    lines = "".join(blocks).splitlines()
    script = tmp_path / "transcript"
    script.write_text("".join(line[4:] + "\n" for line in lines if line.startswith(">>> ")))
    environment = os.environ | {"TERM": "dumb", "PYTHONUNBUFFERED": "1"}  # plain lines, in order
    with script.open() as stdin:
        done = subprocess.run(
            [str(ROOT / ".venv/bin/brownie"), "console"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    _expect(ANSI.sub("", done.stdout), lines)


def _expect(output: str, lines: list[str]) -> None:
    """Find what each input printed, input by input: the prompt echoes it."""
    at = output.index("Interactive mode enabled")
    for line in lines:
        if line.startswith(">>> "):
            at = output.index(line, at) + len(line)
        else:
            end = output.find(">>> ", at)
            answer = output[at : end if end > 0 else None]
            assert line in answer, f"{line!r} is not in {answer!r}"
