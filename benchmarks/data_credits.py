"""Gas of contributions, credits and claims on Anvil, and what a data share adds to `finalize`.

Rounds are real, values invented: nobody challenges them. Receipts' `gasUsed`, the 21,000 of each
transaction included; "first" is an account's first at the model, which writes fresh slots.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gas import Market
from oracle.chain.anvil import Anvil
from oracle.chain.arguments import DataOpening
from oracle.chain.bindings.data_credits import DataCredits
from oracle.chain.bindings.data_rounds import DataRounds, RoundOpened, RoundTerms
from oracle.chain.bindings.valuation_game import ValuationGame, ValuationRoots
from oracle.chain.wallet import Wallet
from oracle.protocol.canonical import keccak
from oracle.protocol.training import commitment, test_commitment
from oracle.types import ZERO32, Amount
from oracle.valuation.tables import values_tree

GOALS = {"submit": 120_000, "claim": 70_000, "finalize, added by the share": 6_000}
PERIOD = 600  # seconds
SALT = keccak(b"salt")
TEST_ROWS = 4
VALUE = TEST_ROWS << 40  # of data that answers all of them right
MANY = Amount(10**12)


class Rounds:
    """The market of `gas.py`, whose operator, requester and owner bring data as well."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.credits = DataCredits(market.anvil.rpc, market.at.data_credits)
        self.rounds = DataRounds(market.anvil.rpc, market.at.data_rounds)
        self.game = ValuationGame(market.anvil.rpc, market.at.valuation_game)
        self.people = (market.operator, market.requester)
        for wallet in (*self.people, market.owner):
            wallet.send(market.token.faucet(wallet.address, Amount(900 * 10**6)))
            wallet.send(market.token.approve(self.rounds.address, MANY))
        market.owner.send(market.token.approve(self.game.address, MANY))
        market.owner.send(self.game.stake(self.game.config().stake))

    def play(self, values: Sequence[int], names: tuple[str, ...]) -> None:
        """Play a round in which these people bring a data set of these values each."""
        market, data = self.market, self.rounds
        opener = market.owner
        terms = RoundTerms(
            features=8,
            neighbours=5,
            row_tolerance=0,
            test_tolerance=0,
            test_rows=TEST_ROWS,
            max_contributions=16,
            max_rows=1000,
            submit_period=PERIOD,
            reveal_period=PERIOD,
            test_period=PERIOD,
            reward=Amount(10**6),
            test_commitment=test_commitment(market.model_id, opener.address, SALT, SALT, TEST_ROWS),
            schema=SALT,
        )
        opened = opener.send(data.open_round(market.model_id, terms))
        market.note("openRound", opened)
        round_id = opened.one(RoundOpened).round_id
        roots = [keccak(b"%d %d" % (round_id, n)) for n in range(len(values))]
        for index, (wallet, root, name) in enumerate(zip(self.people, roots, names, strict=True)):
            hidden = commitment(round_id, wallet.address, SALT, root, 100)
            market.note(name, wallet.send(data.submit(round_id, hidden, 0)))
            assert data.contribution_of(round_id, index).owner == wallet.address
        market.pass_time(PERIOD)
        for index, (wallet, root) in enumerate(zip(self.people, roots, strict=True)):
            opening = DataOpening(root, 100, SALT, root)
            market.note("reveal", wallet.send(data.reveal(round_id, index, *opening)))
        market.pass_time(PERIOD)
        market.note("revealTest", opener.send(data.reveal_test(round_id, SALT, SALT, SALT)))
        market.pass_time(PERIOD)
        numbered = opener.send(data.number(round_id, 100))
        market.note("number, each of 2", numbered, 2)
        self._value(round_id, values, opener)
        for number, value in enumerate(values):
            path = values_tree(values).leaf_path(number)
            call = data.credit(round_id, number, value, path)
            market.note("credit", opener.send(call))

    def _value(self, round_id: int, values: Sequence[int], valuator: Wallet) -> None:
        rows = 100 * len(values)
        root = values_tree(values).root
        roots = ValuationRoots(rows, rows, TEST_ROWS, ZERO32, ZERO32, ZERO32, root)
        self.market.note("claim a round", valuator.send(self.game.claim(round_id)))
        published = valuator.send(self.game.publish(round_id, roots, values, SALT))
        self.market.note("publish", published)
        self.market.pass_time(self.game.config().challenge_window)
        self.market.note("settle", valuator.send(self.game.settle(round_id, values)))

    def sell(self, share: bool) -> int:
        """Sell an answer with or without a data share; return the gas of `finalize`."""
        market, model = self.market, self.market.model_id
        terms = market.registry.terms_of(model, 2)
        terms = replace(terms, data_bps=500 if share else 0)
        market.owner.send(
            market.registry.set_terms(
                model,
                2,
                fee=terms.fee,
                operator_bps=terms.operator_bps,
                data_bps=terms.data_bps,
                insured_multiple=terms.insured_multiple,
                challenge_window=terms.challenge_window,
            )
        )
        request, _ = market.ask(0)
        delivery, _ = market.deliver(request)
        return market.finalize([request], [delivery]).gas_used


def measure() -> dict[str, Any]:
    """Return gas per function, and the goals."""
    with Anvil() as anvil:
        market = Market(anvil, {})
        rounds = Rounds(market)
        for _ in range(2):  # all slots warm and not zero
            rounds.sell(share=True)
        # Before anybody holds credits: after that the share cannot fall
        without, held = rounds.sell(share=False), rounds.sell(share=True)
        for name in ("submit, first", "submit"):
            rounds.play((VALUE // 2, VALUE // 4), (name, name))
        gas = market.gas
        gas["finalize, added by the share"] = held - without
        for name in ("claim, first", "claim"):
            rounds.sell(share=True)
            collect = market.market.collect_model_earnings(market.model_id)
            market.note("collectModelEarnings, shared", market.owner.send(collect))
            market.note(name, market.operator.send(rounds.credits.claim(market.model_id)))
    ours = ("openRound", "submit, first", "submit", "reveal", "revealTest", "number, each of 2",
            "claim a round", "publish", "settle", "credit", "collectModelEarnings, shared",
            "claim, first", "claim", "finalize, added by the share")  # fmt: skip
    return {"gas": {name: gas[name] for name in ours}, "goals": GOALS}


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per figure."""
    result = measure()
    for name, gas in result["gas"].items():
        goal = f"   goal ≤ {GOALS[name]:,}" if name in GOALS else ""
        report(f"{name:30} {gas:>9,}{goal}")
    return result


if __name__ == "__main__":
    run(print, Path("build/bench"))
