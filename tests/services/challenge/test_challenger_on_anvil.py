"""A challenger against real contracts: what lies is convicted, what is honest is left alone."""

import pytest

from oracle.services import requests
from oracle.services.timeline import State
from tests.services.challenge.conftest import CHALLENGER, Arena

pytestmark = pytest.mark.real
ME = CHALLENGER.address


def test_once__liar_serves_its_trace__convicted_in_two_transactions(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id)
    with arena.challenger() as challenger:
        report = challenger.once()
    print([t for t in report.transactions])
    assert requests.show(arena.world.context, request_id).state is State.CONVICTED
