"""Credits against exact fractions, in any order of rounds, fees, grants and claims.

After every call: the contract holds deposits, balances and unclaimed revenue to the unit, and what
can be claimed is covered (solvency). At the end everybody has got what fractions say, less at most
a unit for each time that something was rounded: in the pool's favour, whatever the order was.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from oracle.merkle import keccak
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CHALLENGER,
    DAVE,
    FEE,
    MAX_WEIGHT,
    ONE,
    OWNER,
    REWARD,
    RIVAL,
    TEST_ROWS,
    VALUATOR,
    Data,
    value_path,
)
from tests.support.effort import LONG_MACHINES, MACHINES, machine

HOLDERS = (ALICE, BOB, CAROL, DAVE)
holders = st.sampled_from(HOLDERS)
picks = st.integers(0, 9)
values = st.sampled_from([0, 0, 1, 7, ONE // 3, ONE // 1_024, ONE]) | st.integers(0, ONE)


@dataclass
class Bid:
    """A contribution of the current round, or one of an earlier one that nobody asked about yet."""

    round_id: int
    index: int
    owner: str
    deposit: int
    bps: int
    stakes: dict[str, int] = field(default_factory=dict)
    revealed: bool = False
    number: int = -1
    values: tuple[int, ...] = ()  # of its round, once settled
    minted: Fraction = Fraction(0)  # credits for a unit of value

    @property
    def value(self) -> int:
        return self.values[self.number]

    @property
    def worthless(self) -> bool:
        return self.value < TEST_ROWS

    @property
    def credit(self) -> int:
        return 0 if self.worthless else int(self.value * self.minted)

    @property
    def share(self) -> int:
        return min(self.credit * self.bps // 10_000, sum(self.stakes.values()))

    def reward(self, endorser: str) -> int:
        return self.share * self.stakes[endorser] // sum(self.stakes.values())


class CreditsMachine(RuleBasedStateMachine):
    @initialize()
    def deploy(self):
        self.data = Data(game=RIVAL)
        self.phase = "none"
        self.bids: list[Bid] = []  # of this round
        self.deposits: list[Bid] = []  # of settled rounds, to be dealt with
        self.bets: list[tuple[Bid, str]] = []  # endorsements of settled rounds
        self.held = defaultdict(int)  # credits, granted or not, staked or not
        self.free = defaultdict(int)  # credits that the contract shows
        self.due = defaultdict(Fraction)  # token units earned, exactly
        self.claimed = Counter()
        self.roundings = Counter()
        self.balances = Counter()
        self.total = self.revenue = self.waiting = self.burned = self.test_rows = 0
        for _ in range(3):  # so that everybody has a tier, and may lose it
            self.open_round(list(HOLDERS), 0)
            self.reveal(-1)
            self.settle([ONE // 64] * 4)
            for _ in HOLDERS:
                self.deal_with_a_deposit(0)

    # ── Rounds ──────────────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: self.phase == "none")
    @rule(owners=st.lists(holders, min_size=1, max_size=4), bps=st.sampled_from([0, 1_000, 5_000]))
    def open_round(self, owners, bps):
        self.data.open()
        self.bids = []
        for owner in owners:
            deposit, cap = self.data.see("requirementsOf", 1, owner)
            if sum(bid.owner == owner for bid in self.bids) < cap:
                index = self.data.submit(owner, self._root(len(self.bids)), bps=bps)
                self.bids.append(Bid(self.data.round_id, index, owner, deposit, bps))
        self.data.pass_to("submit")
        self.phase = "submitted"

    def _root(self, index):
        return keccak(b"%d %d" % (self.data.round_id, index))

    @precondition(lambda self: self.phase == "submitted")
    @rule(hidden=st.sampled_from([-1, -1, 0, 1]))
    def reveal(self, hidden):
        for bid in self.bids:
            if bid.index != hidden:
                self.data.reveal(bid.index, self._root(bid.index))
                bid.revealed = True
        self.phase = "revealed"

    @precondition(lambda self: self.phase == "revealed" and self.bids)
    @rule(endorser=holders, pick=picks, part=st.sampled_from([1, 2, 3, 1_000]))
    def endorse(self, endorser, pick, part):
        bid = self.bids[pick % len(self.bids)]
        amount = self.free[endorser] // part
        tier = self.data.see("tierOf", 1, endorser)
        wanted = bid.revealed and bid.owner != endorser and endorser not in bid.stakes
        if wanted and tier and amount:
            self.data.do(endorser, "endorse", bid.round_id, bid.index, amount)
            bid.stakes[endorser] = amount
            self.free[endorser] -= amount
            self.roundings[endorser] += 1

    @precondition(lambda self: self.phase == "revealed")
    @rule(given=st.lists(values, min_size=4, max_size=4))
    def settle(self, given):
        self.data.seal()
        bids = [bid for bid in self.bids if bid.revealed]
        self.deposits += self.bids
        self.phase = "none"
        if not bids:
            self.balances[OWNER] += REWARD
            self.burned += len(self.bids) * FEE
            return
        given = given[: len(bids)]
        self.data.settle(given)
        self._share(self.waiting)
        self.balances[VALUATOR] += REWARD + len(self.bids) * FEE
        for number, bid in enumerate(bids):
            bid.number, bid.values = number, tuple(given)
        minted = self._mint(bids)
        for bid in bids:
            bid.minted = minted
            self.held[bid.owner] += bid.credit - (0 if bid.worthless else bid.share)
            for endorser, amount in bid.stakes.items():
                self.bets.append((bid, endorser))
                self.held[endorser] += -amount if bid.worthless else bid.reward(endorser)

    def _mint(self, bids):
        """Count a round's credits: what it is worth, or what its weight allows."""
        valued = sum(bid.value for bid in bids if not bid.worthless)
        before = self.total
        self.total -= sum(sum(bid.stakes.values()) for bid in bids if bid.worthless)
        minted = valued
        if self.total:
            share = self.total * TEST_ROWS // self.test_rows
            most = self.total * MAX_WEIGHT // (10_000 - MAX_WEIGHT)
            minted = min(valued, share, most)
        self.total += minted
        if minted:
            self.test_rows += TEST_ROWS
            # nobody's part of what there was fell by more than the round may weigh
            weight = Fraction(TEST_ROWS, self.test_rows) if before else Fraction(1)
            assert not before or Fraction(minted, self.total) <= min(weight, Fraction(1, 2))
        return Fraction(minted, valued) if valued else Fraction(0)

    # ── Money ───────────────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: self.phase == "none")
    @rule(amount=st.integers(1, 10**6) | st.sampled_from([1, 2, 3, 10**11]))
    def sell(self, amount):
        self.data.sell(amount)
        self.waiting += amount

    @precondition(lambda self: self.waiting)
    @rule()
    def collect(self):
        self.data.collect()
        self._share(self.waiting)

    def _share(self, amount):
        """Share what the market held; without credits it was the model's holder's."""
        self.waiting = 0
        if self.total and amount:
            self.revenue += amount
            for holder, credits in self.held.items():
                self.due[holder] += Fraction(amount * credits, self.total)
                self.roundings[holder] += 1  # the accumulator's

    @rule(holder=holders)
    def claim(self, holder):
        amount = self.data.see("claimable", 1, holder)
        if amount:
            before = self.data.tokens(holder)
            assert self.data.do(holder, "claim", 1) == amount
            assert self.data.tokens(holder) - before == amount
            self.claimed[holder] += amount
            self.revenue -= amount
            self.roundings[holder] += 1

    @rule(account=st.sampled_from([*HOLDERS, OWNER, VALUATOR]))
    def withdraw(self, account):
        assert self.data.see("balanceOf", account) == self.balances[account]
        if self.balances[account]:
            assert self.data.do(account, "withdraw") == self.balances[account]
            self.balances[account] = 0

    # ── What rounds brought ─────────────────────────────────────────────────────────────────────
    @precondition(lambda self: self.deposits)
    @rule(pick=picks)
    def deal_with_a_deposit(self, pick):
        bid = self.deposits.pop(pick % len(self.deposits))
        if not bid.revealed:
            self.data.do(CHALLENGER, "forfeit", bid.round_id, bid.index)
            self.burned += bid.deposit
            return
        path = value_path(bid.values, bid.number)
        self.data.do(CHALLENGER, "credit", bid.round_id, bid.number, bid.value, path)
        if not bid.worthless:
            self.balances[bid.owner] += bid.deposit
            self.free[bid.owner] += bid.credit - bid.share
            self.roundings[bid.owner] += 2
        else:
            self.burned += bid.deposit

    @precondition(lambda self: self.bets)
    @rule(pick=picks)
    def end_an_endorsement(self, pick):
        bid, endorser = self.bets.pop(pick % len(self.bets))
        path = value_path(bid.values, bid.number)
        arguments = (bid.round_id, bid.number, endorser, bid.value, path)
        self.data.do(CHALLENGER, "settleEndorsement", *arguments)
        self.roundings[endorser] += 3
        if not bid.worthless:
            self.free[endorser] += bid.stakes[endorser] + bid.reward(endorser)

    # ── Always ──────────────────────────────────────────────────────────────────────────────────
    @invariant()
    def every_unit_is_accounted_for(self):
        if not hasattr(self, "phase"):
            return
        live = self.bids if self.phase != "none" else []
        escrow = sum(bid.deposit for bid in [*live, *self.deposits])
        escrow += (REWARD + len(live) * FEE) if self.phase != "none" else 0
        held = escrow + sum(self.balances.values()) + self.burned
        assert self.data.tokens(self.data.rounds) == held
        assert self.data.in_market(self.data.credits) == self.revenue
        claimable = {holder: self.data.see("claimable", 1, holder) for holder in HOLDERS}
        assert sum(claimable.values()) <= self.revenue
        assert all(self.claimed[h] + claimable[h] <= self.due[h] for h in HOLDERS)
        assert all(self.data.see("creditsOf", 1, h) == self.free[h] for h in HOLDERS)
        assert self.data.see("totalCredits", 1) == self.total

    def teardown(self):
        """Sell once more, then deal with everything: nobody lost more than roundings."""
        if not hasattr(self, "phase"):
            return
        if self.phase == "submitted":
            self.reveal(-1)
        if self.phase == "revealed":
            self.settle([0, TEST_ROWS, ONE, 0])
        self.sell(10**9)
        self.collect()
        while self.deposits:
            self.deal_with_a_deposit(0)
        while self.bets:
            self.end_an_endorsement(0)
        self.every_unit_is_accounted_for()
        for holder in HOLDERS:
            self.claim(holder)
            got = self.claimed[holder]
            assert self.due[holder] - self.roundings[holder] - 1 <= got <= self.due[holder]


@pytest.mark.parametrize(("runs", "steps"), [(MACHINES, 20), (LONG_MACHINES, 60)])
def test_credits__any_order_of_calls__pay_what_fractions_say(runs, steps):
    run_state_machine_as_test(CreditsMachine, settings=machine(runs, steps))
