"""The small parts of the gateway: buckets, notifier, lanes, keys, tickets; no sockets."""

import asyncio
import threading
from pathlib import Path

import pytest

from oracle.config import Settings
from oracle.errors import InputInvalid, NotFound
from oracle.gateway import api_keys, worker_progress
from oracle.gateway.api_keys import KeyRefused
from oracle.gateway.notifier import Notifier
from oracle.gateway.sponsor import Lanes
from oracle.gateway.worker_progress import WorkerProgress
from oracle.rate_limit import Buckets
from oracle.store import Store
from oracle.store.gateway_repository import BudgetExhausted, Ticket, TicketState
from oracle.types import Amount, RequestId

ONE = RequestId(b"\1" * 32)
ASKED = RequestId(b"\2" * 32)


@pytest.fixture
def store():
    opened = Store.open("sqlite://")
    yield opened
    opened.close()


def ticket(key_id, ticket_id=ONE, fee=30):
    return Ticket(ticket_id, key_id, None, b"\7" * 32, 1, 1, 0, Amount(fee), 1.0)


# ── Keys ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("name", "budget"), [("", 1), ("x" * 65, 1), ("a\nb", 1), ("a", 0)])
def test_mint__nonsense__is_refused(store, name, budget):
    with pytest.raises(InputInvalid):
        api_keys.mint(store, name, Amount(budget))


def test_mint__name_twice__is_refused(store):
    api_keys.mint(store, "a", Amount(1))
    with pytest.raises(InputInvalid, match="already"):
        api_keys.mint(store, "a", Amount(1))


def test_authenticate__forged_or_revoked__is_refused(store):
    minted = api_keys.mint(store, "a", Amount(1), models=(1, 2))
    assert api_keys.authenticate(store, minted.secret).models == (1, 2)
    with pytest.raises(KeyRefused, match="not known"):
        api_keys.authenticate(store, minted.secret + "x")
    api_keys.revoke(store, "a")
    with pytest.raises(KeyRefused, match="revoked"):
        api_keys.authenticate(store, minted.secret)
    with pytest.raises(NotFound):
        api_keys.revoke(store, "a")


def test_renew__secret_lost__another_has_what_is_left(store):
    lost = api_keys.mint(store, "a", Amount(3))
    with store.begin() as tx:
        tx.charge(lost.key.id, Amount(1))
    mark = api_keys.mark(store, "a")
    secret = api_keys.renew(store, "a", mark)
    with pytest.raises(KeyRefused, match="not known"):
        api_keys.authenticate(store, lost.secret)
    key = api_keys.authenticate(store, secret)
    assert (key.budget, key.spent) == (3, 1)
    with pytest.raises(KeyRefused, match="replaced"):
        api_keys.renew(store, "a", mark)  # the same call again
    assert api_keys.authenticate(store, secret) == key


def test_renew__revoked_or_never_made__is_refused(store):
    assert api_keys.mark(store, "a") == ""
    with pytest.raises(KeyRefused):
        api_keys.renew(store, "a", "")
    api_keys.mint(store, "a", Amount(1))
    api_keys.revoke(store, "a")
    with pytest.raises(KeyRefused):
        api_keys.renew(store, "a", api_keys.mark(store, "a"))


def test_charge__by_many_threads__never_spends_more_than_the_budget(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    key = api_keys.mint(store, "a", Amount(100)).key
    refused = []

    def spend():
        for _ in range(5):
            try:
                with store.begin() as tx:
                    tx.charge(key.id, Amount(30))
            except BudgetExhausted:
                refused.append(1)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (after,) = api_keys.listed(store)
    assert (after.spent, len(refused)) == (90, 17)
    store.close()


# ── Tickets ─────────────────────────────────────────────────────────────────────────────────────
def test_ticket_failed__twice__gives_the_charge_back_once(store):
    key = api_keys.mint(store, "a", Amount(100)).key
    with store.begin() as tx:
        tx.charge(key.id, Amount(30))
        tx.add_ticket(ticket(key.id))
    with store.begin() as tx:
        assert tx.ticket_failed(ONE, "refused")
        assert not tx.ticket_failed(ONE, "refused")
    assert api_keys.listed(store)[0].spent == 0
    with store.read() as tx:
        assert tx.ticket(ONE).state is TicketState.FAILED
        assert tx.open_tickets() == []


@pytest.mark.parametrize(("refunded", "spent"), [(True, 0), (False, 30)])
def test_tickets_ended__again__gives_back_once(store, refunded, spent):
    key = api_keys.mint(store, "a", Amount(100)).key
    with store.begin() as tx:
        tx.charge(key.id, Amount(30))
        tx.add_ticket(ticket(key.id))
        tx.ticket_asked(ONE, ASKED, 5)
    for _ in range(2):
        with store.begin() as tx:
            tx.tickets_ended([ASKED], refunded=refunded)
    assert api_keys.listed(store)[0].spent == spent
    with store.read() as tx:
        assert tx.ticket(ASKED).id == ONE
        assert tx.ticket(ONE).state is (TicketState.REFUNDED if refunded else TicketState.ENDED)


def test_tickets_ended__metered__gives_back_what_the_units_left_once(store):
    key = api_keys.mint(store, "a", Amount(100)).key
    with store.begin() as tx:
        tx.charge(key.id, Amount(30))
        tx.add_ticket(ticket(key.id))
        tx.ticket_asked(ONE, ASKED, 5)
    for _ in range(2):
        with store.begin() as tx:
            tx.tickets_ended([ASKED], returned={ASKED: Amount(18)})
    assert api_keys.listed(store)[0].spent == 12
    with store.read() as tx:
        assert tx.ticket(ONE).state is TicketState.ENDED


# ── Lanes, buckets, notifier ──────────────────────────────────────────────────────────────────────
def test_lanes__freed__are_taken_again_lowest_first():
    lanes = Lanes([0, 2])
    assert [lanes.take() for _ in range(3)] == [1, 3, 4]
    lanes.free(3)
    lanes.free(0)
    assert [lanes.take() for _ in range(3)] == [0, 3, 5]


def test_buckets__burst_spent__says_how_long_to_wait():
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    assert [buckets.take("a", 2, 3) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b", 2, 3) == 0
    now[0] = 0.5
    assert buckets.take("a", 2, 3) == 0


def test_buckets__many_names__forget_the_oldest():
    buckets = Buckets(lambda: 0.0, kept=2)
    for name in ("a", "b", "c"):
        buckets.take(name, 1, 1)
    assert buckets.take("a", 1, 1) == 0
    assert buckets.take("c", 1, 1) > 0


def test_bell__rung_by_a_thread__wakes_who_waits():
    notifier, found = Notifier(), {}

    async def wait():
        ringing = threading.Timer(0.05, lambda: (found.update(a=5), notifier.notify([ONE])))
        ringing.start()
        return await notifier.until(ONE, lambda: found.get("a"), 5)

    assert asyncio.run(wait()) == 5
    assert notifier.waiting == 0


def test_bell__nothing_comes__times_out_and_forgets():
    notifier = Notifier()
    with pytest.raises(TimeoutError):
        asyncio.run(notifier.until(ONE, lambda: None, 0.02))
    assert notifier.waiting == 0


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"step": "x"}', b'{"step": "fetched", "operator": 1, "at": "x"}',
             b'{"step": "rm -rf", "operator": "a", "at": 1, "ids": ["00"]}'],
)  # fmt: skip
def test_worker_progress__message_of_somebody_else__is_passed_over(data):
    heard = WorkerProgress(Settings(Path()), Notifier())
    heard.take(data)
    assert heard.of(RequestId(b"\0")) == ()


def test_worker_progress__steps__become_durations():
    heard = WorkerProgress(Settings(Path()), Notifier())
    for step, at in (("taken", 2.0), ("fetched", 2.5), ("computed", 3.5), ("published", 3.75)):
        line = f'{{"step": "{step}", "operator": "a", "at": {at}, "ids": ["{ONE.hex()}"]}}'
        heard.take(line.encode())
    assert worker_progress.seconds(heard.of(ONE), 1.0, 4.0) == {
        "queue": 1.0, "fetch": 0.5, "inference": 1.0, "publish": 0.25, "deliver": 0.25,
    }  # fmt: skip
