"""Schemathesis over the OpenAPI document: no input, fitting or not, makes a server error."""

import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.clients]
ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "build" / "clients" / "bin" / "schemathesis"


def test_schemathesis__every_operation__never_a_server_error(door, tmp_path):
    if not (ROOT / "build" / "clients" / ".stamp").exists():
        pytest.skip("no build/clients: `make test-clients` makes it")
    done = subprocess.run(
        [
            PROGRAM, "run", f"{door.url}/openapi.json", "--checks", "not_a_server_error",
            "--header", f"Authorization: Bearer {door.mint('schemathesis', 500_000)}",
            "--max-examples", "20", "--phases", "examples,coverage,fuzzing", "--seed", "7",
            "--request-timeout", "30", "--workers", "1", "--no-color",
            "--exclude-path-regex", "/events$",  # streams that have no end
        ],
        capture_output=True, text=True, timeout=230, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
