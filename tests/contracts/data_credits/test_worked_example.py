"""docs/data-credits.md: the worked example's figures are what the contracts do."""

from decimal import Decimal
from pathlib import Path

import pytest

from oracle.merkle import keccak
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DEAD,
    DOLLAR,
    RIVAL,
    VALUATOR,
    Data,
    value_path,
)

ROW = 1 << 40
PAGE = Path(__file__).parents[3] / "docs/data-credits.md"
PEOPLE = {
    "Alice": ALICE, "Bob": BOB, "Carol": CAROL, "Dave": DAVE, "valuator": VALUATOR, "burned": DEAD,
}  # fmt: skip


def table() -> dict[str, dict[str, Decimal]]:
    """Read the example: by line, by account."""
    text = PAGE.read_text()
    lines = text[text.index("## Worked example") : text.index("## Gas")].splitlines()
    head, _, *rows = (
        [c.strip() for c in line.split("|")[1:-1]] for line in lines if line[:1] == "|"
    )
    people = [PEOPLE[name] for name in head[1:]]
    return {row[0]: dict(zip(people, map(Decimal, row[1:]), strict=True)) for row in rows}


class Ledger:
    """What everybody has in the token, in the contract and in credits, against the page."""

    def __init__(self, data) -> None:
        self.data, self.page = data, table()
        self.before = self.money()

    def money(self) -> dict[str, int]:
        owed = lambda who: self.data.see("balanceOf", who)  # noqa: E731
        return {who: self.data.tokens(who) + owed(who) for who in PEOPLE.values()}

    def paid(self, line: str) -> None:
        self._changed(line, -1)

    def got(self, line: str) -> None:
        self._changed(line, 1)

    def _changed(self, line: str, sign: int) -> None:
        now = self.money()
        found = {who: Decimal(sign * (now[who] - self.before[who])) / DOLLAR for who in now}
        assert found == self.page.pop(line)
        self.before = now

    def credits(self, line: str) -> None:
        held = {who: self.data.see("creditsOf", 1, who) for who in PEOPLE.values()}
        assert {who: Decimal(n) / ROW for who, n in held.items()} == self.page.pop(line)

    def share(self, line: str, amount: int) -> None:
        self.data.earn(amount * DOLLAR)
        owed = {who: self.data.see("claimable", 1, who) for who in PEOPLE.values()}
        for who, expected in self.page.pop(line).items():
            assert 0 <= expected * DOLLAR - owed[who] <= 1  # a millionth of a dollar
            if owed[who]:
                self.data.do(who, "claim", 1)
        self.before = self.money()


def bring(data, owners: dict[str, int]) -> dict[str, bytes]:
    """Open a round, commit and reveal; return the data sets."""
    data.open(testRows=100)
    roots = {who: keccak(who.encode() + bytes([data.round_id])) for who in owners}
    for who, bps in owners.items():
        data.submit(who, roots[who], bps=bps)
    return roots


def test_worked_example__replayed__gives_the_figures_of_the_page():
    data = Data(game=RIVAL, max_weight=1_000)
    ledger = Ledger(data)

    roots = bring(data, dict.fromkeys((ALICE, BOB, CAROL), 0))
    ledger.paid("paid in round 1")
    data.pass_to("submit")
    for index, root in enumerate(roots.values()):
        data.reveal(index, root)
    data.seal()
    values = [50 * ROW, 25 * ROW, 0]
    data.settle(values)
    for number in range(3):
        data.give(values, number)
    ledger.credits("credits of round 1")
    ledger.got("back after round 1")
    ledger.share("share of $30", 30)

    roots = bring(data, {DAVE: 2_500, CAROL: 0})
    ledger.paid("paid in round 2")
    data.pass_to("submit")
    for index, root in enumerate(roots.values()):
        data.reveal(index, root)
    staked = {who: int(rows * ROW) for who, rows in ledger.page.pop("credits staked").items()}
    data.do(ALICE, "endorse", data.round_id, 0, staked[ALICE])
    data.do(BOB, "endorse", data.round_id, 1, staked[BOB])
    data.seal()
    values = [25 * ROW, 0]
    data.settle(values)
    for number, endorser in enumerate((ALICE, BOB)):
        data.give(values, number)
        arguments = (data.round_id, number, endorser, values[number], value_path(values, number))
        data.do(BOB, "settleEndorsement", *arguments)
    ledger.credits("credits after round 2")
    ledger.got("back after round 2")
    ledger.share("share of $16", 16)
    tiers = {who: data.see("tierOf", 1, who) for who in PEOPLE.values()}
    assert tiers == ledger.page.pop("tier")
    assert ledger.page == {}


@pytest.mark.parametrize("name", ["paid in round 1", "share of $16"])
def test_table__of_the_page__has_its_lines(name):
    assert ALICE in table()[name]
