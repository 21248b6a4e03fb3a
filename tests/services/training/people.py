"""A version of digits, three participants with rows of their own, and the phases of their round.

Knows nothing of what is right: the round is played by the services under test.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from oracle.chain.anvil import dev_account
from oracle.chain.wallet import Wallet
from oracle.services import balances, publishing
from oracle.services.network import Network
from oracle.services.publishing import SaleTerms
from oracle.services.training import joining, rounds
from oracle.services.training.joining import LocalPlan, Participated
from oracle.services.training.rounds import TrainingPhase, TrainingPlan
from oracle.types import Amount
from tests.services.conftest import DOLLAR, World
from tests.worker.training.digits import model, rows

PLAN = TrainingPlan(
    clip=20_000,
    least_clients=2,
    most_clients=4,
    commit_period=600,
    reveal_period=300,
    serve_period=200,
    aggregate_period=600,
    challenge_period=400,
    reward=Amount(30 * DOLLAR + 2),
    fee=Amount(3 * DOLLAR),
)
LOCAL = LocalPlan(steps=6, learning_rate=0.1, batch=16)
MONEY = Amount(500 * DOLLAR)


@dataclass(frozen=True)
class TrainingPlay:
    """What the tests drive. All share a home, so that a base is computed once."""

    world: World
    folder: Path
    funded: set[str] = field(default_factory=set)

    @property
    def network(self) -> Network:
        return self.world.network

    def person(self, number: int) -> tuple[Network, Wallet]:
        """Return a person's network and wallet, with money."""
        wallet = Wallet(self.network.rpc, dev_account(10 + number))
        if wallet.address not in self.funded:
            self.funded.add(wallet.address)
            balances.fund(self.network, wallet.address, MONEY)
        return replace(self.network), wallet

    def publish(self) -> tuple[int, int]:
        """Publish the version that rounds begin with; return model and version."""
        folder = self.folder / "digits"
        folder.mkdir()
        save_file(dict(model().state_dict()), folder / "model.safetensors")
        description = {
            "name": "digits",
            "runtime": {
                "format": "safetensors", "entry": "model.safetensors",
                "architecture": "digits_cnn", "options": {"width": 4},
            },
            "inputs": [{"name": "image", "dtype": "F32", "shape": [None, 1, 8, 8]}],
            "outputs": [{"name": "logits", "dtype": "F32", "shape": [None, 10]}],
            "tolerance": 1000,
        }  # fmt: skip
        (folder / "model.json").write_text(json.dumps(description))
        terms = SaleTerms(fee=Amount(DOLLAR), challenge_window=60)
        done = publishing.publish(self.network, self.world.owner, folder, terms)
        balances.fund(self.network, self.world.owner.address, MONEY)
        return done.model_id, done.version

    def open(self, plan: TrainingPlan = PLAN) -> int:
        model_id, version = self.publish()
        opened = rounds.open_round(self.network, self.world.owner, model_id, version, plan=plan)
        return opened.round_id

    def data(self, number: int) -> Path:
        """Return a file of a person's own rows."""
        part = rows(120 * number, 40 + 10 * number)
        path = self.folder / f"rows-{number}.npz"
        np.savez(path, image=part.inputs["image"].numpy(), labels=part.labels.numpy())
        return path

    def join(self, round_id: int, number: int) -> Participated:
        network, wallet = self.person(number)
        return joining.join(network, wallet, round_id, data=self.data(number), plan=LOCAL)

    def collect(self, round_id: int, people: int = 3) -> None:
        """Take a round to the end of its reveals."""
        for number in range(people):
            self.join(round_id, number)
        self.pass_phase(round_id)
        for number in range(people):
            self.join(round_id, number)
        self.pass_phase(round_id)

    def pass_phase(self, round_id: int) -> None:
        """Go to the end of the phase."""
        until = rounds.show(self.network, round_id).until
        self.world.pass_time(until - self.network.history.now())

    def phase(self, round_id: int) -> TrainingPhase:
        return rounds.show(self.network, round_id).phase

    def pass_to(self, round_id: int, phase: TrainingPhase) -> None:
        """Go on, phase by phase."""
        while self.phase(round_id) is not phase:
            self.pass_phase(round_id)
