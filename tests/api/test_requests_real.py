"""Requests as resources: asked without waiting, followed, fetched later; wallets that sign."""

import json
import secrets

import pytest
from eth_account import Account

from tests.api.conftest import FEE, wait_answered
from tests.api.test_kserve_real import IMAGE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

INPUTS = [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [IMAGE]}]
QUESTION = {"model": "digits", "inputs": INPUTS}


def test_ask__idempotency_key_again__is_the_same_request(client):
    headers = {"Idempotency-Key": "once"}
    first = client.post("/api/requests", json=QUESTION, headers=headers)
    again = client.post("/api/requests", json=QUESTION, headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    other = {"model": "digits", "inputs": [{**INPUTS[0], "data": [0.5] * 64}]}
    refused = client.post("/api/requests", json=other, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "IdempotencyConflict")


def test_events__of_a_ticket__lead_to_delivery_and_window(client):
    """A worker's word that comes behind the chain's is left out: then the next one is asked."""
    steps = ["requested", "finalized", "fetched", "running", "delivered", "window"]

    def followed():
        headers, names = {"Idempotency-Key": secrets.token_hex(8)}, []
        place = client.post("/api/requests", json=QUESTION, headers=headers).headers["location"]
        with client.stream("GET", f"{place}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
                if names and names[-1] == "window":
                    break
        assert names == [step for step in steps if step in names]
        return place if names == steps else None

    place = wait_until(followed, "every step of a request")
    answer = client.get(f"{place}/answer")
    assert len(answer.json()["outputs"][0]["data"]) == 10
    receipt = client.get(f"{place}/receipt").json()
    assert [t["event"] for t in receipt["transactions"]] == ["Requested", "Delivered"]


def test_show__unknown_request__is_not_found(client):
    answered = client.get("/api/requests/0x" + "ab" * 32)
    assert (answered.status_code, answered.json()["code"]) == (404, "NotFound")
    assert client.get("/api/requests/0xzz").status_code == 400
    assert client.get("/api/rounds/7").status_code == 404
    assert client.get("/api/rounds/0").status_code == 422
    assert client.get("/api/requests/0x" + "ab" * 32 + "/events").status_code == 404


def test_list__etag_sent_back__is_not_modified(client):
    first = client.get("/api/models")
    assert first.json()["items"][0]["name"] == "digits"
    again = client.get("/api/models", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_list__limit__leads_to_the_next_page(client):
    for number in range(2):
        asked = {"inputs": [{**INPUTS[0], "data": [number / 4] * 64}]}
        client.post("/v2/models/digits/infer", json=asked)
    page = client.get("/api/requests", params={"limit": 1}).json()
    assert len(page["items"]) == 1
    following = client.get(page["next"]).json()
    assert following["items"][0]["request_id"] != page["items"][0]["request_id"]


@pytest.mark.parametrize(
    "path",
    [
        "/api", "/api/models/digits", "/api/models/digits/versions", "/api/models/1/history",
        "/api/models/digits/verification?bytes=true", "/api/models/digits/access",
        "/api/models/digits/limits", "/api/models/digits/operators", "/api/models/digits/assurance",
        "/api/operators", "/api/rounds", "/api/models/1/rounds",
        "/api/models/1/credits/0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "/v1/models", "/v1/models/digits", "/v2", "/metrics", "/openapi.json",
        "/",
    ],
)  # fmt: skip
def test_get__every_resource__is_there(client, path):
    answered = client.get(path)
    assert answered.status_code == 200, answered.text


def test_infer__budget_spent__is_refused_and_nothing_asked(door):
    secret = door.mint("poor", FEE)
    with door.client(secret) as poor:
        assert poor.post("/v2/models/digits/infer", json={"inputs": INPUTS}).status_code == 200
        another = {"inputs": [{**INPUTS[0], "data": [0.5] * 64}]}
        refused = poor.post("/v2/models/digits/infer", json=another)
    assert (refused.status_code, refused.json()["code"]) == (402, "BudgetExhausted")


def test_infer__model_not_allowed__is_refused(door):
    with door.client(door.mint("elsewhere", models=(2,))) as other:
        refused = other.post("/v2/models/digits/infer", json={"inputs": INPUTS})
    assert (refused.status_code, refused.json()["code"]) == (403, "ModelNotAllowed")


# ── Wallets ─────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def prepaid(door):
    """An account with money in the market."""
    from oracle.services import balances

    network, wallet = door.devnet.network, door.devnet.wallet("admin")
    balances.deposit(network, wallet, 10**6)
    return door.devnet.unlock("admin")


def signed(client, account):
    made = client.post("/api/requests/prepare", json={**QUESTION, "requester": account.address})
    assert made.status_code == 200, made.text
    found = made.json()
    signature = account.sign_typed_data(full_message=found["typed_data"]).signature
    fields = ("requester", "order", "nonce", "deadline")
    return {**{name: found[name] for name in fields}, "signature": "0x" + signature.hex()}


def test_relay__signed__is_answered_from_the_wallets_balance(door, client, prepaid):
    market = door.devnet.network.market
    before = market.balance_of(prepaid.address)
    body = signed(client, prepaid)
    accepted = client.post("/api/requests/relay", json=body)
    assert accepted.status_code == 202, accepted.text
    answer = wait_answered(client, accepted.json())
    assert answer.status_code == 200, answer.text
    assert market.balance_of(prepaid.address) == before - FEE
    replayed = client.post("/api/requests/relay", json=body)
    if replayed.status_code != 202 or replayed.json() != accepted.json():
        assert (replayed.status_code, replayed.json()["code"]) == (409, "NonceStale")
    assert market.balance_of(prepaid.address) == before - FEE


def test_relay__forged__is_refused(client, prepaid):
    body = signed(client, prepaid)
    stranger = Account.create()
    message = client.post(
        "/api/requests/prepare", json={**QUESTION, "requester": prepaid.address}
    ).json()["typed_data"]
    body["signature"] = "0x" + stranger.sign_typed_data(full_message=message).signature.hex()
    refused = client.post("/api/requests/relay", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "SignatureInvalid")


def test_relay__fields_that_do_not_fit__are_named(client):
    refused = client.post("/api/requests/relay", json={"requester": "0x12"})
    assert refused.status_code == 422
    assert "requester" in refused.json()["detail"]
    assert json.dumps(refused.json())
