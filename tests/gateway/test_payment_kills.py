"""The death of a gateway at any commit and any transaction of a payment's life.

Whatever the moment: the payer has paid once or not at all, was asked for once, and got everything
back once, because nobody answers here.
"""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.bindings.inference_market import Requested
from oracle.chain.bindings.test_dollar import Transfer
from oracle.errors import TransientError, Unavailable
from oracle.gateway.gateway import Gateway
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.store import Store
from oracle.store.payment_repository import PaymentState
from oracle.store.store import Transaction
from tests.gateway.conftest import question
from tests.gateway.test_facilitator import PAYER, payer, signed, state, take, tokens
from tests.services.conftest import DOLLAR
from tests.support.effort import PAYMENT_KILLS
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

__all__ = ["payer"]
STEPS = 36  # above what a life takes; the test says when it is not


class Life:
    """A process that is cut off from store and node at its n-th step, before it or after."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after, self.over = at, after, False
        self.steps = itertools.count(1)

    @contextmanager
    def step(self) -> Iterator[None]:
        self.check()
        number = next(self.steps)
        self.over = self.over or (number == self.at and not self.after)
        self.check()
        yield
        self.over = self.over or number == self.at
        self.check()

    def check(self) -> None:
        if self.over:
            raise Unavailable("this process is dead")


class MortalStore(Store):
    """Counts commits."""

    life: Life

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        with self.life.step(), super().begin() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        self.life.check()
        with super().read() as tx:
            yield tx


class MortalNode:
    """Counts transactions."""

    def __init__(self, rpc, life):
        self._rpc, self._life = rpc, life

    def call(self, method, *params):
        if method == "eth_sendRawTransaction":
            with self._life.step():
                return self._rpc.call(method, *params)
        self._life.check()
        return self._rpc.call(method, *params)

    def batch(self, calls):
        self._life.check()
        return self._rpc.batch(calls)


def born(market, url, at=0, after=False):
    """A gateway on this store; it dies at the step that is given."""
    store = MortalStore.open(url)
    store.life = Life(at, after)
    network = market.network
    network = Network.over(network.settings, MortalNode(network.rpc, store.life), network.ipfs)
    gateway = Gateway(network, dev_account(2), store)
    gateway.start()
    return gateway


async def asked(gateway, payment):
    """Pay and ask, as a client that waits for a moment."""
    kept = await gateway.facilitator.settled(take(gateway, payment), 0.3)
    ticket = await gateway.accept(
        gateway.facilitator.key, question(gateway, idempotency=kept.id.hex())
    )
    return await gateway.requested(ticket, 0.3)


@pytest.mark.parametrize(
    ("at", "after"), list(itertools.product(range(1, STEPS + 1), (False, True)))[::-PAYMENT_KILLS]
)
def test_kill__at_any_step__paid_once_asked_once_and_given_back_once(market, url, payer, at, after):
    gateway = born(market, url, at, after)

    def persist(act):
        """Try as a client does, with another process when this one is dead."""
        nonlocal gateway

        def tried():
            nonlocal gateway
            if gateway.store.life.over:
                gateway.close()
                gateway = born(market, url)
            try:
                return act(gateway)
            except TransientError:
                return None

        return wait_until(tried)

    try:
        payment = signed(gateway)
        request_id = persist(lambda living: asyncio.run(asked(living, payment)))
        market.pass_time(601)

        def refunded(living):
            living.sweeper.sweep()
            living.payments.look()
            return state(living, payment) is PaymentState.REFUNDED

        persist(refunded)
        assert at < STEPS or gateway.store.life.at == STEPS, "it died: a life has more steps"
    finally:
        gateway.close()

    network, ours = market.network, gateway.address
    read, token = network.history.read, network.token.address
    assert tokens(market) == 3 * DOLLAR
    assert len(read(token, (Transfer,), topic(PAYER.address), topic(ours))) == 1
    back = read(token, (Transfer,), topic(network.market.address), topic(PAYER.address))
    assert len(back) == 1
    requested = read(network.market.address, (Requested,), None, None, topic(ours))
    assert [one.event.request_id for one in requested] == [request_id]
    assert network.market.balance_of(ours) + tokens(market, ours) == 5 * DOLLAR
