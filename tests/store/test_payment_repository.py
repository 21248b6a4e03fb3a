"""Payments in the store: taken once, moved only from the state that was seen."""

import pytest
from sqlalchemy.exc import IntegrityError

from oracle.store import Store
from oracle.store.payment_repository import OVER, PaymentState
from tests.store.samples import payment, request_id, word

ONE = payment("one")


def test_add_payment__twice__is_refused(store: Store) -> None:
    with store.begin() as tx:
        tx.add_payment(ONE)
    with pytest.raises(IntegrityError), store.begin() as tx:
        tx.add_payment(ONE)


def test_move_payment__from_another_state__changes_nothing(store: Store) -> None:
    with store.begin() as tx:
        tx.add_payment(ONE)
        assert tx.move_payment(ONE.id, PaymentState.SETTLING, PaymentState.SETTLED)
        assert not tx.move_payment(ONE.id, PaymentState.SETTLING, PaymentState.REFUSED, error="no")
        assert not tx.move_payment(request_id("none"), PaymentState.SETTLING, PaymentState.VOID)
        found = tx.payment(ONE.id)
    assert found is not None
    assert (found.state, found.error) == (PaymentState.SETTLED, "")


@pytest.mark.parametrize("over", sorted(OVER))
def test_payments__of_some_states__are_those_alone(store: Store, over: PaymentState) -> None:
    two, unfinished = payment("two", created_at=2_000.0), set(PaymentState) - OVER
    with store.begin() as tx:
        for one in (two, ONE):
            tx.add_payment(one)
        assert [one.id for one in tx.payments(unfinished)] == [ONE.id, two.id]
        tx.move_payment(ONE.id, PaymentState.SETTLING, over)
        assert [one.id for one in tx.payments(unfinished)] == [two.id]
        assert [one.id for one in tx.payments([over])] == [ONE.id]
        assert [one.id for one in tx.payments()] == [ONE.id, two.id]
        counted = tx.count_payments()
    assert counted == dict.fromkeys(unfinished, 0) | {PaymentState.SETTLING: 1}


def test_payment__everything_set__comes_back(store: Store) -> None:
    with store.begin() as tx:
        tx.add_payment(ONE)
        tx.move_payment(
            ONE.id, PaymentState.SETTLING, PaymentState.OWED,
            transaction=word("sent"), refund=2**53, error="why",
        )  # fmt: skip
    with store.read() as tx:
        found = tx.payment(ONE.id)
        assert tx.payment(request_id("none")) is None
    assert found is not None
    assert (found.transaction, found.refund, found.error) == (word("sent"), 2**53, "why")
    assert (found.payer, found.nonce, found.digest) == (ONE.payer, ONE.nonce, ONE.digest)
