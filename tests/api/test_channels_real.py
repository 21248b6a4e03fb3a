"""The REST gateway pays over channels: unchanged clients, one charge, also after `kill -9`."""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from oracle.devnet.background import command
from oracle.devnet.network import DevnetPlan, running
from oracle.gateway import api_keys
from oracle.gateway import gateway as gateways
from oracle.store import Store
from oracle.types import Amount
from tests.api.conftest import DOLLAR, FEE, GIVEN, INFER, Door, publish
from tests.api.test_kill_real import kill_and_restart
from tests.support.waiting import wait_until
from tests.worker.builders import write_digits

pytestmark = pytest.mark.real
QUESTIONS, CLIENTS, KILLS = 60, 6, 2


@pytest.fixture(scope="module")
def paying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A network whose operator sells through channels, and whose gateway pays so."""
    home = tmp_path_factory.mktemp("paying") / "home"
    plan = DevnetPlan(home, ("alpha",), ("alpha",), rest=True, rest_channels=True)
    with running(plan, environ={"PATH": os.environ["PATH"]}) as devnet:
        publish(devnet, write_digits(tmp_path_factory.mktemp("model") / "digits"))
        store = Store.open(gateways.store_url(devnet.settings))
        secret = api_keys.mint(store, "tests", Amount(100 * DOLLAR)).secret
        door = Door(devnet, devnet.rest_url, secret, store)
        with door.client() as client:
            wait_until(lambda: path_of(ask(client, 0)) == "channel", "an answer over a channel")
        yield door
        store.close()


def ask(client: httpx.Client, seed: int, **headers: str) -> httpx.Response:
    pixels = [(seed * 7 + i) % 31 / 30 for i in range(63)] + [time.monotonic() % 1]
    if "Idempotency-Key" in headers:
        pixels[-1] = 0.5
    return client.post(INFER, json={"inputs": [{**GIVEN, "data": pixels}]}, headers=headers)


def path_of(reply: httpx.Response) -> str:
    return reply.headers.get("tallystick-path", "") if reply.is_success else ""


def test_infer__over_a_channel__says_so_and_its_receipt_verifies(
    paying: Door, tmp_path: Path
) -> None:
    secret = paying.mint("one")
    with paying.client(secret) as client:
        reply = ask(client, 1, **{"Idempotency-Key": "one"})
        assert path_of(reply) == "channel", reply.text[:300]
        assert reply.json()["parameters"]["path"] == "channel"
        again = ask(client, 1, **{"Idempotency-Key": "one"})
        assert again.json()["outputs"] == reply.json()["outputs"]
        assert paying.spent("one") == FEE
        request_id = reply.headers["tallystick-request-id"]
        place = f"/api/requests/{request_id}"
        assert client.get(place).json()["on_chain"] is False
        assert client.get(f"{place}/answer").json()["outputs"] == reply.json()["outputs"]
        receipt = tmp_path / "receipt.json"
        receipt.write_bytes(client.get(f"{place}/receipt").content)
        done = subprocess.run(
            [*command(), "verify", str(receipt), "--json"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "TALLYSTICK_HOME": str(paying.devnet.settings.home)},
        )  # fmt: skip
        assert done.returncode == 4, done.stderr  # float: nothing is wrong, a committee may decide
        (checked,) = json.loads(done.stdout)["receipts"]
        found = {one["what"]: one["result"] for one in checked["checks"]}
        assert {found[name] for name in ("signature", "question", "answer")} == {"checked"}
        assert "wrong" not in found.values()
        (route,) = client.get("/api").json()["channels"]
        assert route["answered"] >= 2
        wanted = ask(client, 2, **{"Tallystick-Path": "chain"})
        assert path_of(wanted) == "chain"
        assert wanted.json()["parameters"]["path"] == "chain"
        assert ask(client, 3, **{"Tallystick-Path": "train"}).status_code == 400


def test_kill__gateway_and_endpoint_under_load__each_answer_is_charged_once(paying: Door) -> None:
    """Clients repeat what they are unsure of under one Idempotency-Key."""
    secret, dice = paying.mint("killed", 10 * DOLLAR), random.Random(7)

    def answered(client: httpx.Client, number: int) -> tuple[str, str]:
        def taken() -> httpx.Response | None:
            with suppress(httpx.TransportError):
                reply = ask(client, number, **{"Idempotency-Key": f"k{number}"})
                if reply.status_code == 200:
                    return reply
            return None

        reply = wait_until(taken, f"answer {number}")
        return reply.headers["tallystick-request-id"], path_of(reply)

    with paying.client(secret) as client, ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(answered, client, number) for number in range(QUESTIONS)]
        for kill in range(KILLS):
            some = (kill + 1) * QUESTIONS // 4
            wait_until(lambda n=some: sum(one.done() for one in asking) >= n, "some answers")
            time.sleep(dice.uniform(0, 0.05))
            if kill % 2:
                paying.devnet.kill_operator("alpha", "endpoint")
            else:
                kill_and_restart(paying.devnet)
        given = [one.result() for one in asking]
        again = list(pool.map(lambda number: answered(client, number), range(QUESTIONS)))
    assert given == again
    assert len({request_id for request_id, _ in given}) == QUESTIONS
    assert paying.spent("killed") == QUESTIONS * FEE
    assert {path for _, path in given} >= {"channel"}
