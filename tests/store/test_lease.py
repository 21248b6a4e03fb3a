"""Leases: one holder at a time, until it gives back or its time is over."""

from oracle.store.store import Store


def test_lease__held_by_another__is_not_taken_until_given_back_or_over() -> None:
    now = 100.0
    store = Store.open("sqlite://", lambda: now)
    with store.begin() as tx:
        assert tx.lease("watch", "one", 15.0)
        assert tx.lease("watch", "one", 15.0)  # renewed
        assert not tx.lease("watch", "two", 15.0)
        assert tx.lease("other", "two", 15.0)
        tx.release("watch", "two")  # not its own: nothing happens
        assert not tx.lease("watch", "two", 15.0)
        tx.release("watch", "one")
        assert tx.lease("watch", "two", 15.0)
    now = 115.0
    with store.begin() as tx:
        assert tx.lease("watch", "one", 15.0)
    store.close()


def test_lease__its_end_is_an_hour_away__a_clock_was_wrong_and_it_is_taken() -> None:
    now = [10_000.0]
    store = Store.open("sqlite://", now=lambda: now[0])
    with store.begin() as tx:
        assert tx.lease("watch", "ahead", 15.0)
    now[0] -= 3_600
    with store.begin() as tx:
        assert tx.lease("watch", "another", 15.0)
    store.close()
