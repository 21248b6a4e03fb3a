"""What a request costs, held to the goal of benchmarks/gas.py: gas is the same in every run."""

import pytest

from benchmarks.gas import GOALS, Market
from oracle.chain.anvil import Anvil


@pytest.mark.real
def test_request_and_deliver__flat_fee__within_the_goal() -> None:
    with Anvil() as anvil:
        market = Market(anvil, {})
        for _ in range(2):  # the first writes fresh slots
            request, asked = market.ask(lane=64)
            delivery, delivered = market.deliver(request)
            market.finalize([request], [delivery])
    assert asked.gas_used + delivered.gas_used <= GOALS["request + deliver"]
