"""A model's whole life through the command line alone, from an empty chain to the last cent."""

import numpy as np
import pytest

from oracle.protocol import tensor
from oracle.services import requests
from oracle.types import NO_CLAIM, ZERO32, OperatorAnswer
from tests.cli.conftest import weights
from tests.support import clock

pytestmark = pytest.mark.real
IMAGE = "[[[[0.0, 0.5], [1.0, 0.25]]]]"


def test_story__publish_apply_ask_answer_settle_collect(world, tallystick, tmp_path):
    publish(world, tallystick)
    serve(tallystick)
    apply_and_grant(tallystick)
    request_id = ask(tallystick)
    answer(world, request_id)
    read_settle_collect(world, tallystick, request_id, tmp_path / "answer.npz")


def publish(world, tallystick):
    for name in ("owner", "op1", "alice"):
        assert tallystick("wallet", "fund", name, "50")["tokens"] == "50.00"
    done = tallystick(
        "model", "publish", world.folder, "--fee", "0.05", "--challenge-window", "1m",
        "--key", "owner",
    )  # fmt: skip
    assert (done["model_id"], done["version"], done["unchanged"]) == (1, 1, False)
    assert tallystick("model", "publish", world.folder, "--key", "owner")["unchanged"]
    assert tallystick("model", "list")[0]["name"] == "digits"
    assert tallystick("model", "show", "digits")["manifest"]["labels"] == ["zero", "one", "two"]
    assert tallystick("model", "versions", "1")[0]["fee"] == "0.05"
    found = tallystick("model", "verify", "digits")
    assert found["versions"][0]["size"] == len(weights())
    assert found["head"] == done["head"]
    written = world.folder.parent / "digits.safetensors"
    words = ("model", "export", "digits@1", str(written), "--to", "safetensors")
    assert tallystick(*words)["bytes"] == written.stat().st_size
    assert "move it away" in tallystick(*words, code=65)["hint"]


def serve(tallystick):
    tallystick("operator", "register", "--key", "op1")
    assert tallystick("operator", "stake", "20", "--key", "op1", "--yes")["free"] == "20.00"
    tallystick("operator", "authorize", "1", "op1", "--key", "owner")
    assert tallystick("operator", "status", "op1")["models"] == [1]


def apply_and_grant(tallystick):
    tallystick("access", "policy", "1", "on-request", "--key", "owner")
    refused = tallystick("infer", "1", "--input", IMAGE, "--key", "alice", "--yes", code=77)
    assert "has no access to model 1" in refused["message"]
    assert "tallystick access apply 1" in refused["hint"]
    tallystick("access", "apply", "1", "--note", "for school", "--key", "alice")
    waiting = tallystick("access", "show", "1")["wallets"][0]
    assert (waiting["status"], waiting["note"]) == ("applied", "for school")
    tallystick("access", "grant", "1", "alice", "--for", "1d", "--rate", "9/1h", "--key", "owner")
    assert tallystick("access", "show", "1", "--wallet", "alice")["allowed"]


def ask(tallystick):
    refused = tallystick("infer", "1", "--input", IMAGE, "--key", "alice", "--yes", code=77)
    assert "prepaid balance is $0.00" in refused["message"]
    tallystick("wallet", "deposit", "1", "--key", "alice", "--yes")
    asked = tallystick("infer", "digits", "--input", IMAGE, "--key", "alice", "--yes")
    assert tallystick("request", "show", asked["request_id"])["state"] == "requested"
    early = tallystick("request", "cancel", asked["request_id"], "--key", "alice", code=77)
    assert "can be cancelled from" in early["message"]
    return asked["request_id"]


def answer(world, request_id):
    """What the operator's worker and submitter do, without them."""
    network = world.network
    info = requests.show(network, bytes.fromhex(request_id[2:]))
    data = tensor.encode({"logits": np.array([[0.1, 0.7, 0.2]], np.float32)})
    root = network.ipfs.publish_bytes(data).sha256
    world.wallet("op1").send(
        network.market.deliver(info.request, NO_CLAIM, OperatorAnswer(root, ZERO32))
    )


def read_settle_collect(world, tallystick, request_id, target):
    found = tallystick("request", "show", request_id, "--answer", "--output", target)
    assert found["outputs"][0]["rows"][0]["top"][0]["label"] == "one"
    assert np.load(target)["logits"].shape == (1, 3)
    early = tallystick("request", "finalize", request_id, "--key", "alice", code=77)
    assert "can be challenged until" in early["message"]
    clock.pass_time(world.network.rpc, 60)
    tallystick("request", "finalize", request_id, "--key", "op1")
    none = tallystick("request", "retry-callback", request_id, "--key", "alice", code=77)
    assert "No callback of request" in none["message"]
    settled = tallystick("request", "list", "--key", "alice", "--state", "settled")
    assert [r["request_id"] for r in settled] == [request_id]
    assert tallystick("wallet", "withdraw", "--key", "alice", "--yes")["tokens"] == "49.95"
    assert tallystick("operator", "status", "op1")["earned"] == "0.035"
    collected = tallystick("model", "collect", "1", "--key", "op1")
    assert collected["to"] == tallystick("model", "show", "1")["model"]["owner"]
