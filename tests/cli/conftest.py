"""A network for the command line: Anvil, the embedded IPFS node, keystores; one per file."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from oracle.chain import keystore
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.wallet import Wallet
from oracle.cli import main
from oracle.config import Settings, save_network
from oracle.ipfs import daemon
from oracle.services import balances, operators, publishing, wallets
from oracle.services.network import Network
from oracle.services.publishing import SaleTerms
from oracle.types import Amount
from tests.services.conftest import DESCRIPTION, DOLLAR
from tests.support import clock

BALLAST = bytes(range(256)) * 5000  # 1.2 MB: with it the file is two blocks and a root
Call = Callable[..., Any]


@cache
def weights() -> bytes:
    """An ONNX model that fits DESCRIPTION."""
    from onnx import TensorProto, helper

    def tensor(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "digits",
        [tensor("image", ["N", 1, 2, 2])],
        [tensor("logits", ["N", 3])],
        [
            helper.make_tensor("weight", TensorProto.FLOAT, (4, 3), [n / 12 for n in range(12)]),
            helper.make_tensor("ballast", TensorProto.UINT8, (len(BALLAST),), BALLAST, raw=True),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


@dataclass
class Town:
    """A running network; `blocks` is the IPFS node's folder, `folder` a model to publish."""

    home: Path
    network: Network
    blocks: Path
    folder: Path

    def wallet(self, name: str) -> Wallet:
        return self.network.wallet(name, "secret")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with Anvil() as anvil:
        clock.stop(anvil.rpc)
        node = daemon.start_embedded(home / "ipfs", log=home / "ipfs.log")
        try:
            contracts = deploy(Wallet(anvil.rpc, dev_account(9)), DeployConfig())
            settings = Settings(home, rpc_url=anvil.url, ipfs_api=node.api_url, contracts=contracts)
            save_network(settings)
            (home / "password").write_text("secret\n")
            for name in ("owner", "op1", "alice"):
                keystore.create(home / "keys" / f"{name}.json", lambda: "secret", scrypt_n=2)
            folder = home / "digits"
            folder.mkdir()
            (folder / "model.json").write_text(json.dumps(DESCRIPTION))
            (folder / "model.onnx").write_bytes(weights())
            yield Town(home, Network.open(settings), home / "ipfs" / "blocks", folder)
        finally:
            node.stop()


@pytest.fixture(scope="module")
def populated(world):
    """The network with an open model, an operator behind it, and money in alice's balance."""
    network = world.network
    for name in ("owner", "op1", "alice"):
        balances.fund(network, wallets.find(network.settings, name).address, Amount(50 * DOLLAR))
    owner, op1 = world.wallet("owner"), world.wallet("op1")
    sale = SaleTerms(fee=Amount(50_000), challenge_window=60)
    publishing.publish(network, owner, world.folder, sale)
    operators.register(network, op1, "")
    operators.stake(network, op1, Amount(20 * DOLLAR))
    operators.authorize(network, owner, 1, op1.address)
    balances.deposit(network, world.wallet("alice"), Amount(DOLLAR))
    return world


@pytest.fixture
def market(populated):
    """The populated network, put back after the test."""
    snapshot = populated.network.rpc.call("evm_snapshot")
    yield populated
    populated.network.rpc.call("evm_revert", snapshot)


@pytest.fixture
def tallystick(world, monkeypatch, capsys) -> Call:
    """Return a function that runs a command line and gives back its JSON document."""
    for name in list(os.environ):
        if name.startswith("TALLYSTICK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TALLYSTICK_HOME", str(world.home))
    monkeypatch.setenv("TALLYSTICK_PASSWORD_FILE", str(world.home / "password"))

    def call(*words: object, code: int = 0) -> Any:
        returned = main([*map(str, words), "--json"])
        captured = capsys.readouterr()
        assert returned == code, captured
        return json.loads(captured.out)

    return call
