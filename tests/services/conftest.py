"""What the service tests share: one Anvil and one deployment, put back after each test."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.wallet import Wallet
from oracle.config import Settings
from oracle.ipfs.memory import MemoryIpfs
from oracle.protocol import tensor
from oracle.services import balances, operators, publishing
from oracle.services.network import Network
from oracle.services.publishing import PublishedVersion, SaleTerms
from oracle.services.request_timeline import RequestInfo
from oracle.types import NO_CLAIM, ZERO32, Amount, Contracts, OperatorAnswer
from tests.support import clock

DOLLAR = 10**6
DESCRIPTION = {
    "name": "digits",
    "runtime": {"format": "onnx", "entry": "model.onnx"},
    "inputs": [{"name": "image", "dtype": "F32", "shape": [None, 1, 2, 2]}],
    "outputs": [{"name": "logits", "dtype": "F32", "shape": [None, 3]}],
    "parameters": [
        {"lane": 0, "name": "temperature", "minimum": 1, "maximum": 20, "default": 10, "scale": 10}
    ],
    "labels": ["zero", "one", "two"],
    "tolerance": 1000,
}


@dataclass(frozen=True)
class World:
    """A deployment with people on it; `folder` holds a model ready to publish."""

    network: Network
    ipfs: MemoryIpfs
    owner: Wallet
    operator: Wallet
    requester: Wallet
    stranger: Wallet
    folder: Path

    def publish(self, **sale: int) -> PublishedVersion:
        terms = SaleTerms(**{"fee": Amount(DOLLAR), "challenge_window": 60, **sale})
        return publishing.publish(self.network, self.owner, self.folder, terms)

    def serve(self, model_id: int, stake: int = 100) -> None:
        """Authorise the operator, with stake behind it."""
        balances.fund(self.network, self.operator.address, Amount(stake * DOLLAR))
        operators.register(self.network, self.operator, "")
        operators.stake(self.network, self.operator, Amount(stake * DOLLAR))
        operators.authorize(self.network, self.owner, model_id, self.operator.address)

    def prepay(self, amount: int) -> None:
        balances.fund(self.network, self.requester.address, Amount(amount))
        balances.deposit(self.network, self.requester, Amount(amount))

    def deliver(self, info: RequestInfo, logits: list[float]) -> bytes:
        """Answer as the operator's worker and submitter would."""
        data = tensor.encode({"logits": np.array([logits], np.float32)})
        root = self.ipfs.publish_bytes(data).sha256
        self.operator.send(
            self.network.market.deliver(info.request, NO_CLAIM, OperatorAnswer(root, ZERO32))
        )
        return data

    def pass_time(self, seconds: int) -> None:
        clock.pass_time(self.network.rpc, seconds)


@pytest.fixture(scope="session")
def anvil() -> Iterator[Anvil]:
    with Anvil() as running:
        clock.stop(running.rpc)
        yield running


@pytest.fixture(scope="session")
def contracts(anvil: Anvil) -> Contracts:
    return deploy(Wallet(anvil.rpc, dev_account(9)), DeployConfig())


@pytest.fixture
def world(anvil: Anvil, contracts: Contracts, tmp_path: Path) -> Iterator[World]:
    snapshot = anvil.rpc.call("evm_snapshot")
    clock.catch_up(anvil.rpc)
    settings = replace(Settings(tmp_path / "home"), rpc_url=anvil.url, contracts=contracts)
    ipfs = MemoryIpfs()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(DESCRIPTION))
    (folder / "model.onnx").write_bytes(b"weights of the first version")
    network = Network.over(settings, anvil.rpc, ipfs)
    people = (Wallet(anvil.rpc, dev_account(i)) for i in range(4))
    yield World(network, ipfs, *people, folder)
    anvil.rpc.call("evm_revert", snapshot)
