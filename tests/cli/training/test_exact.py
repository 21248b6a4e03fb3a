"""`tallystick train exact` and `verify`: exit codes, and what is said."""

import json

import pytest

from examples.training import digits
from oracle.cli import main

pytestmark = pytest.mark.real


@pytest.fixture
def job(tmp_path):
    """Return the example's job, of few steps."""
    path = digits.write(tmp_path / "training").with_name("exact.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": 5}))
    return path


def run(capsys, *words, code=0):
    returned = main(["train", *map(str, words), "--json"])
    captured = capsys.readouterr()
    assert returned == code, captured
    return json.loads(captured.out)


def test_verify__what_exact_wrote__right_and_wrong(capsys, job):
    trained = run(capsys, "exact", job, "--trust-builder")
    folder = job.with_name("exact-exact")
    checked = run(capsys, "verify", folder)
    told = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**told, "seed": "0x" + "07" * 32}))

    assert trained["folder"] == str(folder)
    assert (checked["history"], checked["wrong_step"]) == (trained["history"], None)
    assert "step 0 of 5 is wrong" in run(capsys, "verify", folder, code=76)["message"]


def test_exact__wrong_job__ends_with_the_code_of_its_fault(capsys, job, tmp_path):
    assert run(capsys, "exact", tmp_path / "none.json", code=66)["error"] == "NotFound"
    assert "--trust-builder" in run(capsys, "exact", job, code=78)["hint"]
    refused = run(capsys, "exact", job.with_name("digits.json"), code=65)
    assert "plain SGD" in refused["message"]
    assert run(capsys, "verify", tmp_path, code=66)["error"] == "NotFound"
