"""Jobs of exact steps on disk: what a trainer writes, whoever has it does again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle.errors import ConfigInvalid, DigestMismatch, InputInvalid, NotFound, TallystickError
from oracle.training.exact_job import StepRecord, history_root
from oracle.types import Bytes32
from worker.errors import ModelUnsupported
from worker.exact.training import folder, from_job
from worker.exact.training.__main__ import main
from worker.exact.training.verify import verify

STEPS = 12
JOB: dict[str, Any] = {
    "model": {"builder": "examples.training.digits:mlp", "options": {"width": 4, "hidden": 1}},
    "data": ["rows.npz"], "inputs": ["image"], "target": "label", "rows": [0, 64],
    "held_out": [64, 72], "optimizer": {"name": "sgd", "learning_rate": 0.5}, "batch": 16,
    "steps": STEPS, "seed": 3,
}  # fmt: skip


def told(path: Path, **changed: Any) -> Path:
    """Write a job with its rows; return its path."""
    draw = np.random.default_rng(0)
    image = draw.random((72, 1, 8, 8)).astype(np.float32) * changed.pop("most", 1)
    np.savez(path / "rows.npz", image=image, label=draw.integers(0, 10, 72))
    (path / "job.json").write_text(json.dumps({**JOB, **changed}))
    return path / "job.json"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return told(tmp_path_factory.mktemp("job"))


@pytest.fixture
def done(job: Path, tmp_path: Path) -> Path:
    assert main([str(job), str(tmp_path / "done"), "--trust-builder"]) == 0
    return tmp_path / "done"


def rewrite(done: Path, number: int, record: StepRecord) -> None:
    """Put another record into a history, and stand for it."""
    _, records = folder.read(done)
    records = (*records[:number], record, *records[number + 1 :])
    (done / folder.HISTORY).write_bytes(b"".join(one.state + one.trace for one in records))
    body = json.loads((done / folder.JOB).read_text())
    body["history"] = "0x" + history_root(records).hex()
    (done / folder.JOB).write_text(json.dumps(body))


def test_train__a_job__says_what_was_reached(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(job), str(tmp_path / "done"), "--trust-builder"]) == 0

    *progress, last = capsys.readouterr().out.splitlines()
    said = json.loads(last)
    assert progress[-1] == f"steps {STEPS}/{STEPS}"
    assert said["steps"] == STEPS
    assert said["parameters"] == 64 * 4 + 4 + 4 * 10 + 10
    assert 0 <= said["accuracy"] <= 1
    assert Path(said["weights"]).is_file()


def test_train__again__is_the_same_history(job: Path, done: Path, tmp_path: Path) -> None:
    assert main([str(job), str(tmp_path / "again"), "--trust-builder"]) == 0

    for path in done.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_verify__honest_history__is_right(done: Path) -> None:
    assert verify(done)["wrong_step"] is None


def test_verify__another_state_or_trace__names_the_step(done: Path) -> None:
    _, records = folder.read(done)
    other = Bytes32(b"\x01" * 32)

    rewrite(done, 7, StepRecord(records[7].state, other))
    assert verify(done)["wrong_step"] == 7
    rewrite(done, 5, StepRecord(other, records[5].trace))
    assert verify(done)["wrong_step"] == 4


@pytest.mark.parametrize(
    "name", ["step.program", "constants.safetensors", "data.safetensors", "first.safetensors"]
)
def test_read__file_that_was_changed__is_refused(done: Path, name: str) -> None:
    body = bytearray((done / name).read_bytes())
    body[-1] ^= 1
    (done / name).write_bytes(body)

    with pytest.raises((DigestMismatch, InputInvalid)):
        folder.read(done)


def test_read__history_that_was_changed__is_refused(done: Path) -> None:
    body = (done / folder.HISTORY).read_bytes()

    for changed in (body[:-64], body[:-1], b"", body[:40] + b"\x01" + body[41:]):
        (done / folder.HISTORY).write_bytes(changed)
        with pytest.raises((DigestMismatch, InputInvalid)):
            folder.read(done)


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"program": 1}', '{"program": "0x12", "steps": "many"}']
)
def test_read__what_is_no_job__is_refused(done: Path, body: str) -> None:
    (done / folder.JOB).write_text(body)

    with pytest.raises(InputInvalid, match="no job of exact steps"):
        folder.read(done)


def test_read__file_that_is_not_there__is_named(done: Path) -> None:
    (done / "data.safetensors").unlink()

    with pytest.raises(NotFound, match=r"data\.safetensors"):
        folder.read(done)
    with pytest.raises(NotFound, match=r"job\.json"):
        folder.read(done / "nowhere")


def test_prepare__code_that_is_not_trusted__is_not_run(job: Path) -> None:
    with pytest.raises(ConfigInvalid, match="runs code"):
        from_job.prepare(job, trusted=False)


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"optimizer": {"name": "adamw", "learning_rate": 0.1}}, ModelUnsupported, "plain SGD"),
        (
            {"optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}},
            ModelUnsupported,
            "no momentum",
        ),
        ({"loss": "mse"}, ModelUnsupported, "cross entropy"),
        ({"model": {"architecture": "digits_cnn"}}, ModelUnsupported, "Sequential"),
        ({"batch": 12}, InputInvalid, "power of two"),
        ({"batch": 128}, InputInvalid, "no batch of 128"),
        ({"most": -1}, InputInvalid, "begins at 0"),
        ({"most": 300}, InputInvalid, "begins at 0"),
        ({"most": np.nan}, InputInvalid, "begins at 0"),
    ],
)
def test_prepare__job_without_integer_steps__is_refused(
    tmp_path: Path, changed: dict[str, Any], error: type[TallystickError], match: str
) -> None:
    with pytest.raises(error) as caught:
        from_job.prepare(told(tmp_path, **changed), trusted=True)

    assert match in f"{caught.value} {caught.value.hint}"
