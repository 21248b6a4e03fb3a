"""Members and challengers of float answers, with commands alone."""

import numpy as np
import pytest

from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.cli import main
from oracle.protocol import tensor
from oracle.services import balances
from oracle.types import NO_CLAIM, ZERO32, Amount, OperatorAnswer, Order
from tests.services.conftest import DOLLAR
from tests.support import clock

pytestmark = pytest.mark.real


@pytest.fixture
def answered(market):
    """Deliver an answer of the float model; return its id."""
    network = market.network
    operator, alice = market.wallet("op1"), market.wallet("alice")
    data = tensor.encode({"image": np.zeros((1, 1, 2, 2), np.float32)})
    root = network.ipfs.publish_bytes(data).sha256
    order = Order(
        1, 1, 0, root, ZERO32, ZERO32, Amount(DOLLAR), 60, 600, operator.address,
    )  # fmt: skip
    asked = alice.send(network.market.request(order)).one(Requested)
    call = network.market.deliver(asked.request, NO_CLAIM, OperatorAnswer(root, ZERO32))
    return "0x" + operator.send(call).one(Delivered).request_id.hex()


@pytest.fixture
def seated(market, tallystick):
    """Give the owner of another model a seat, in time."""
    for name in ("owner", "op1", "alice"):
        balances.fund(market.network, market.wallet(name).address, Amount(100 * DOLLAR))
    return tallystick("committee", "enlist", "60", "--key", "alice", "--yes")


def test_enlist__a_seat__is_shown(market, tallystick, seated, capsys):
    assert (seated["stake"], seated["release_at"]) == ("60.00", 0)
    assert tallystick("committee", "seat", "alice")["stake"] == "60.00"
    assert tallystick("committee", "seat", "alice", "--class", "onnx")["stake"] == "0.00"
    assert main(["committee", "seat", "alice"]) == 0
    assert "$60.00" in capsys.readouterr().out


def test_enlist__too_little__refused(market, tallystick, seated):
    given = ("committee", "enlist", "5", "--class", "onnx", "--key", "alice", "--yes")
    assert tallystick(*given, code=77)["error"] == "ContractError"


def test_leave__starts_the_delay(market, tallystick, seated):
    assert tallystick("committee", "leave", "--key", "alice")["release_at"] > 0
    tallystick("committee", "leave", "--key", "alice", code=77)


def test_seat__nobody_named__says_how(market, tallystick):
    assert tallystick("committee", "seat", code=78)["error"] == "ConfigInvalid"


def test_show__no_dispute__says_so(market, tallystick, answered):
    assert "nobody called" in tallystick("committee", "show", answered, code=1)["message"]


def test_challenge__nobody_to_draw__refused(market, tallystick, answered):
    done = tallystick("committee", "challenge", answered, "--key", "owner", "--yes", code=77)
    assert "could be drawn" in done["message"]


def test_challenge__drawn_listed_and_shown(market, tallystick, answered, seated, capsys):
    """The requester is the only member, so a stranger must sit there too."""
    rpc = market.network.rpc
    tallystick("committee", "enlist", "60", "--key", "op1", "--yes")
    tallystick("wallet", "new", "zoe")
    tallystick("wallet", "fund", "zoe", "100")
    tallystick("committee", "enlist", "60", "--key", "zoe", "--yes")
    clock.pass_time(rpc, 10)
    found = tallystick("committee", "challenge", answered, "--key", "owner", "--yes")
    assert (found["stage"], found["eligible"]) == ("drawing", "60.00")
    for _ in range(3):
        rpc.call("evm_mine")
    assert tallystick("committee", "draw", answered, "--key", "alice")["stage"] == "voting"
    assert [one["stage"] for one in tallystick("committee", "list")] == ["voting"]
    assert main(["committee", "show", answered]) == 0
    text = capsys.readouterr().out
    assert "an honest majority of the whole pool" in text
    assert "RoundCalled" in text
    tallystick("committee", "tally", answered, "--key", "alice", code=77)
    assert tallystick("committee", "withdraw", "--key", "alice") == []
