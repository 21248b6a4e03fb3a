"""What people see of games, and the acts that anyone may take on them."""

import pytest

from oracle.errors import NotFound, PermanentError
from oracle.services import disputes
from oracle.types import RequestId
from tests.agents.challenger.conftest import CHALLENGER, Arena

pytestmark = pytest.mark.real
ME = CHALLENGER.address


@pytest.fixture
def opened(arena: Arena) -> RequestId:
    """A challenge that demands the trace."""
    request_id = arena.deliver(arena.example.lie_inside)
    with arena.challenger() as challenger:
        challenger.once()
    return request_id


def test_show__no_such_request__not_found(arena: Arena) -> None:
    with pytest.raises(NotFound):
        disputes.show(arena.world.network, RequestId(b"\x01" * 32))


def test_lapse__operators_turn__says_where_to_look(arena: Arena, opened: RequestId) -> None:
    with pytest.raises(PermanentError, match=r"no challenge of request .* has lapsed") as caught:
        disputes.lapse(arena.world.network, arena.world.stranger, opened)
    assert "challenger show" in caught.value.hint


def test_list__open_game__turn_deadline_and_bond(arena: Arena, opened: RequestId) -> None:
    (game,) = disputes.list_games(arena.world.network, ME)
    assert (game.request_id, game.challenger, game.turn_of) == (
        opened, ME, "the operator's: the trace",
    )  # fmt: skip
    assert not game.over
    assert game.bond > 0
    assert disputes.list_games(arena.world.network) == (game,)
    assert disputes.list_games(arena.world.network, arena.world.owner.address) == ()


def test_lapse__challenger_vanished__bond_is_split(arena: Arena, opened: RequestId) -> None:
    network = arena.world.network
    arena.reply(opened, ME)
    (game,) = disputes.list_games(network)
    arena.world.pass_time(120)
    disputes.lapse(network, arena.world.stranger, opened)
    assert disputes.list_games(network) == ()
    assert network.game.bond_of(arena.world.operator.address) == game.bond // 2
    events = [move.event for move in disputes.show(network, opened).moves]
    assert events == ["Challenged", "TraceCommitted", "ChallengeFailed"]


def test_withdraw__nothing_there__nothing_is_sent(arena: Arena) -> None:
    done = disputes.withdraw(arena.world.network, arena.world.stranger)
    assert (done.transaction, done.amount, done.released) == (None, 0, 0)
