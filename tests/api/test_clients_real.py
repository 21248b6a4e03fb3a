"""Other people's clients, unchanged, against a running gateway."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from examples.minilm import build as minilm_build
from tests.api.conftest import DOLLAR, FEE, GIVEN, INFER, publish
from tests.api.x402_payer import Payer, decoded, post

pytestmark = [pytest.mark.real, pytest.mark.clients]
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build" / "clients" / "bin" / "python"


@pytest.fixture(scope="module", autouse=True)
def environment():
    """The clients' own environment."""
    if not (PYTHON.parent.parent / ".stamp").exists():
        pytest.skip("no build/clients: `make test-clients` makes it")


@pytest.fixture(scope="module")
def minilm(door, tmp_path_factory):
    """The sentence model, published."""
    try:
        folder = minilm_build.build(tmp_path_factory.mktemp("minilm"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return publish(door.devnet, folder)


def run(name, door, secret):
    program = ROOT / "tests" / "api" / "clients" / f"{name}.py"
    done = subprocess.run(
        [PYTHON, program, door.url, secret],
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_tritonclient__unchanged__asks_and_is_refused_in_its_words(door):
    found = run("kserve", door, door.secret)
    assert found["live"]
    assert found["ready"]
    assert found["model_ready"]
    assert not found["nobody_ready"]
    assert (found["server"], found["shape"]) == ("tallystick", [-1, 1, 8, 8])
    assert (found["id"], found["version"], found["rows"]) == ("mine", "1", 2)
    assert (found["dtype"], found["agree"]) == ("float32", True)
    assert found["without_key"].startswith("402 an answer of digits costs")
    assert found["compressed"] == [True, True]
    for row, scores in zip(found["best"], found["scores"], strict=True):
        places = [int(text.split(":")[1]) for text in row]
        assert places == sorted(range(10), key=lambda n, of=scores: -of[n])[:3]
        assert row[0].startswith(f"{max(scores):f}:")
    assert found["same_best"]
    name, inputs, outputs = found["config"]
    assert name == "digits"
    assert inputs == [{"name": "image", "data_type": "TYPE_FP32", "dims": [-1, 1, 8, 8]}]
    assert outputs[0]["dims"] == [-1, 10]
    assert {"name": "digits", "version": "1", "state": "READY", "reason": ""} in found["index"]
    assert found["async"] == 16
    assert found["counted"] == 16
    assert found["nanoseconds"] > 0
    assert "digits" in found["statistics"]
    assert found["unknown"].startswith("404 there is no model called 'nobody'")


def test_openai__unchanged__embeds_and_is_refused_in_its_words(door, minilm):
    secret = door.mint("embeddings", 10 * DOLLAR)
    found = run("embeddings", door, secret)
    assert set(found["models"]) == {"digits", "all-MiniLM-L6-v2"}
    assert found["model"] == "all-MiniLM-L6-v2"
    assert found["shape"] == [3, 384]
    assert found["cosines"][0] > 0.5 > found["cosines"][1]
    assert found["same"]
    assert (found["one"], found["tokens"]) == (1, 4)
    assert 15 <= found["usage"] <= 40
    assert found["headers"]["tallystick-model"] == f"{minilm}@1"
    rows = 65_536 // (4 * 384)  # that an answer has room for, its head not counted
    assert found["few"] == [[200, 384], -(-200 // rows)]
    assert found["many"] == [[2048, 384], -(-2048 // rows)]
    assert found["same_in_both"]
    assert found["shortened"] == [[3, 64], True]
    assert found["twice"]
    assert found["calls"] == 64
    # Repeated calls cost nothing: `default`, `floats` and `short` are one request, so are a
    # client's retries, and the first rows of `many` were asked for `few`
    both = found["few"][1] + found["many"][1] - 200 // rows
    asked = 1 + 1 + 1 + 1 + both + 1 + 64 + 1
    assert door.spent("embeddings") == asked * FEE
    assert found["too_long"] == ["BadRequestError", "InputInvalid"]
    assert found["too_many_rows"] == ["BadRequestError", "InputInvalid"]
    assert found["too_wide"] == ["BadRequestError", "InputInvalid"]
    assert found["forged"] == ["AuthenticationError", "KeyRefused"]
    assert found["empty"] == ["BadRequestError", "InputInvalid"]
    assert found["picture"] == ["BadRequestError", "InputInvalid"]
    assert found["unknown"] == ["NotFoundError", "NotFound"]
    assert found["chat"] == ["BadRequestError", "InputInvalid"]  # MiniLM writes no text


def test_embeddings__paid_by_x402__are_those_of_a_key(door, minilm):
    """One payment answers one request: what does not fit in one is refused, and nothing is paid."""
    payer, path = Payer(door).fund(2 * FEE), "/v1/embeddings"
    body = {"model": "all-MiniLM-L6-v2", "input": ["A cat sits on the mat.", "Rain."]}
    accepts = payer.demanded(path, body)
    many = {**body, "input": [f"sentence {n}" for n in range(200)]}
    refused = post(door, path, many, payer.header(accepts))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InputInvalid")
    answered = post(door, path, body, payer.header(accepts))
    with door.client() as client:
        same = client.post(path, json=body).json()
    assert [row["embedding"] for row in answered.json()["data"]] == [
        row["embedding"] for row in same["data"]
    ]
    assert decoded(answered.headers["payment-response"])["success"]
    assert payer.tokens == FEE


def x402(door, tmp_path, payer, at_most):
    """Run the line of docs/x402.md that runs the example: the package's own client."""
    (line,) = re.findall(
        r"^python (.*?) \\\n +(.*)$", (ROOT / "docs" / "x402.md").read_text(), re.M
    )
    words = shlex.split(" ".join(line))
    contracts = door.devnet.network.contracts
    put = {"at-most": str(at_most), "asset": f"eip155:{contracts.chain_id}/{contracts.token}"}
    for name, value in put.items():
        words[words.index(f"--{name}") + 1] = value
    words[:2] = [str(ROOT / words[0]), door.url + INFER]
    (tmp_path / "question.json").write_text(json.dumps({"inputs": [GIVEN]}))
    (tmp_path / "payer.key").write_text(payer.account.key.hex())
    return subprocess.run(
        [PYTHON, *words], cwd=tmp_path, capture_output=True, text=True, timeout=1800, check=False
    )


def test_x402__unchanged__pays_and_is_answered(door, client, tmp_path):
    payer = Payer(door).fund(FEE)
    done = x402(door, tmp_path, payer, FEE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    same = client.post(INFER, json={"inputs": [GIVEN]}).json()
    assert found["answer"]["outputs"] == same["outputs"]
    assert found["paid"]["success"]
    assert (found["paid"]["payer"], found["paid"]["amount"]) == (payer.account.address, str(FEE))
    assert payer.tokens == 0


def test_x402__unchanged_and_dearer_than_allowed__does_not_pay(door, tmp_path):
    payer = Payer(door).fund(FEE)
    done = x402(door, tmp_path, payer, FEE - 1)
    assert done.returncode != 0
    assert "allowed_assets" in done.stderr
    assert payer.tokens == FEE


def test_x402__discovery_by_its_bazaar__lists_what_can_be_paid(door):
    found = run("bazaar", door, "")
    assert found["resource"] == door.url + INFER
    assert (found["scheme"], found["amount"]) == ("exact", str(FEE))
