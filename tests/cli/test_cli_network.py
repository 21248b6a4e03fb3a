"""The command line against a real chain and the embedded IPFS node: a model's whole life.

One network for the file; the tests run in the order of the story and each asserts on its own part.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from oracle.chain import keys
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.wallet import Wallet
from oracle.cli import main
from oracle.config import Settings, save_network
from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.protocol import tensor
from oracle.services import requests
from oracle.services.context import Context
from oracle.types import NO_CLAIM, ZERO32
from tests.services.conftest import DESCRIPTION

pytestmark = pytest.mark.real
IMAGE = "[[[[0.0, 0.5], [1.0, 0.25]]]]"
WEIGHTS = bytes(range(256)) * 5000  # 1.2 MB: two blocks and a root


@dataclass
class Network:
    """A running network and what the story has brought forth so far."""

    home: Path
    context: Context
    blocks: Path
    folder: Path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with Anvil() as anvil:
        node = daemon.start_embedded(home / "ipfs", log=home / "ipfs.log")
        try:
            contracts = deploy(Wallet(anvil.rpc, dev_account(9)), DeployConfig())
            settings = Settings(home, rpc_url=anvil.url, ipfs_api=node.api_url, contracts=contracts)
            save_network(settings)
            (home / "password").write_text("secret\n")
            for name in ("owner", "op1", "alice"):
                keys.create(home / "keys" / f"{name}.json", lambda: "secret", scrypt_n=2)
            folder = home / "digits"
            folder.mkdir()
            (folder / "model.json").write_text(json.dumps(DESCRIPTION))
            (folder / "model.onnx").write_bytes(WEIGHTS)
            yield Network(home, Context.open(settings), home / "ipfs" / "blocks", folder)
        finally:
            node.stop()


@pytest.fixture
def tallystick(network, monkeypatch, capsys):
    """Return a function that runs a command line and gives back its JSON document."""
    for name in list(os.environ):
        if name.startswith("TALLYSTICK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TALLYSTICK_HOME", str(network.home))
    monkeypatch.setenv("TALLYSTICK_PASSWORD_FILE", str(network.home / "password"))

    def call(*words, code=0):
        assert main([*map(str, words), "--json"]) == code, capsys.readouterr()
        return json.loads(capsys.readouterr().out)

    return call


def test_story__owner_publishes__and_it_verifies(network, tallystick):
    for name in ("owner", "op1", "alice"):
        assert tallystick("wallet", "fund", name, "50")["tokens"] == "50.00"
    done = tallystick(
        "model", "publish", network.folder, "--fee", "0.05", "--challenge-window", "1m",
        "--key", "owner",
    )  # fmt: skip
    assert (done["model_id"], done["version"], done["unchanged"]) == (1, 1, False)
    again = tallystick("model", "publish", network.folder, "--key", "owner")
    assert again["unchanged"]
    assert tallystick("model", "list")[0]["name"] == "digits"
    assert tallystick("model", "show", "digits")["manifest"]["labels"] == ["zero", "one", "two"]
    assert tallystick("model", "versions", "1")[0]["fee"] == "0.05"
    found = tallystick("model", "verify", "digits")
    assert found["versions"][0]["size"] == len(WEIGHTS)
    assert found["head"] == done["head"]


def test_story__operator_stakes_and_is_authorised(tallystick):
    tallystick("operator", "register", "--key", "op1")
    assert tallystick("operator", "stake", "20", "--key", "op1", "--yes")["free"] == "20.00"
    tallystick("operator", "authorize", "1", "op1", "--key", "owner")
    assert tallystick("operator", "status", "op1")["models"] == [1]


def test_story__requester_is_refused_then_granted(tallystick):
    tallystick("access", "policy", "1", "on-request", "--key", "owner")
    refused = tallystick("infer", "1", "--input", IMAGE, "--key", "alice", "--yes", code=77)
    assert "has no access to model 1" in refused["message"]
    assert "tallystick access apply 1" in refused["hint"]
    tallystick("access", "apply", "1", "--note", "for school", "--key", "alice")
    waiting = tallystick("access", "show", "1")["wallets"][0]
    assert (waiting["status"], waiting["note"]) == ("applied", "for school")
    tallystick("access", "grant", "1", "alice", "--for", "1d", "--rate", "9/1h", "--key", "owner")
    assert tallystick("access", "show", "1", "--wallet", "alice")["allowed"]
    tallystick("access", "limits", "1", "--set", "temperature=0.5:1.5", "--key", "owner")
    assert tallystick("access", "limits", "1")["parameters"][0]["maximum"] == 1.5


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("9", "--input", IMAGE), 66, "no model 9"),
        (("1@2", "--input", IMAGE), 66, "no version 2"),
        (("1", "--input", IMAGE), 77, "prepaid balance is $0.00"),
        (("1", "--input", IMAGE, "--max-fee", "0.01"), 77, "above your limit of $0.01"),
        (("1", "--input", IMAGE, "--param", "temperature=9"), 65, "out of bounds"),
        (("1", "--input", IMAGE, "--param", "temperature=1.8"), 77, "Parameter lane 0"),
    ],
)
def test_infer__refused__says_why(tallystick, words, code, message):
    refused = tallystick("infer", *words, "--key", "alice", "--yes", code=code)
    assert message in refused["message"]


@pytest.mark.parametrize(
    ("source", "message"), [("[[1.0]]", "shape"), ("[[[[NaN, 0], [0, 0]]]]", "NaN")]
)
def test_infer__input_does_not_fit__spends_nothing(tallystick, source, message):
    tallystick("wallet", "deposit", "1", "--key", "alice", "--yes")
    before = tallystick("wallet", "balance", "alice")["prepaid"]
    refused = tallystick("infer", "1", "--input", source, "--key", "alice", "--yes", code=65)
    assert message in refused["message"]
    assert tallystick("wallet", "balance", "alice")["prepaid"] == before


def test_infer__nobody_agreed_to_pay__spends_nothing(tallystick, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    refused = tallystick("infer", "1", "--input", IMAGE, "--key", "alice", code=65)
    assert "no terminal to ask" in refused["message"]
    assert tallystick("request", "list", "--key", "alice") == []


def test_story__asked_answered_settled_collected(network, tallystick, tmp_path):
    context = network.context
    balance = float(tallystick("wallet", "balance", "alice")["prepaid"])
    asked = tallystick("infer", "digits", "--input", IMAGE, "--key", "alice", "--yes")
    request_id = asked["request_id"]
    assert tallystick("request", "show", request_id)["state"] == "requested"
    early = tallystick("request", "cancel", request_id, "--key", "alice", code=77)
    assert "can be cancelled from" in early["message"]

    info = requests.show(context, bytes.fromhex(request_id[2:]))
    data = tensor.encode({"logits": np.array([[0.1, 0.7, 0.2]], np.float32)})
    root = context.ipfs.publish_bytes(data).sha256
    context.wallet("op1", "secret").send(
        context.market.deliver(info.request, NO_CLAIM, root, ZERO32)
    )

    target = tmp_path / "answer.npz"
    answer = tallystick("request", "show", request_id, "--answer", "--output", target)
    assert answer["outputs"][0]["rows"][0]["top"][0]["label"] == "one"
    assert np.load(target)["logits"].shape == (1, 3)
    early = tallystick("request", "finalize", request_id, "--key", "alice", code=77)
    assert "can be challenged until" in early["message"]
    context.rpc.call("evm_increaseTime", 60)
    context.rpc.call("evm_mine")
    tallystick("request", "finalize", request_id, "--key", "op1")
    settled = tallystick("request", "list", "--key", "alice", "--state", "settled")
    assert [r["request_id"] for r in settled] == [request_id]
    assert float(tallystick("wallet", "balance", "alice")["prepaid"]) == balance - 0.05
    assert tallystick("operator", "status", "op1")["earned"] == "0.035"
    collected = tallystick("model", "collect", "1", "--key", "op1")
    assert collected["to"] == tallystick("model", "show", "1")["model"]["owner"]


def test_story__terms_change_and_versions_retire(tallystick):
    assert tallystick("model", "terms", "1", "--fee", "0.07", "--key", "owner")["fee"] == "0.07"
    refused = tallystick("model", "retire", "1", "--key", "owner", "--yes", code=65)
    assert refused["message"] == "say which version"
    stranger = tallystick("model", "retire", "1@1", "--key", "alice", "--yes", code=77)
    assert "does not own model 1" in stranger["message"]
    tallystick("model", "retire", "1@1", "--key", "owner", "--yes")
    refused = tallystick("infer", "1@1", "--input", IMAGE, "--key", "alice", "--yes", code=77)
    assert "retired" in refused["message"]


def test_verify__one_byte_changed_in_the_store__names_the_file(network, tallystick):
    client = network.context.ipfs
    assert isinstance(client, IpfsClient)
    block = max(network.blocks.rglob("*.data"), key=lambda path: path.stat().st_size)
    body = bytearray(block.read_bytes())
    body[1000] ^= 1
    block.write_bytes(bytes(body))
    refused = tallystick("model", "verify", "1", code=76)
    assert refused["error"] == "HistoryBroken"
    assert refused["message"].startswith("file model.onnx of version 1: ")
    assert tallystick("model", "verify", "1", "--records-only")["versions"]


def test_run__wrong_chain__is_a_matter_of_configuration(network, tallystick, monkeypatch, tmp_path):
    settings = network.context.settings
    elsewhere = replace(
        settings, home=tmp_path, contracts=replace(network.context.contracts, chain_id=1)
    )
    save_network(elsewhere)
    refused = tallystick("model", "list", "--home", tmp_path, code=78)
    assert "serves chain 31337, the contracts are on chain 1" in refused["message"]


def test_text__for_people__is_on_stdout(network, tallystick, capsys):
    for words in (
        ["wallet", "show", "alice"], ["wallet", "list"], ["model", "list"], ["model", "show", "1"],
        ["model", "versions", "1"], ["access", "show", "1"], ["access", "limits", "1"],
        ["operator", "status", "op1"], ["request", "list", "--key", "alice"],
    ):  # fmt: skip
        assert main(words) == 0
        captured = capsys.readouterr()
        assert captured.out.strip(), words
        assert captured.err == "", words
