"""A person finds a wrong answer and has its operator convicted, with commands alone."""

import logging
from dataclasses import replace

import pytest
import structlog

from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.cli import main
from oracle.exact import files
from oracle.protocol import tensor
from oracle.services import balances, operators, publishing
from oracle.services.publishing import SaleTerms
from oracle.types import NO_CLAIM, ZERO32, Amount, OperatorAnswer, Order
from tests.agents.challenger.conftest import folder_of
from tests.contracts.exact import example
from tests.services.conftest import DOLLAR
from tests.support import clock

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def logs_put_back():
    """Commands that log set up the process; here it outlives them."""
    handlers = list(logging.root.handlers)
    yield
    logging.root.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def answered(world):
    """An exact model with two answers: a right one and a wrong one; return their ids."""
    network, made = world.network, example()
    owner, operator, alice = map(world.wallet, ("owner", "op1", "alice"))
    for wallet in (owner, operator, alice):
        balances.fund(network, wallet.address, Amount(100 * DOLLAR))
    folder = folder_of(world.home / "exact", made)
    sale = SaleTerms(fee=Amount(DOLLAR), challenge_window=3600)
    model_id = publishing.publish(network, owner, folder, sale).model_id
    operators.register(network, operator, "")
    operators.stake(network, operator, Amount(90 * DOLLAR))
    operators.authorize(network, owner, model_id, operator.address)
    balances.deposit(network, alice, Amount(10 * DOLLAR))
    data = files.record(0, made.honest.tree(0))
    network.ipfs.publish_bytes(data)
    order = Order(
        model_id, 1, 0, made.honest.input_root, tensor.digest(data), ZERO32, Amount(DOLLAR),
        60, 600, operator.address,
    )  # fmt: skip
    ids = []
    for lane, committed in enumerate((made.honest, made.lie_at_the_end)):
        asked = alice.send(network.market.request(replace(order, lane=lane))).one(Requested)
        record = files.record(3, committed.tree(3))
        network.ipfs.publish_bytes(record)
        call = network.market.deliver(
            asked.request, NO_CLAIM, OperatorAnswer(committed.output_root, tensor.digest(record))
        )
        ids.append("0x" + operator.send(call).one(Delivered).request_id.hex())
    return ids


def test_verify__right_answer__exit_code_0(tallystick, answered):
    found = tallystick("verify", answered[0])
    assert found["verdict"] == "right"


def test_verify__wrong_answer__exit_code_3_and_what_to_do(tallystick, answered, capsys):
    found = tallystick("verify", answered[1], code=3)
    assert found["verdict"] == "wrong"
    assert (found["output"]["row"], found["output"]["col"]) == (4, 5)
    assert main(["verify", answered[1]]) == 3
    text = capsys.readouterr().out
    assert "element [4, 5] is" in text
    assert f"tallystick challenger run --request {answered[1]}" in text


def test_run__no_wallet__says_how(tallystick, answered):
    assert tallystick("challenger", "run", "--once", code=78)["error"] == "ConfigInvalid"


@pytest.mark.parametrize(
    ("options", "code"), [(("--fraction", "2"), 65), (("--max-bond", "much"), 65)]
)
def test_run__bad_options__refuses(tallystick, answered, options, code):
    tallystick("challenger", "run", "--once", "--key", "alice", *options, code=code)


def test_run__bond_above_the_limit__nothing_is_sent(tallystick, answered):
    done = tallystick(
        "challenger", "run", "--once", "--key", "alice", "--max-bond", "0.000000000000000001"
    )
    assert (done["wrong"], done["transactions"]) == (1, [])
    assert "above your limit" in done["games"][0]["note"]


def test_run__wrong_answer__challenged_listed_and_convicted_for_silence(
    tallystick, world, answered, capsys
):
    done = tallystick("challenger", "run", "--once", "--key", "alice")
    assert [t["what"] for t in done["transactions"]] == ["challenge an answer"]
    (game,) = tallystick("challenger", "list", "--key", "alice")
    assert (game["request_id"], game["turn_of"]) == (answered[1], "the operator's: the trace")
    shown = tallystick("challenger", "show", answered[1])
    assert [move["event"] for move in shown["moves"]] == ["Challenged"]
    assert main(["challenger", "show", answered[1]]) == 0
    assert "demands the trace" in capsys.readouterr().out
    clock.pass_time(world.network.rpc, 120)
    done = tallystick("challenger", "run", "--request", answered[1], "--key", "alice")
    assert [t["what"] for t in done["transactions"]] == ["convict: silent", "withdraw bonds"]
    assert tallystick("request", "show", answered[1])["state"] == "convicted"
    assert tallystick("challenger", "withdraw", "--key", "alice")["amount"] == 0
    assert tallystick("challenger", "list", "--all") == []
