"""A model with a schema of data, people with files of it, and a valuator who computes here.

Knows nothing of what is right: the round is played by the services under test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oracle.chain.bindings.valuation_game import ValuationRoots
from oracle.chain.contract import Call
from oracle.chain.transactions import Receipt
from oracle.chain.wallet import Wallet
from oracle.ipfs import data_sets
from oracle.protocol.training import TrainingData
from oracle.services import balances, inference, quoting, requests
from oracle.services.data import advancing, contributions, listing, rounds
from oracle.services.data.advancing import Advanced
from oracle.services.data.contributions import Brought
from oracle.services.data.rounds import RoundPlan
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.quoting import Ask
from oracle.types import Amount
from oracle.valuation import reference
from oracle.valuation.dataset import DataSet
from oracle.valuation.jobs import Source
from oracle.valuation.rounds import Params, RoundData
from oracle.valuation.tables import Tables, build
from tests.services.conftest import DOLLAR, World

SCHEMA = TrainingData(
    columns=("a", "b", "c"), offset=(0.0,) * 3, scale=(1.0,) * 3, label="kind", labels=("no", "yes")
)
PLAN = RoundPlan(
    neighbours=3,
    row_tolerance=1,
    test_tolerance=0,
    max_contributions=8,
    max_rows=1_000,
    submit_period=600,
    reveal_period=300,
    test_period=300,
    reward=Amount(3 * DOLLAR),
)
MONEY = Amount(500 * DOLLAR)
IMAGE = "[[[[0.0, 0.5], [1.0, 0.25]]]]"


def rows(seed: int, count: int = 40, *, wrong: bool = False) -> list[tuple[int, int, int, str]]:
    """Return rows of two clouds that lie apart; `wrong` ones have the other's label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    points = rng.integers(-20, 20, (count, 3)) + np.where(labels, 40, -40)[:, None]
    names = ("yes", "no") if wrong else ("no", "yes")
    found = dict.fromkeys(
        (*map(int, point), names[label]) for point, label in zip(points, labels, strict=True)
    )
    return list(found)  # type: ignore[arg-type]


def csv(path: Path, lines: Sequence[tuple[object, ...]]) -> Path:
    """Write rows as CSV."""
    text = "a,b,c,kind\n" + "".join(",".join(map(str, line)) + "\n" for line in lines)
    path.write_text(text)
    return path


@dataclass(frozen=True)
class Data:
    """What the tests drive."""

    world: World
    folder: Path

    @property
    def network(self) -> Network:
        return self.world.network

    @property
    def owner(self) -> Wallet:
        return self.world.owner

    def home(self, name: str) -> Network:
        """Return the network of a person with a home of its own."""
        settings = replace(self.network.settings, home=self.folder / name)
        return replace(self.network, settings=settings)

    def fund(self, *people: Wallet) -> None:
        for wallet in people:
            balances.fund(self.network, wallet.address, MONEY)

    def publish(self, data_bps: int = 4_000) -> int:
        return self.world.publish(operator_bps=4_000, data_bps=data_bps).model_id

    def open(self, model_id: int = 1, plan: RoundPlan = PLAN, seed: int = 99) -> int:
        """Open a round with ten hidden rows."""
        opened = rounds.open_round(
            self.network, self.owner, model_id, test=data_set(seed), data=SCHEMA, plan=plan
        )
        return opened.round_id

    def bring(self, wallet: Wallet, *paths: Path, bps: int = 0) -> Brought:
        prepared = contributions.prepare(self.network, wallet.address, 1, paths)
        return contributions.submit(self.network, wallet, prepared, endorser_bps=bps)

    def file(self, name: str, lines: Sequence[tuple[object, ...]]) -> Path:
        return csv(self.folder / name, lines)

    def advance(self, round_id: int, wallet: Wallet | None = None) -> Advanced:
        return advancing.advance(self.network, wallet or self.world.stranger, round_id)

    def pass_phase(self, round_id: int) -> None:
        """Go to the end of the phase."""
        until = rounds.show(self.network, round_id).until
        self.world.pass_time(until - self.network.history.now())

    def seal(self, round_id: int) -> None:
        """Take a round from its close to its valuation."""
        self.pass_phase(round_id)
        self.advance(round_id)
        self.pass_phase(round_id)
        self.advance(round_id, self.owner)
        self.pass_phase(round_id)
        self.advance(round_id)

    def sell(self, answers: int) -> None:
        """Sell answers at a dollar each; the market holds the model's part of them."""
        world, network = self.world, self.network
        if not network.operators.stake_of(world.operator.address).registered:
            world.serve(1)
        world.prepay(answers * DOLLAR)
        ids = []
        for _ in range(answers):
            wanted = Ask(Selected(1, None), IMAGE)
            person = world.requester
            quoted = quoting.quote(network, person.address, wanted, stdin=lambda: b"")
            asked = inference.ask(network, person, quoted)
            world.deliver(requests.show(network, asked.request_id), [1.0, 0.0, 0.0])
            ids.append(asked.request_id)
        world.pass_time(61)
        requests.finalize(network, world.stranger, ids)

    def told_as_held(self, round_id: int) -> bool:
        """Tell whether the fold of events is what the contract holds."""
        data = self.network.data_rounds
        listed = listing.list_contributions(self.network, round_id)
        assert len(listed) == data.round_of(round_id).contributions
        for one in listed:
            held = data.contribution_of(round_id, one.index)
            assert (one.status, one.owner, one.deposit) == (held.status, held.owner, held.deposit)
            assert one.endorser_bps == held.endorser_bps
            assert held.digest == (one.data_root or one.commitment)
            assert one.endorsed == self.network.credits.endorsed_of(round_id, one.index)
        return True

    # ── A valuator ──────────────────────────────────────────────────────────────────────────────
    def tables(self, round_id: int) -> Tables:
        """Return the true tables, from what is on IPFS."""
        info = rounds.show(self.network, round_id)
        listed = contributions.list_contributions(self.network, round_id)
        numbered = sorted((c for c in listed if c.number is not None), key=lambda c: c.number)
        sets = [Source(c.data_root, c.rows, c.cid) for c in numbered]
        test = Source(info.test_root, info.terms.test_rows, info.test_cid)
        held = [
            data_sets.fetch(self.network.ipfs, source, info.terms.features, self.folder / "fetched")
            for source in (*sets, test)
        ]
        terms = info.terms
        params = Params(terms.neighbours, terms.row_tolerance, terms.test_tolerance)
        data = RoundData(params, tuple(held[:-1]), held[-1])
        flags = reference.flags(data)
        return build(data, flags, reference.scores(data, flags))

    def value(self, round_id: int, valuator: Wallet) -> Tables:
        """Stake, claim and publish the true valuation; return its tables."""
        game, tables = self.network.valuations, self.tables(round_id)
        stake = game.config().stake
        self.do(valuator, self.network.token.approve(game.address, stake))
        self.do(valuator, game.stake(stake))
        self.do(valuator, game.claim(round_id))
        roots = tables.valuation
        given = ValuationRoots(
            roots.N, roots.n, roots.T, roots.order, roots.sums, roots.rows, roots.values
        )
        self.do(valuator, game.publish(round_id, given, list(tables.values), roots.root))
        return tables

    def do(self, wallet: Wallet, call: Call) -> Receipt:
        return wallet.send(call)


def data_set(seed: int = 99) -> DataSet:
    """Return ten rows as a data set."""
    lines = rows(seed, 10)
    features = np.array([line[:3] for line in lines], np.int8)
    labels = np.array([SCHEMA.labels.index(line[3]) for line in lines], np.uint16)
    return DataSet.of(features, labels)
