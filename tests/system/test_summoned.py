"""An exact answer of a channel is summoned and challenged: its operator's processes stand by it.

The network is one as `tallystick up` starts it. Alpha is honest; mallory changes a byte of every
answer. Nobody helps either.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from oracle.chain.bindings.dispute_game import (
    ChallengeFailed,
    LeavesRevealed,
    NodeOpened,
    Receipt,
    TraceCommitted,
)
from oracle.chain.bindings.payment_channels import Summoned, SummonEnded
from oracle.chain.event import Event
from oracle.devnet.background import command
from oracle.devnet.network import Devnet, DevnetPlan, running
from oracle.errors import NotFound, Unavailable
from oracle.services import balances, disputes, operators, publishing, requests
from oracle.services.event_history import topic
from oracle.services.publishing import SaleTerms
from oracle.services.request_timeline import RequestState
from oracle.types import ZERO32, ZERO_ADDRESS, Amount, RequestId
from tallystick import Connection
from tallystick.channel import PaidChannel, ReceivedAnswer
from tests.agents.challenger.conftest import folder_of
from tests.contracts.exact import example
from tests.services.conftest import DOLLAR
from tests.support import clock
from tests.support.waiting import wait_until
from worker import faults

pytestmark = pytest.mark.real
HONEST, LIAR = "alpha", "mallory"
FEE, INSURED = DOLLAR, 10 * DOLLAR
WINDOW = 1800  # seconds; what the clock is moved by in one test leaves the others time


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """Two operators with endpoints, a payer with money, and an exact model that both may sell."""
    plan = DevnetPlan(
        tmp_path_factory.mktemp("summoned") / "home",
        operators=(HONEST, LIAR), selling=(HONEST, LIAR), faults={LIAR: faults.OUTPUT_BYTE},
        close_delay=6,  # a third of it passes between two looks at claims
    )  # fmt: skip
    with running(plan, environ={"PATH": os.environ["PATH"]}) as devnet:
        balances.deposit(devnet.network, devnet.wallet("requester"), Amount(100 * DOLLAR))
        yield devnet


def sold(network: Devnet, operator: str, window: int, path: Path) -> PaidChannel:
    """Publish the model for an operator; return a channel to its endpoint once that sells it."""
    owner = network.wallet("owner")
    folder = folder_of(path / "exact", example(), f"{operator}s-example")
    sale = SaleTerms(fee=Amount(FEE), challenge_window=window, insured_multiple=10)
    made = publishing.publish(network.network, owner, folder, sale)
    operators.authorize(network.network, owner, made.model_id, network.accounts[operator])

    def opened() -> PaidChannel | None:
        try:
            return Connection(network.network, network.wallet("requester")).channel(
                made.model_id, network.channel_endpoint(operator), deposit="5"
            )
        except (NotFound, Unavailable):  # it is loading
            return None

    channel: PaidChannel = wait_until(opened, f"{operator}'s endpoint")
    return channel


def summoned(network: Devnet, channel: PaidChannel, answer: ReceivedAnswer) -> RequestId:
    """Summon an answer as an attacker does: its bytes are shown to nobody."""
    receipt = answer.receipt
    signed = Receipt(receipt.output_root, receipt.trace_root, receipt.signature)
    offer = network.network.channels.summon(answer.request, channel.signer, channel._offer, signed)
    return network.wallet("requester").send(offer).one(Summoned).request_id


def happened(network: Devnet, request_id: RequestId, kind: type[Event]) -> list[Event]:
    game = network.network.game.address
    return [h.event for h in network.network.history.read(game, (kind,), topic(request_id))]


def await_move(network: Devnet, request_id: RequestId, kind: type[Event]) -> None:
    wait_until(lambda: happened(network, request_id, kind), kind.__name__)


def test_summon__right_answers_challenged__operator_answers_every_demand_and_is_paid(
    network: Devnet, tmp_path: Path
) -> None:
    """The second is challenged while its endpoint is dead: nobody has the question but its file."""
    net, game = network.network, network.network.game
    challenger, alpha = network.wallet("challenger"), network.accounts[HONEST]
    channel = sold(network, HONEST, WINDOW, tmp_path)
    first, second = (channel.ask(np.full((64, 8), n, np.float32)) for n in (0, 1))
    stake = net.operators.stake_of(alpha).staked

    def challenge(answer: ReceivedAnswer) -> RequestId:
        request_id = summoned(network, channel, answer)
        state = disputes.answer_of(net, request_id).state
        bond = 2 * game.bond_needed(request_id)
        challenger.send(game.challenge(*state, ZERO32, value=bond))
        return request_id

    asked = [challenge(first)]
    await_move(network, asked[0], TraceCommitted)
    network.kill_operator(HONEST, "endpoint")
    asked.append(challenge(second))
    requests.demand(net, challenger, asked[1], requests.bond_needed(net, challenger, asked[1]))
    network.start_operator(HONEST)
    await_move(network, asked[1], TraceCommitted)
    wait_until(
        lambda: net.market.demand_of(asked[1]).challenger == ZERO_ADDRESS, "the output on chain"
    )
    for request_id in asked:
        state = disputes.answer_of(net, request_id).state
        challenger.send(game.demand_node(*state, 0, 0, 0))
        await_move(network, request_id, NodeOpened)
        challenger.send(game.demand_node(*state, 0, 6, 37))
        await_move(network, request_id, LeavesRevealed)
        challenger.send(game.demand_step(*state, 2, 4, 5))
        await_move(network, request_id, ChallengeFailed)
        (failed,) = happened(network, request_id, ChallengeFailed)
        assert failed.to_operator + failed.burned > 0
    assert game.bond_of(challenger.address) == 0 < game.bond_of(alpha)
    assert net.operators.stake_of(alpha).staked == stake

    clock.pass_time(net.rpc, WINDOW)
    for request_id in asked:
        wait_until(
            lambda i=request_id: requests.show(net, i).state is RequestState.SETTLED, "the fee"
        )
        wait_until(lambda: over(network, channel) == len(asked), "the end of the summons")


def over(network: Devnet, channel: PaidChannel) -> int:
    history, place = network.network.history, network.network.channels.address
    return len(history.read(place, (SummonEnded,), None, (channel.offer_id,)))


def test_summon__lie__challenger_that_ships_convicts_and_the_payer_is_paid_back(
    network: Devnet, tmp_path: Path
) -> None:
    net, payer = network.network, network.accounts["requester"]
    channel = sold(network, LIAR, 2 * WINDOW, tmp_path)
    stake = net.operators.stake_of(network.accounts[LIAR]).staked
    answer = channel.ask(np.zeros((64, 8), np.float32))
    locks, before = net.channels.cover_of(channel.offer_id).locks, net.market.balance_of(payer)
    request_id = channel.summon(answer)
    assert net.market.balance_of(payer) == before - FEE
    home = network.settings.home
    with (tmp_path / "challenger.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *command(), "challenger", "run", "--key", "challenger", "--home", str(home),
                "--password-file", str(home / "password"),
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")},
        )  # fmt: skip
    try:
        wait_until(
            lambda: requests.show(net, request_id).state is RequestState.CONVICTED,
            "the conviction", process=process, log=tmp_path / "challenger.log",
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait()
    assert net.market.balance_of(payer) == before + INSURED
    assert net.channels.cover_of(channel.offer_id).locks == locks - 1
    assert net.operators.stake_of(network.accounts[LIAR]).staked < stake - INSURED
