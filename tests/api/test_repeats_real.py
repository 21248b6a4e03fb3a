"""Clients that repeat what takes long, and requests that no operator can answer."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.conftest import FEE, GIVEN, INFER, publish
from tests.worker.builders import write_digits

pytestmark = pytest.mark.real
TOLD = 2.0  # seconds from a worker's report until everybody who waits knows it


@pytest.mark.parametrize(
    ("path", "body"),
    [(INFER, {}), ("/api/requests", {"model": "digits"})],
    ids=["kserve", "rest"],
)
def test_infer__same_body_by_many_at_once__is_paid_once(door, path, body):
    name = f"impatient {path}"
    asked = {**body, "inputs": [{**GIVEN, "data": [0.125] * 64}]}
    with door.client(door.mint(name)) as client, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(path, json=asked), range(4)))
        assert all(answer.is_success for answer in answers)
        assert door.spent(name) == FEE
        fresh = client.post(path, json=asked, headers={"Idempotency-Key": "another, please"})
        assert fresh.is_success
    assert door.spent(name) == 2 * FEE


@pytest.fixture(scope="module")
def broken(door, tmp_path_factory):
    """A model whose answer has another shape than its manifest promises."""
    outputs = [{"name": "logits", "dtype": "F32", "shape": [None, 11]}]
    folder = write_digits(
        tmp_path_factory.mktemp("models") / "broken", outputs=outputs, name="broken"
    )
    publish(door.devnet, folder)
    return "broken"


def test_infer__operator_cannot__is_told_with_the_reason_and_the_refund(door, client, broken):
    answered = client.post(f"/v2/models/{broken}/infer", json={"inputs": [GIVEN]})
    problem = answered.json()
    assert (answered.status_code, problem["code"]) == (424, "AnswerFailed"), answered.text
    assert "operator alpha cannot answer" in problem["detail"]
    assert "[1, 10]" in problem["detail"] or "logits" in problem["detail"]
    assert "the fee comes back" in problem["hint"]
    begun = time.monotonic()
    again = client.post(f"/v2/models/{broken}/infer", json={"inputs": [GIVEN]})
    assert (again.status_code, again.json()["detail"]) == (424, problem["detail"])
    assert time.monotonic() - begun < TOLD  # it was known: no second request was made


def test_events__operator_cannot__says_so_within_two_seconds(client, broken):
    asked = {"model": broken, "inputs": [{**GIVEN, "data": [0.25] * 64}]}
    place = client.post("/api/requests", json=asked).headers["location"]
    with client.stream("GET", f"{place}/events") as stream:
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: ") and name == "failed":
                told = json.loads(line.removeprefix("data: "))
                break
    assert time.time() - told["at"] < TOLD
    assert told["operator"] == "alpha"
    assert "logits" in told["reason"]
    assert told["refund_after"] > time.time()


def test_infer_wait__operator_cannot__ends_with_the_reason_and_the_refund(door, broken, tmp_path):
    from oracle.services import balances

    devnet = door.devnet
    balances.deposit(devnet.network, devnet.wallet("admin"), 10**6)
    given = tmp_path / "image.json"
    given.write_text(json.dumps([[[[0.75] * 8] * 8]]))
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "infer", broken, "--input", given, "--wait", "--yes",
         "--key", "admin"],
        env={
            **environ,
            "TALLYSTICK_HOME": str(devnet.settings.home),
            "TALLYSTICK_PASSWORD_FILE": str(devnet.settings.home / "password"),
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    told = " ".join(done.stderr.split())
    assert "cannot be answered: operator alpha: " in told
    assert "`tallystick request cancel 0x" in told
