"""A tampered float answer is convicted by three members, each a process of its own with a worker.

Nothing is timed: the chain's clock is moved when all have committed, and when all have revealed.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from oracle.chain import keystore
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.committee import BallotState, Finding, Stage
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.wallet import Wallet
from oracle.config import Settings, save_network
from oracle.ipfs import daemon
from oracle.protocol import tensor
from oracle.services import (
    balances,
    committee,
    inference,
    operators,
    publishing,
    quoting,
    requests,
)
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.publishing import SaleTerms
from oracle.services.quoting import Ask
from oracle.services.request_timeline import RequestState
from oracle.types import NO_CLAIM, ZERO32, Amount, OperatorAnswer
from tests.support import clock
from tests.support.waiting import exit_code, wait_until
from tests.worker.builders import SmallNet

pytestmark = pytest.mark.real

DOLLAR = 10**6
HOUR = 3600
MEMBERS = ("ada", "ben", "cleo")
CONFIG = DeployConfig(
    max_dispute_age=8 * HOUR, unbonding_delay=12 * HOUR,
    draw_period=600, commit_period=HOUR, reveal_period=600, appeal_period=600, tally_period=60,
)  # fmt: skip
INPUT = [[0.5, -1.0, 2.0, 0.25]]


@dataclass
class Town:
    home: Path
    network: Network
    owner: Wallet
    operator: Wallet
    requester: Wallet
    challenger: Wallet
    truth: np.ndarray

    def wallet(self, name: str) -> Wallet:
        return self.network.wallet(name, "secret")

    def pass_time(self, seconds: int) -> None:
        clock.pass_time(self.network.rpc, seconds)


def folder_of(home: Path, net: torch.nn.Module) -> Path:
    folder = home / "model"
    folder.mkdir()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 4),)), folder / "net.pt2")
    described = {
        "name": "net",
        "runtime": {"format": "torch.export", "entry": "net.pt2"},
        "inputs": [{"name": "x", "dtype": "F32", "shape": [1, 4]}],
        "outputs": [{"name": "y", "dtype": "F32", "shape": [1, 3]}],
        "tolerance": 10_000,
    }
    (folder / "model.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def town(tmp_path):
    net = SmallNet().eval()
    with Anvil() as anvil:
        clock.stop(anvil.rpc)
        node = daemon.start_embedded(tmp_path / "ipfs", log=tmp_path / "ipfs.log")
        try:
            contracts = deploy(Wallet(anvil.rpc, dev_account(9)), CONFIG)
            settings = Settings(
                tmp_path, rpc_url=anvil.url, ipfs_api=node.api_url, contracts=contracts
            )
            save_network(settings)
            network = Network.open(settings)
            people = [Wallet(anvil.rpc, dev_account(number)) for number in range(4)]
            with torch.no_grad():
                truth = net(torch.tensor(INPUT)).numpy()
            made = Town(tmp_path, network, *people, truth)
            sale = SaleTerms(fee=Amount(DOLLAR), challenge_window=HOUR)
            publishing.publish(network, made.owner, folder_of(tmp_path, net), sale)
            _people(made)
            yield made
        finally:
            node.stop()


def _people(town: Town) -> None:
    network = town.network
    for wallet in (town.operator, town.requester):
        balances.fund(network, wallet.address, Amount(100 * DOLLAR))
    operators.register(network, town.operator, "")
    operators.stake(network, town.operator, Amount(50 * DOLLAR))
    operators.authorize(network, town.owner, 1, town.operator.address)
    balances.deposit(network, town.requester, Amount(10 * DOLLAR))
    (town.home / "password").write_text("secret\n")
    for name in MEMBERS:
        keystore.create(town.home / "keys" / f"{name}.json", lambda: "secret", scrypt_n=2)
        balances.fund(network, town.wallet(name).address, Amount(100 * DOLLAR))
        committee.enlist(network, town.wallet(name), Amount(20 * DOLLAR))
    town.pass_time(10)


def tampered(town: Town) -> bytes:
    """Deliver an answer in which one number is wrong, and call the committee."""
    network = town.network
    wanted = Ask(Selected(1, None), json.dumps(INPUT))
    prepaid = quoting.quote(network, town.requester.address, wanted, stdin=lambda: b"")
    request_id = inference.ask(network, town.requester, prepaid).request_id
    wrong = town.truth.copy()
    wrong[0, 1] += 1e-3
    root = network.ipfs.publish_bytes(tensor.encode({"y": wrong})).sha256
    info = requests.show(network, request_id)
    town.operator.send(network.market.deliver(info.request, NO_CLAIM, OperatorAnswer(root, ZERO32)))
    committee.challenge(network, town.challenger, request_id)
    for _ in range(3):
        network.rpc.call("evm_mine")
    return request_id


@pytest.fixture
def members(town):
    """Start `tallystick committee run` three times."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    running = []
    for name in MEMBERS:
        command = ["committee", "run", "--key", name, "--password-file", "password"]
        with (town.home / f"{name}.log").open("wb") as log:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-c", "from oracle.cli import main; raise SystemExit(main())",
                     *command],
                    cwd=town.home, stdout=log, stderr=log,
                    env={**inherited, "TALLYSTICK_HOME": str(town.home)},
                )
            )  # fmt: skip
    yield running
    for process in running:
        process.terminate()
    for process in running:
        assert exit_code(process) == 0


def waited(town, what):
    """Wait for the members; whatever one of them logs is progress."""
    logs = [town.home / f"{name}.log" for name in MEMBERS]
    wait_until(
        what,
        lambda: "\n".join(log.read_text()[-2000:] for log in logs),
        progress=lambda: [log.stat().st_size for log in logs],
    )


def test_run__tampered_answer__three_processes_convict_the_operator(town, members):
    request_id = tampered(town)
    chain = town.network.committee
    addresses = [town.wallet(name).address for name in MEMBERS]

    def ballots():
        return [chain.ballot_of(request_id, 0, address) for address in addresses]

    waited(town, lambda: all(ballot.state is not BallotState.NONE for ballot in ballots()))
    town.pass_time(HOUR)
    waited(town, lambda: all(ballot.finding for ballot in ballots()))
    assert len({ballot.activation for ballot in ballots()}) == 1
    town.pass_time(600)
    waited(town, lambda: chain.dispute_of(request_id).stage is Stage.CLOSED)
    assert chain.dispute_of(request_id).finding is Finding.MISMATCH
    assert requests.show(town.network, request_id).state is RequestState.CONVICTED
    assert town.network.operators.stake_of(town.operator.address).staked < 50 * DOLLAR
    waited(town, lambda: all(town.network.seats.reward_of(address) > 0 for address in addresses))
