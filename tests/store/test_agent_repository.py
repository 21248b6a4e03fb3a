"""What agents keep: on SQLite and PostgreSQL alike."""

from oracle.store import Store
from oracle.store.agent_repository import CaseState, DeliveryCase, KeptReceipt
from tests.store.samples import request_id, word

ID, ROOT = request_id("one"), word("root")


def test_commitment__nothing_kept__none(store: Store) -> None:
    with store.read() as tx:
        assert tx.commitment(b"vote") is None


def test_keep_commitment__second_about_a_subject__first_stands(store: Store) -> None:
    with store.begin() as tx:
        first = tx.keep_commitment(b"vote", "mismatch")
    with store.begin() as tx:
        assert tx.keep_commitment(b"vote", "match") == first
        other = tx.keep_commitment(b"another vote", "match")
    with store.read() as tx:
        assert tx.commitment(b"vote") == first
    assert first.content == "mismatch"
    assert len({first.salt, other.salt, bytes(32)}) == 3


def test_add_case__known__stays_as_it_is(store: Store) -> None:
    with store.begin() as tx:
        tx.add_case(ID, ROOT)
        tx.put_case(DeliveryCase(ID, ROOT, CaseState.WRONG, "why"))
        tx.add_case(ID, ROOT, CaseState.RIGHT)
        tx.add_case(ID, word("another answer"))
    with store.read() as tx:
        assert tx.cases([CaseState.WRONG]) == [DeliveryCase(ID, ROOT, CaseState.WRONG, "why")]
        assert len(tx.cases()) == 2


def test_reopen_cases__over__due_again_and_the_others_stay(store: Store) -> None:
    with store.begin() as tx:
        for state in CaseState:
            tx.add_case(request_id(state), ROOT, state)
        tx.reopen_cases()
    with store.read() as tx:
        due = {case.request_id for case in tx.cases([CaseState.DUE])}
        assert due == {request_id("due"), request_id("over")}
        assert len(tx.cases([CaseState.RIGHT, CaseState.WRONG])) == 2


def test_keep_receipt__leaves_come_later__are_added_and_never_dropped(store: Store) -> None:
    bare = KeptReceipt(ROOT, word("trace"), b"signature")
    whole = KeptReceipt(ROOT, word("trace"), b"signature", (word("a"), word("b")))
    other = KeptReceipt(word("another answer"), word("trace"), b"other")
    for receipt in (bare, whole, bare, other):
        with store.begin() as tx:
            tx.keep_receipt(ID, receipt)
    with store.read() as tx:
        found = tx.receipts(ID)
        assert sorted(found, key=lambda one: one.signature) == [other, whole]
        assert tx.receipts(request_id("two")) == []


def test_keep_tensor__again__first_bytes_stand(store: Store) -> None:
    with store.begin() as tx:
        tx.keep_tensor(ID, 3, ROOT, b"first")
        tx.keep_tensor(ID, 3, ROOT, b"second")
    with store.read() as tx:
        assert tx.tensor(ID, 3, ROOT) == b"first"
        assert tx.tensor(ID, 4, ROOT) is None
