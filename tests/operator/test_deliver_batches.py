"""Deliveries that come together share a transaction, and one that comes alone waits for nothing."""

from types import SimpleNamespace

import pytest

from oracle.operator.submit_process import BATCH_WINDOW, Deliver
from oracle.operator.submitter import MAX_DELIVERIES


class Deliveries(Deliver):
    """Notes the sizes of its batches; time passes when it is told to."""

    name = "deliver"

    def __init__(self):
        super().__init__()
        self.now, self.sizes = 1000.0, []
        self.clock = lambda: self.now

    def _dispatch(self, batch):
        self.sizes.append(len(batch))

    def come(self, count, after=0.0):
        self.now += after
        for _ in range(count):
            self._buffer.put(SimpleNamespace(eta=None, delivery_info={}))
        self._do_flush()


@pytest.fixture
def deliveries():
    return Deliveries()


def test_flush__alone__at_once(deliveries):
    for _ in range(3):
        deliveries.come(1, after=1.1 * BATCH_WINDOW)
    assert deliveries.sizes == [1, 1, 1]


def test_flush__after_a_crowd__waits_for_the_next_one_and_no_longer(deliveries):
    deliveries.come(20)
    deliveries.come(3, after=BATCH_WINDOW)
    deliveries.come(4, after=3.9 * BATCH_WINDOW)
    assert deliveries.sizes == [20]
    deliveries.come(1, after=0.2 * BATCH_WINDOW)
    assert deliveries.sizes == [20, 8]


def test_flush__a_transaction_is_full__at_once(deliveries):
    deliveries.come(20)
    deliveries.come(MAX_DELIVERIES)
    assert deliveries.sizes == [20, MAX_DELIVERIES]
