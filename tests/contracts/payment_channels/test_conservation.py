"""In whatever order: the channels own what they owe, and stake is locked as they say."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.chain import at, chain, now
from tests.contracts.market import DOLLAR, FEE, LOCK, WINDOW
from tests.contracts.payment_channels.channels import CLOSE_DELAY
from tests.support.effort import MACHINES, machine
from tests.support.evm import Reverted

OFTEN = ("open", "claim", "settle", "summon", "convict", "acquit", "wait")
STEPS = (*OFTEN * 3, "void", "void", "cover", "uncover", "release", "close", "withdraw")


class Walk:
    """One life of an offer with two payers, in which every step may be refused."""

    def __init__(self, channels, payers, fault):
        self.channels, self.payers, self.fault = channels, payers, fault
        self.summoned, self.held, self.signed = [], {}, dict.fromkeys(payers, 0)
        self.index, self.lie = 0, channels.game.example.lie_inside

    def step(self, name, number):
        payer = self.payers[number % 2]
        sender = {"from": payer}
        channels, contract = self.channels, self.channels.contract
        if name == "open":
            channels.open(FEE * (1 + number), payer=payer)
        elif name == "claim":
            before = channels.channel(payer)[1]
            row = channels.row(before + FEE * (1 + number % 3), before=before, payer=payer)
            self.held[number % 4] = channels.claim(row, slot=number % 4), [row]
        elif name in ("settle", "void"):
            held, rows = self.held.get(number % 4, ((number % 4, "0x" + "00" * 32, 0, 0), []))
            if name == "settle":
                contract.settle(channels.offer, [held], sender)
            else:
                contract.void(channels.offer, held, rows, sender)
            del self.held[number % 4]
        elif name == "summon":
            self.index += 1
            example = channels.game.example
            committed = example.honest if number % 3 == 0 else self.lie
            answer = channels.answer(committed, self.index, payer)
            self.summoned.append(channels.summon(answer, sender=payer, signer=payer))
        elif name in ("convict", "acquit") and self.summoned:
            lies = [one for one in self.summoned if one.committed is self.lie]
            answer = (lies if name == "convict" and lies else self.summoned)[0]
            if name == "convict":
                channels.convict(answer, channels.game.market.rival, self.fault)
            else:
                channels.market.finalize([answer.request], [answer.delivery], sender)
                contract.endSummon(answer.request, sender)
            self.summoned.remove(answer)
        elif name == "cover" and number < 3:
            channels.cover(1)
        elif name == "uncover" and number == 0:  # seldom: little happens afterwards
            contract.uncover(channels.offer, {"from": channels.operator})
        elif name == "release":
            contract.release(channels.offer, sender)
        elif name == "close":
            contract.close(payer, channels.offer, 0, sender)
        elif name == "withdraw":
            contract.withdraw(payer, payer, channels.offer, sender)
        elif name == "wait":
            at(now() + (1, WINDOW, CLOSE_DELAY, 2 * WINDOW)[number % 4])
            chain.mine()

    def check(self):
        """Compare the books of channels, market and registry."""
        channels = self.channels
        free = sum(d - c for d, c, _ in map(channels.channel, self.payers))
        held = sum(held[2] for held, _ in self.held.values())
        assert channels.market.balanceOf(channels.contract) == free + held
        locks, summoned, _, exhausted = channels.covered()
        assert self.locked() == locks * LOCK
        assert summoned == len(self.summoned)
        assert not (exhausted and locks)

    def locked(self):
        return self.operators.stakeOf(self.channels.operator)["locked"]


@machine(MACHINES, 40)
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11)), min_size=40, max_size=80)
)
def test_any_order__the_books_agree(channels, operators, token, bob, fault, steps):
    before = chain.snapshot()
    token.faucet(bob, 10 * DOLLAR, {"from": bob})
    token.approve(channels.market, 10 * DOLLAR, {"from": bob})
    channels.market.deposit(bob, 10 * DOLLAR, {"from": bob})
    walk = Walk(channels, (channels.alice, bob), fault)
    walk.operators = operators
    for name, number in steps:
        with suppress(Reverted):
            walk.step(name, number)
        walk.check()
    chain.revert(before)
