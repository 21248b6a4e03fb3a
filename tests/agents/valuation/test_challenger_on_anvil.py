"""ValuationChallenger on a real chain: false valuations are convicted, true ones never."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from oracle.agents.valuation import checking
from oracle.agents.valuation.challenger import ValuationChallenger
from oracle.agents.valuation.report import Stand
from oracle.agents.valuation.valuator import Valuator
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.data_rounds import RoundStage
from oracle.chain.bindings.valuation_game import ValuationFaultProven
from oracle.chain.wallet import Wallet
from oracle.ipfs.memory import MemoryIpfs
from oracle.services.event_history import topic
from oracle.types import Amount
from oracle.valuation.faults import Code
from tests.agents.valuation.conftest import account_of
from worker import faults

pytestmark = pytest.mark.real
STAKE = 50_000_000
CHALLENGER = dev_account(13)


@pytest.fixture
def challenger(round_) -> Wallet:
    wallet = Wallet(round_.network.rpc, CHALLENGER)
    round_.stake(wallet, 1)
    return wallet


@pytest.fixture
def checking_(round_, challenger) -> Iterator[ValuationChallenger]:
    recompute = checking.Recomputer(round_.network.settings)
    with ValuationChallenger(
        round_.network, CHALLENGER, recompute, round_.folder / "challenger"
    ) as running:
        yield running


def publish(round_, wallet, name="one", *wanted):
    """Let a valuator value the round; return it, still at work."""
    jobs, _ = round_.jobs(name, wanted=frozenset(wanted))
    running = Valuator(round_.network, account_of(wallet), jobs, round_.folder / name)
    work(running)
    assert round_.network.valuations.case_of(round_.id).published
    return running


def work(agent):
    """Let an agent look until nothing moves: what it sends may be mined some looks later."""
    while agent.cycle():
        pass


def soon():
    """A game is over after this many looks, or something is wrong."""
    looks = iter(range(40))
    return lambda: next(looks, None) is None


def proven(round_):
    place, kinds = round_.network.valuations.address, (ValuationFaultProven,)
    return [h.event.code for h in round_.network.history.read(place, kinds, topic(round_.id))]


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
    before = round_.network.token.balance_of(challenger.address)

    report = checking_.settle_round(round_.id, soon(), lambda: None)

    assert report.stand is Stand.CONVICTED
    assert proven(round_) == [Code.RUNNING_SUM]
    assert max(receipt.gas_used for receipt in report.transactions) <= 400_000
    assert round_.network.token.balance_of(challenger.address) == before + STAKE // 2
    assert round_.network.valuations.seat_of(valuator.address).staked == STAKE
    assert checking_.step(round_.id).stand is Stand.NONE


def test_settle__right_root_that_is_not_served__right(round_, valuator, checking_):
    publish(round_, valuator, "one", faults.WITHHOLD)

    assert checking_.step(round_.id).stand is Stand.RIGHT


def test_settle__false_and_silent__convicted_for_silence_and_the_bond_is_back(
    round_, valuator, challenger, checking_
):
    publish(round_, valuator, "one", faults.FALSE_VALUE, faults.WITHHOLD)
    rpc = round_.network.rpc
    before = round_.network.token.balance_of(challenger.address)
    ether = int(rpc.call("eth_getBalance", challenger.address, "latest"), 16)

    first = checking_.step(round_.id)
    assert first.stand is Stand.UNSERVED
    assert len(first.transactions) == 1
    assert checking_.step(round_.id).transactions == ()
    round_.world.pass_time(120)
    report = checking_.settle_round(round_.id, soon(), lambda: None)

    assert report.stand is Stand.CONVICTED
    assert report.note == "silent"
    assert proven(round_) == []
    assert round_.network.token.balance_of(challenger.address) == before + STAKE // 2
    assert round_.network.valuations.bond_of(challenger.address) == 0
    spent = ether - int(rpc.call("eth_getBalance", challenger.address, "latest"), 16)
    assert spent < 2_000_000 * 10**10  # gas, and no bond


def test_settle__false_and_shown_on_chain_alone__convicted_by_what_it_shows(
    round_, valuator, challenger, checking_
):
    running = publish(round_, valuator, "one", faults.FALSE_VALUE, faults.WITHHOLD)
    report = checking_.step(round_.id)
    demands = 0
    while report.stand is not Stand.CONVICTED:
        demands += report.stand is Stand.UNSERVED
        assert demands < 10
        while running.cycle():
            pass
        report = checking_.step(round_.id)

    assert demands >= 2
    assert proven(round_) == [Code.RUNNING_SUM]
    assert round_.network.valuations.bond_of(challenger.address) == 0


def test_settle__rows_that_nobody_serves__its_silent_valuator_is_convicted(
    round_, valuator, challenger, checking_, tmp_path
):
    publish(round_, valuator)
    served = round_.network.ipfs
    object.__setattr__(checking_, "_network", with_ipfs(round_.network, MemoryIpfs()))

    assert checking_.step(round_.id).stand is Stand.UNSERVED
    round_.world.pass_time(120)
    report = checking_.settle_round(round_.id, soon(), lambda: None)

    assert report.stand is Stand.CONVICTED
    assert served is not checking_._network.ipfs


def test_step__after_a_crash__the_same_salt_opens_the_announcement(
    round_, valuator, challenger, checking_
):
    publish(round_, valuator, "one", faults.FALSE_VALUE)
    assert checking_.step(round_.id).note == "announced"
    checking_.__exit__(None, None, None)

    recompute = checking.Recomputer(round_.network.settings)
    folder = round_.folder / "challenger"
    with ValuationChallenger(round_.network, CHALLENGER, recompute, folder) as again:
        report = again.step(round_.id)

    assert report.stand is Stand.CONVICTED


def test_step__convicted_by_another_while_we_were_down__our_bond_comes_back(
    round_, valuator, challenger, checking_
):
    publish(round_, valuator, "one", faults.FALSE_VALUE, faults.WITHHOLD)
    assert checking_.step(round_.id).stand is Stand.UNSERVED
    checking_.__exit__(None, None, None)
    round_.world.pass_time(120)
    chain = round_.network.valuations
    valuator.send(chain.convict_silent(round_.id, challenger.address))  # anyone may
    assert chain.bond_of(challenger.address) == 0

    recompute = checking.Recomputer(round_.network.settings)
    folder = round_.folder / "challenger"
    with ValuationChallenger(round_.network, CHALLENGER, recompute, folder) as again:
        report = again.step(round_.id)

    assert report.stand is Stand.NONE
    assert len(report.transactions) == 3  # bond released, bond and reward withdrawn
    assert chain.demands_of(round_.id, 1, challenger.address).bond == 0


def test_step__right__its_files_are_gone(round_, valuator, checking_):
    publish(round_, valuator)
    checking_.step(round_.id)
    assert not [path for path in (round_.folder / "challenger").iterdir() if path.is_dir()]


def test_step__window_passed__late_and_nothing_sent(round_, valuator, checking_):
    publish(round_, valuator, "one", faults.FALSE_VALUE)
    round_.world.pass_time(60)

    report = checking_.step(round_.id)

    assert report.stand is Stand.LATE
    assert report.transactions == ()


def test_cycle__convicted__reopened_and_a_second_valuator_settles(
    round_, valuator, rival, challenger, checking_
):
    liar = publish(round_, valuator, "one", faults.FALSE_VALUE)
    work(checking_)
    assert proven(round_) == [Code.RUNNING_SUM]
    assert not liar.cycle()  # it does not take the round again

    honest = publish(round_, rival, "two")
    assert not checking_.cycle()
    round_.world.pass_time(60)
    work(honest)

    assert round_.network.data_rounds.round_of(round_.id).stage is RoundStage.SETTLED
    assert round_.network.valuations.seat_of(rival.address).locked == Amount(0)


def with_ipfs(network, ipfs):
    return replace(network, ipfs=ipfs)
