"""An operator of `tallystick up` sells through channels by itself: found, paid, killed, found."""

import os
import signal
from pathlib import Path

import pytest

from oracle.devnet.network import LOCKS, DevnetPlan, running
from oracle.errors import TallystickError
from oracle.services import balances, operators, publishing
from oracle.services.channels import offers
from oracle.services.publishing import SaleTerms
from oracle.types import Amount
from tallystick import Connection
from tallystick.channel import PaidChannel, ReceivedAnswer
from tests.support.waiting import wait_until
from tests.worker.builders import images, write_digits

pytestmark = pytest.mark.real


def test_up__selling_operator__covers_announces_answers_and_restarts(tmp_path: Path) -> None:
    plan = DevnetPlan(tmp_path / "home", operators=("alpha",), selling=("alpha",))
    with running(plan, environ={"PATH": os.environ["PATH"]}) as devnet:
        network, owner = devnet.network, devnet.wallet("owner")
        folder, sale = (
            write_digits(tmp_path / "sold", name="sold-digits"),
            SaleTerms(Amount(10_000)),
        )
        model_id = publishing.publish(network, owner, folder, sale).model_id
        payer, alpha = devnet.wallet("requester"), devnet.accounts["alpha"]
        operators.authorize(network, owner, model_id, alpha)
        balances.fund(network, payer.address, Amount(10 * 10**6))

        def found() -> PaidChannel | None:
            try:
                return Connection(network, payer).channel("sold-digits", deposit="1")
            except TallystickError:  # not covered, or its model not loaded yet
                return None

        channel = wait_until(found, "an offer that answers")
        first = channel.ask(images())
        assert (first.receipt.index, first.request.operator) == (1, alpha)
        (offer,) = offers.list_offers(network)
        assert offer.locks == LOCKS

        def endpoint() -> int | None:
            parts = {part.name: part for part in devnet.parts()}
            devnet.poll()
            return parts["alpha.endpoint"].pid

        before = endpoint()
        assert before
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: endpoint() not in (None, before), "another endpoint")

        def answered() -> ReceivedAnswer | None:
            try:
                return channel.ask(images())
            except TallystickError:  # it starts
                return None

        assert wait_until(answered, "an answer of the other one").receipt.index == 2
