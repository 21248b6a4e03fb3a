"""ValuationChallenger on a real chain: false valuations are convicted, true ones never."""

from collections.abc import Iterator

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.events import ValuationFaultProven
from oracle.chain.wallet import Wallet
from oracle.services.history import topic
from oracle.services.valuing import checking
from oracle.services.valuing.challenger import Stand, ValuationChallenger
from oracle.services.valuing.valuator import Valuator
from oracle.valuation.faults import Code
from worker import faults

pytestmark = pytest.mark.real
STAKE = 50_000_000


@pytest.fixture
def challenger(round_) -> Wallet:
    wallet = Wallet(round_.context.rpc, dev_account(13))
    round_.stake(wallet, 1)
    return wallet


@pytest.fixture
def checking_(round_, challenger) -> Iterator[ValuationChallenger]:
    recompute = checking.Recomputer(round_.context.settings)
    with ValuationChallenger(
        round_.context, challenger, recompute, round_.folder / "challenger"
    ) as running:
        yield running


def publish(round_, wallet, name="one", *wanted):
    """Let a valuator value the round; return it, still running."""
    jobs, _ = round_.jobs(name, wanted=frozenset(wanted))
    running = Valuator(round_.context, wallet, jobs, round_.folder / name)
    while running.cycle():
        pass
    assert round_.context.valuations.case_of(round_.id).published
    return running


def proven(round_):
    place, kinds = round_.context.valuations.address, (ValuationFaultProven,)
    return [h.event.code for h in round_.context.history.read(place, kinds, topic(round_.id))]


def test_step__nothing_published__nothing_to_do(round_, checking_):
    assert checking_.step(round_.id).stand is Stand.NONE


def test_step__true_valuation__right_and_nothing_sent(round_, valuator, checking_):
    publish(round_, valuator)

    report = checking_.step(round_.id)

    assert report.stand is Stand.RIGHT
    assert report.transactions == ()


def test_settle__false_value__convicted_in_two_transactions_and_paid(
    round_, valuator, challenger, checking_
):
    publish(round_, valuator, "one", faults.FALSE_VALUE)
    before = round_.context.token.balance_of(challenger.address)

    report = checking_.settle(round_.id, lambda: False, lambda: None)

    assert report.stand is Stand.CONVICTED
    assert proven(round_) == [Code.RUNNING_SUM]
    assert max(receipt.gas_used for receipt in report.transactions) <= 400_000
    assert round_.context.token.balance_of(challenger.address) == before + STAKE // 2
    assert round_.context.valuations.seat_of(valuator.address).staked == STAKE
    assert checking_.step(round_.id).stand is Stand.NONE
