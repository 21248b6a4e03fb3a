"""Replies and statements in a store: what stays, what goes, what is due."""

from dataclasses import replace

from oracle.store import Store
from oracle.store.reply_repository import GameTurn, ReplyKind, Statement
from oracle.types import Timestamp
from tests.store.samples import ALICE, BOB, request_id, word

ID = request_id("r")
TO_ALICE = GameTurn(ALICE, ReplyKind.NODE, Timestamp(100), 3, 6, 2**60)
TO_BOB = GameTurn(BOB, ReplyKind.TRACE, Timestamp(90))


def demands(tx, about=ID):
    return {reply.demand for reply in tx.replies_to(about)}


def test_owe__fewer_than_before__the_others_are_gone(store: Store) -> None:
    with store.begin() as tx:
        tx.owe(ID, [TO_ALICE, TO_BOB])
        tx.owe(request_id("other"), [TO_BOB])
        tx.owe(ID, [TO_ALICE])
        assert demands(tx) == {TO_ALICE}
        assert demands(tx, request_id("other")) == {TO_BOB}
        assert tx.owing([ID, request_id("none")]) == {ID}


def test_owe__same_demand__keeps_what_was_sent_for_it(store: Store) -> None:
    with store.begin() as tx:
        tx.owe(ID, [TO_ALICE])
        (reply,) = tx.replies_to(ID)
        sent = replace(reply, attempt=2, retry_at=7.5, generation="g")
        tx.put_replies([sent])
        tx.owe(ID, [TO_ALICE])
        assert tx.replies_to(ID) == [sent]
        tx.owe(ID, [replace(TO_ALICE, first=5)])
        assert tx.reply(ID, ALICE) == replace(reply, demand=replace(TO_ALICE, first=5))


def test_due_replies__over_or_sent_a_moment_ago__left_out(store: Store) -> None:
    def due(tx, chain, wall, generation):
        return [r.demand.challenger for r in tx.due_replies(Timestamp(chain), wall, generation)]

    with store.begin() as tx:
        tx.owe(ID, [TO_ALICE, TO_BOB])
        assert due(tx, 0, 0, "g") == [BOB, ALICE]  # the most urgent first
        assert due(tx, 90, 0, "g") == [ALICE]  # over at 90
        replies = tx.replies_to(ID)
        tx.put_replies(replace(r, attempt=1, retry_at=10, generation="g") for r in replies)
        assert due(tx, 0, 9, "g") == []
        assert due(tx, 0, 10, "g") == [BOB, ALICE]
        assert due(tx, 0, 9, "another") == [BOB, ALICE]
        ahead = [replace(r, retry_at=3_600, generation="g") for r in replies]
        tx.put_replies(ahead)  # by a clock that was an hour ahead
        assert due(tx, 0, 9, "g") == [BOB, ALICE]


def test_state__second_trace__first_stands(store: Store) -> None:
    with store.begin() as tx:
        assert tx.statement(ID) is None
        assert tx.state(ID, word("a")) == Statement(word("a"), b"")
        tx.sign(ID, b"signature")
        assert tx.state(ID, word("b")) == Statement(word("a"), b"signature")


def test_rewind__to_the_beginning__what_was_stated_stays(store: Store) -> None:
    with store.begin() as tx:
        tx.state(ID, word("a"))
        tx.rewind(0)
        assert tx.statement(ID) is not None
