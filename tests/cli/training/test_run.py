"""`tallystick train run`: a job to its end by the command line alone, and what it refuses."""

import json

import pytest

from examples.training import digits
from oracle.cli import main

pytestmark = pytest.mark.real


@pytest.fixture
def job(tmp_path):
    """Return the example's job, of few steps."""
    path = digits.write(tmp_path / "training")
    short = {"steps": 20, "checkpoint_every": 10, "compare_every": 10}
    path.write_text(json.dumps({**json.loads(path.read_text()), **short}))
    return path


def run(capsys, *words, code=0):
    returned = main(["train", "run", *map(str, words), "--json"])
    captured = capsys.readouterr()
    assert returned == code, captured
    return json.loads(captured.out)


def test_run__digits__trained_and_gone_on_with(capsys, job):
    first = run(capsys, job, "--nproc", 2)
    body = json.loads(job.read_text())
    job.write_text(json.dumps({**body, "steps": 60}))
    longer = run(capsys, job, "--nproc", 2, "--mode", "fsdp")

    assert [step for step, _ in longer["losses"]] == [10, 20, 30, 40, 50, 60]
    assert longer["losses"][:2] == first["losses"]
    assert longer["held_out_loss"] < first["held_out_loss"]
    assert longer["weights"].endswith("training/digits-run/model.safetensors")


def test_run__wrong_job__ends_with_the_code_of_its_fault(capsys, job, tmp_path):
    assert run(capsys, tmp_path / "none.json", code=66)["error"] == "NotFound"
    untrusted = run(capsys, job.with_name("mlp.json"), code=78)
    assert "--trust-builder" in untrusted["hint"]
    body = json.loads(job.read_text())
    job.write_text(json.dumps({**body, "batch": 63}))
    refused = run(capsys, job, "--nproc", 2, code=65)
    assert refused["message"] == "a batch of 63 rows cannot be divided by 2 ranks"
