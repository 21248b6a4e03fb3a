"""What the chain tests share: one Anvil per module, and a deployment with people on it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.bindings.model_access import ModelAccess
from oracle.chain.bindings.model_registry import ModelRegistry
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.request_lens import RequestLens
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.rpc import Rpc
from oracle.chain.wallet import Wallet
from oracle.types import Contracts
from tests.support import clock


@dataclass(frozen=True)
class World:
    """A deployment, and wallets by role."""

    rpc: Rpc
    contracts: Contracts
    registry: ModelRegistry
    access: ModelAccess
    operators: OperatorRegistry
    market: InferenceMarket
    lens: RequestLens
    token: TestDollar
    owner: Wallet
    operator: Wallet
    requester: Wallet
    stranger: Wallet

    def snapshot(self) -> str:
        return str(self.rpc.call("evm_snapshot"))

    def pass_time(self, seconds: int) -> None:
        clock.pass_time(self.rpc, seconds)


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with Anvil() as running:
        clock.stop(running.rpc)
        yield running


@pytest.fixture(scope="module")
def world(anvil: Anvil) -> World:
    rpc = anvil.rpc
    owner, operator, requester, stranger = (Wallet(rpc, dev_account(i)) for i in range(4))
    contracts = deploy(owner, DeployConfig(min_challenge_window=1))
    return World(
        rpc,
        contracts,
        ModelRegistry(rpc, contracts.model_registry),
        ModelAccess(rpc, contracts.model_access),
        OperatorRegistry(rpc, contracts.operator_registry),
        InferenceMarket(rpc, contracts.inference_market),
        RequestLens(rpc, contracts.request_lens),
        TestDollar(rpc, contracts.token),
        owner,
        operator,
        requester,
        stranger,
    )
