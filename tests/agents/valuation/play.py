"""Rounds for data as service tests play them: on Anvil, from the opening to the seal."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from eth_abi.abi import encode

from oracle.agents.valuation.jobs_folder import Jobs
from oracle.chain.anvil import dev_account
from oracle.chain.arguments import DataOpening
from oracle.chain.bindings.data_rounds import RoundTerms
from oracle.chain.wallet import Wallet
from oracle.errors import Unavailable
from oracle.ipfs import data_sets
from oracle.merkle import keccak
from oracle.queue.messages import ValueMessage
from oracle.services import balances
from oracle.services.network import Network
from oracle.types import Amount, Bytes32
from oracle.valuation.rounds import RoundData
from tests.services.conftest import DOLLAR, World
from worker import faults
from worker.valuation import valuing

SALT = Bytes32(b"\x5a" * 32)
PERIOD = 1_000  # seconds of each phase


@dataclass
class Inline:
    """A queue whose worker is this process; `waiting` keeps messages until `work`."""

    folder: Path
    network: Network
    wanted: frozenset[str] = faults.NONE
    waiting: bool = False
    messages: list[ValueMessage] = field(default_factory=list)
    down: bool = False

    def generation(self) -> str:
        return "one"

    def send(self, message: ValueMessage, task_id: str) -> None:
        if self.down:
            raise Unavailable("the queue is down")
        self.messages.append(message)
        if not self.waiting:
            self.work()

    def work(self) -> None:
        while self.messages:
            folder = self.folder / self.messages.pop(0).job
            valuing.value(folder, self.network.ipfs, wanted=self.wanted, opinions=False)


@dataclass
class Round:
    """One round of the world's model, whose data are those of a `RoundData`."""

    world: World
    held: RoundData
    folder: Path
    id: int = 0

    @property
    def network(self) -> Network:
        return self.world.network

    def seal(
        self, *, served_too: bool = True, before_test: Callable[[], None] = lambda: None
    ) -> "Round":
        """Open, submit, reveal, number."""
        world, held, network = self.world, self.held, self.network
        if not world.network.registry.model_count():
            world.publish()
        chain, owner = network.data_rounds, world.owner
        people = [
            Wallet(network.rpc, dev_account(20 + c), chain_id=network.contracts.chain_id)
            for c in range(len(held.sets))
        ]
        for wallet in (owner, *people):
            balances.fund(network, wallet.address, Amount(10_000 * DOLLAR))
            wallet.send(network.token.approve(chain.address, Amount(2**255)))
        model = 1
        secret = (model, owner.address, SALT, held.test.root, held.test.rows)
        kinds = ["uint256", "address", "bytes32", "bytes32", "uint256"]
        terms = RoundTerms(
            held.test.width, held.params.k, held.params.tau_row, held.params.tau_test,
            held.test.rows, 64, 1 << 14, PERIOD, PERIOD, PERIOD, Amount(3 * DOLLAR),
            keccak(encode(kinds, secret)), SALT,
        )  # fmt: skip
        owner.send(chain.open_round(model, terms))
        self.id = chain.round_count()
        for contributor, data in zip(people, held.sets, strict=True):
            hidden = (self.id, contributor.address, SALT, data.root, data.rows)
            contributor.send(chain.submit(self.id, keccak(encode(kinds, hidden)), 0))
        world.pass_time(PERIOD)
        for index, data in enumerate(held.sets):
            cid = data_sets.publish(network.ipfs, data, self.folder) if served_too else SALT
            owner.send(chain.reveal(self.id, index, *DataOpening(data.root, data.rows, SALT, cid)))
        world.pass_time(PERIOD)
        before_test()
        cid = data_sets.publish(network.ipfs, held.test, self.folder)
        owner.send(chain.reveal_test(self.id, held.test.root, SALT, cid))
        world.pass_time(PERIOD)
        owner.send(chain.number(self.id, 100))
        return self

    def jobs(self, name: str, wanted: frozenset[str] = faults.NONE) -> tuple[Jobs, Inline]:
        """Return a valuator's folder, with a worker behind it."""
        folder = self.folder / name
        queue = Inline(folder, self.network, wanted)
        return Jobs(folder, queue, again=60.0), queue

    def stake(self, wallet: Wallet, dollars: int = 100) -> None:
        """Let somebody stake as a valuator."""
        amount = Amount(dollars * DOLLAR)
        balances.fund(self.network, wallet.address, amount)
        wallet.send(self.network.token.approve(self.network.valuations.address, amount))
        wallet.send(self.network.valuations.stake(amount))
