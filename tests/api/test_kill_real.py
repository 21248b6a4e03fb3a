"""`kill -9` of the gateway under load: nothing that was accepted is lost, nothing is paid twice."""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from oracle.chain.bindings.inference_market import Requested
from oracle.services.event_history import topic
from oracle.store.gateway_repository import TicketState
from tests.api.conftest import FEE, wait_answered
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

REQUESTS = 30
CLIENTS = 8
KILLS = 2


def question(number):
    pixels = [(number * 7 + i) % 17 / 16 for i in range(64)]
    given = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": pixels}
    return {"model": "digits", "inputs": [given]}


def ask(client, number):
    """Ask until the gateway has said that it took the request, with the same key each time."""

    def taken():
        with suppress(httpx.TransportError):
            answered = client.post(
                "/api/requests", json=question(number), headers={"Idempotency-Key": str(number)}
            )
            if answered.status_code == 202:
                return answered.json()
            assert answered.status_code in (202, 503), answered.text
        return None

    return wait_until(taken, f"request {number} to be taken")


def kill_and_restart(devnet, number=signal.SIGKILL):
    (part,) = (part for part in devnet.parts() if part.name == "rest")
    old = part.pid  # goes on answering for a moment after SIGTERM
    os.kill(old, number)

    def ready():
        devnet.poll()
        (part,) = (part for part in devnet.parts() if part.name == "rest")
        if part.state == "running" and part.pid not in (None, old):
            with suppress(httpx.TransportError):
                url = f"{devnet.rest_url}/v2/health/ready"
                return httpx.get(url, trust_env=False, timeout=60).is_success
        return False

    wait_until(ready, "the next gateway")


def test_kill__under_load__every_accepted_request_is_answered_once(door):
    """The client repeats what it is unsure of under its Idempotency-Key; money moves once."""
    devnet = door.devnet
    network, account = devnet.network, devnet.accounts["gateway"]
    secret = door.mint("killed", 1_000_000)
    market = network.market

    def asked_on_chain():
        return len(network.history.read(market.address, (Requested,), None, None, topic(account)))

    before = asked_on_chain()
    dice = random.Random(5)
    with door.client(secret) as client, ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, client, number) for number in range(REQUESTS)]
        for _ in range(KILLS):  # by this thread: the child ends with the one that started it
            time.sleep(dice.uniform(0.2, 0.6))
            kill_and_restart(devnet)
        taken = [one.result() for one in asking]
        again = list(pool.map(lambda number: ask(client, number), range(REQUESTS)))
        answers = list(pool.map(lambda one: wait_answered(client, one), again))

    assert taken == again
    assert len({one["ticket"] for one in taken}) == REQUESTS
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert len({a.headers["tallystick-request-id"] for a in answers}) == REQUESTS
    assert asked_on_chain() - before == REQUESTS
    with door.store.read() as tx:
        (key,) = (key for key in tx.api_keys() if key.name == "killed")
        mine = [ticket for ticket in tx.open_tickets() if ticket.key_id == key.id]
    assert key.spent == REQUESTS * FEE
    assert {ticket.state for ticket in mine} <= {TicketState.ASKED}


def test_stop__while_answers_are_made__they_are_given(door, client):
    """SIGTERM closes the door; who is inside gets what was paid for."""
    began = time.time()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [
            pool.submit(client.post, "/v2/models/digits/infer", json=question(1000 + number))
            for number in range(CLIENTS)
        ]

        def all_inside():
            with door.store.read() as tx:
                inside = sum(ticket.created_at >= began for ticket in tx.open_tickets())
            return inside >= CLIENTS or any(one.done() for one in asked)

        wait_until(all_inside, "all to be inside")
        kill_and_restart(door.devnet, signal.SIGTERM)
        answered = [one.result().status_code for one in asked if one.exception() is None]
    assert answered
    assert set(answered) == {200}
