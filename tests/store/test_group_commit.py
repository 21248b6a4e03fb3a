"""Changes that many threads make together: one commit, and what was acknowledged is durable."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from oracle.chain.contract import Call
from oracle.gateway.sponsor import KIND
from oracle.store import Store
from oracle.store.gateway_repository import BudgetExhausted, Ticket, TicketState
from oracle.store.outbox import SqlOutbox, add_in
from oracle.types import Address, Amount, Bytes32, RequestId, Wei
from tests.support.waiting import wait_until

MARKET = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
KEY, FEE, BUDGET = 1, 10, 1_000_000


def accept(tx, ticket_id: bytes) -> RequestId:
    """Take a request on, as a gateway does."""
    ticket = Ticket(
        id=RequestId(ticket_id), key_id=KEY, idempotency=None, digest=Bytes32(ticket_id),
        model_id=1, version=1, lane=0, fee=Amount(FEE), created_at=1.0,
    )  # fmt: skip
    tx.charge(KEY, Amount(FEE))
    tx.add_ticket(ticket)
    add_in(tx, KIND, [ticket.id], Call(MARKET, b"\1", Wei(0), "request"))
    return ticket.id


def mint(store: Store, budget: int = BUDGET) -> None:
    with store.begin() as tx:
        assert tx.add_api_key("tests", b"digest", Amount(budget), 0, ()).id == KEY


def spent(store: Store) -> int:
    with store.read() as tx:
        return tx.api_keys()[0].spent


def together(store: Store, ids: list[bytes]):
    """Let so many requests wait, and then be accepted in one group."""
    held, go = threading.Event(), threading.Event()

    def hold(tx) -> None:
        held.set()
        go.wait()

    with ThreadPoolExecutor(len(ids) + 1) as pool:
        pool.submit(store.write, hold)
        held.wait()
        waiting = [pool.submit(store.write, lambda tx, i=i: accept(tx, i)) for i in ids]
        wait_until(lambda: len(store._together._waiting) == len(ids))
        go.set()
    return waiting


def test_write__one_member_fails__it_leaves_no_trace_and_the_others_are_kept(store):
    mint(store)
    with store.begin() as tx:
        accept(tx, bytes(32))
    ids = [bytes([n]) * 32 for n in (1, 0, 2)]  # the second has an id that is taken
    first, second, third = together(store, ids)
    assert (first.result(), third.result()) == (ids[0], ids[2])
    assert second.exception() is not None
    assert spent(store) == 3 * FEE  # the failed one was charged before it failed
    assert [e.request_ids for e in SqlOutbox(store).live()] == [(bytes(32),), (ids[0],), (ids[2],)]


def test_write__budget_covers_some__those_and_no_more(store):
    mint(store, 2 * FEE)
    waiting = together(store, [bytes([n]) * 32 for n in range(5)])
    refused = [one.exception() for one in waiting if one.exception()]
    assert [type(error) for error in refused] == [BudgetExhausted] * 3
    assert spent(store) == 2 * FEE


def test_write__many_wait__one_commit(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    mint(store)
    commits = []
    event.listen(store._engine, "commit", commits.append)
    for one in together(store, [bytes([n]) * 32 for n in range(20)]):
        one.result()
    assert len(commits) == 2  # of who held the others up, and of the others
    store.close()


# ── kill -9 ─────────────────────────────────────────────────────────────────────────────────────
CLIENTS = 16


def flood(url: str) -> None:
    """Accept requests from many threads for ever; print the id of each that was acknowledged."""
    store = Store.open(url)

    def ask(_: int) -> None:
        while True:
            kept = store.write(lambda tx: accept(tx, os.urandom(32)))
            os.write(1, kept.hex().encode() + b"\n")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, range(CLIENTS)))


@pytest.mark.real
@pytest.mark.parametrize("answers", [1, 50, 333])
def test_write__killed__what_was_acknowledged_is_there_whole(shared_url, answers):
    store = Store.open(shared_url)
    mint(store)
    child = subprocess.Popen([sys.executable, "-m", __name__, shared_url], stdout=subprocess.PIPE)
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(answers)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.readlines()
    child.wait()
    acknowledged = {bytes.fromhex(line.decode()) for line in told if line.endswith(b"\n")}
    with store.read() as tx:
        tickets = tx.open_tickets()
    assert acknowledged <= {ticket.id for ticket in tickets}
    assert {ticket.state for ticket in tickets} == {TicketState.ACCEPTED}
    assert spent(store) == FEE * len(tickets)  # charge, ticket and intent: all or none
    intents = [entry.request_ids for entry in SqlOutbox(store).live()]
    assert sorted(intents) == sorted((ticket.id,) for ticket in tickets)
    store.write(lambda tx: accept(tx, b"\7" * 32))  # and nobody is locked out
    store.close()


if __name__ == "__main__":
    flood(sys.argv[1])
