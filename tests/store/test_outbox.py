"""The outbox in a store keeps the port's promises as the one in memory does."""

from dataclasses import replace

import pytest

from oracle.chain.contract import Call
from oracle.chain.outbox import AlreadyPending, EntryState, OutboxStore
from oracle.store import Store
from oracle.store.outbox import SqlOutbox
from oracle.types import Wei
from tests.store.samples import ALICE, request_id

CALL = Call(ALICE, b"\x01\x02", Wei(10**25), "deliver 2 answers")
A, B, C = map(request_id, "abc")


@pytest.mark.parametrize("state", [EntryState.INTENT, EntryState.SENT])
def test_add__a_request_of_it_is_under_way__refused_with_the_entry(
    outbox: OutboxStore, state: EntryState
) -> None:
    entry = replace(outbox.add("deliver", [A, B], CALL), state=state)
    outbox.put(entry)

    with pytest.raises(AlreadyPending) as caught:
        outbox.add("deliver", [C, B], CALL)
    assert caught.value.entry == entry
    assert outbox.live() == [entry]


def test_put__nonce_of_another_live_entry__refused_and_nothing_changed(outbox: OutboxStore) -> None:
    first = replace(outbox.add("deliver", [A], CALL), nonce=4)
    outbox.put(first)
    second = outbox.add("deliver", [B], CALL)

    with pytest.raises(ValueError, match="nonce 4"):
        outbox.put(replace(second, nonce=4, raws=(b"x",)))
    assert outbox.live() == [first, second]


@pytest.mark.parametrize("state", [EntryState.MINED, EntryState.FAILED])
def test_add__after_the_end_of_the_last__allowed(outbox: OutboxStore, state: EntryState) -> None:
    first = outbox.add("deliver", [A], CALL)
    outbox.put(replace(first, nonce=4, state=state))

    second = outbox.add("deliver", [A], CALL)
    outbox.put(replace(second, nonce=4))

    assert second.id > first.id
    assert [entry.id for entry in outbox.live()] == [second.id]


def test_add__another_kind_or_no_request__beside_it(outbox: OutboxStore) -> None:
    entries = [
        outbox.add("claim", [A], CALL),
        outbox.add("deliver", [A], CALL),
        outbox.add("stake", [], CALL),
        outbox.add("stake", [], CALL),
    ]

    assert outbox.live() == entries
    assert [entry.request_ids for entry in entries] == [(A,), (A,), (), ()]


def test_put__every_field__read_back(outbox: OutboxStore) -> None:
    entry = replace(
        outbox.add("deliver", [B, A], CALL),
        state=EntryState.SENT,
        nonce=2**40,
        gas=30_000_000,
        max_fee=10**24,
        priority_fee=10**9,
        raws=(b"\x02first", b"\x02second"),
        sent_at=1234.5,
        error="underpriced",
        permanent=True,
        block_number=9,
    )
    outbox.put(entry)
    assert outbox.live() == [entry]
    assert entry.call == CALL

    fewer = replace(entry, raws=(b"\x02third",))
    outbox.put(fewer)
    assert outbox.live() == [fewer]


def test_of__request__every_entry_that_served_it(store: Store) -> None:
    outbox = SqlOutbox(store)
    first = replace(outbox.add("deliver", [A, B], CALL), state=EntryState.FAILED)
    outbox.put(first)
    second = outbox.add("deliver", [A], CALL)

    assert outbox.of(A) == [first, second]
    assert outbox.of(C) == []


def test_live__another_process__sees_what_was_committed(shared_url: str) -> None:
    writer, reader = Store.open(shared_url), Store.open(shared_url)
    entry = SqlOutbox(writer).add("deliver", [A], CALL)

    assert SqlOutbox(reader).live() == [entry]
    writer.close()
    reader.close()
