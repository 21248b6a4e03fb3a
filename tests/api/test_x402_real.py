"""Answers paid by x402 at a running gateway: no account, no API key, one signature each."""

import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from oracle.chain.bindings.test_dollar import Transfer
from oracle.services.event_history import topic
from tests.api.conftest import FEE, INFER
from tests.api.test_kill_real import kill_and_restart
from tests.api.x402_payer import Payer, decoded, packed, post
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real


def body(seed):
    dice = random.Random(seed)
    pixels = [dice.randrange(17) / 16 for _ in range(64)]
    given = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": pixels}
    return {"inputs": [given]}


@pytest.fixture(scope="module")
def payer(door):
    return Payer(door).fund(100 * FEE)


@pytest.fixture(scope="module")
def accepts(payer):
    return payer.demanded(INFER, body(0))


def paid_by(door, payer):
    """What an account has paid the gateway on chain."""
    network, ours = door.devnet.network, door.devnet.accounts["gateway"]
    between = topic(payer.account.address), topic(ours)
    return network.history.read(network.token.address, (Transfer,), *between)


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────
def test_infer__without_key_and_payment__names_the_price_and_what_to_do(door, accepts):
    network = door.devnet.network
    assert accepts["scheme"] == "exact"
    assert accepts["network"] == f"eip155:{network.contracts.chain_id}"
    assert accepts["asset"] == network.contracts.token
    assert accepts["payTo"] == door.devnet.accounts["gateway"]
    assert accepts["amount"] == str(FEE)
    assert accepts["extra"] == {"name": "Test Dollar", "version": "1"}
    answered = post(door, INFER, body(0), {})
    said = answered.json()
    assert (answered.status_code, said["code"]) == (402, "PaymentRequired")
    assert said["accepts"] == [accepts]
    assert "API key" in said["hint"]
    assert "allowed_assets" in said["hint"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"scheme": "upto"}, "unsupported_scheme"),
        ({"scheme": "batch-settlement"}, "unsupported_scheme"),
        ({"network": "eip155:1"}, "network_mismatch"),
        ({"asset": "0x" + "11" * 20}, "asset_mismatch"),
        ({"payTo": "0x" + "11" * 20}, "invalid_exact_evm_payload_recipient_mismatch"),
        ({"amount": str(FEE - 1)}, "invalid_exact_evm_payload_authorization_value_mismatch"),
        ({"maxTimeoutSeconds": 0}, "invalid_exact_evm_payload_authorization_valid_before"),
        ({"maxTimeoutSeconds": 10**9}, "invalid_exact_evm_payload_authorization_valid_before"),
        ({"extra": {"name": "Other", "version": "1"}}, "invalid_exact_evm_payload_signature"),
    ],
)
def test_infer__payment_of_something_else__says_why_and_takes_nothing(
    door, payer, accepts, change, error
):
    before = payer.tokens
    answered = post(door, INFER, body(1), payer.header({**accepts, **change}))
    assert answered.status_code == 402
    required = decoded(answered.headers["payment-required"])
    assert required["error"] == error
    assert required["accepts"][0]["amount"] == str(FEE)
    assert "payment-response" not in answered.headers
    assert payer.tokens == before


@pytest.mark.parametrize(
    "header",
    [
        {"PAYMENT-SIGNATURE": "not base64!"},
        {"PAYMENT-SIGNATURE": ""},
        packed([]),
        packed({"x402Version": 2}),
        packed({"x402Version": 2, "accepted": {}, "payload": {"permit2Authorization": {}}}),
    ],
)
def test_infer__no_payment_in_the_header__says_so(door, header):
    answered = post(door, INFER, body(1), header)
    assert answered.status_code == 402
    assert decoded(answered.headers["payment-required"])["error"] == "invalid_payload"


@pytest.mark.parametrize("name", ["X-PAYMENT", "PAYMENT-SIGNATURE"])
def test_infer__client_of_version_1__is_told_the_version(door, accepts, name):
    old = {"x402Version": 1, "scheme": "exact", "network": "base", "payload": {}}
    answered = post(door, INFER, body(1), {name: packed(old)["PAYMENT-SIGNATURE"]})
    said = answered.json()
    assert (answered.status_code, said["x402Version"]) == (402, 2)
    assert decoded(answered.headers["payment-required"])["error"] == "invalid_x402_version"
    assert "version 2" in said["hint"]


def test_infer__header_of_a_megabyte__is_refused_and_the_gateway_lives(door, payer, accepts):
    """What the payment's own limit lets through is small; the server bounds all headers."""
    before = payer.tokens
    ((name, value),) = payer.header(accepts).items()
    for size in (16_388, 60_000, 1_000_000):
        answered = post(door, INFER, body(1), {name: value + "A" * (size - len(value))})
        assert answered.status_code in (400, 402, 431)
    with door.client("") as client:
        assert client.get("/v2/health/ready").status_code == 200
    assert payer.tokens == before


def test_infer__payer_has_nothing__is_refused(door, accepts):
    poor = Payer(door)
    answered = post(door, INFER, body(1), poor.header(accepts))
    required = decoded(answered.headers["payment-required"])
    assert required["error"] == "invalid_exact_evm_insufficient_balance"


def test_infer__body_does_not_fit__takes_nothing(door, payer, accepts):
    before = payer.tokens
    answered = post(door, INFER, {"inputs": []}, payer.header(accepts))
    assert (answered.status_code, answered.json()["code"]) == (400, "InputInvalid")
    assert payer.tokens == before


def test_infer__unknown_model__is_not_found(door, payer, accepts):
    answered = post(door, "/v2/models/nobody/infer", body(1), payer.header(accepts))
    assert answered.status_code == 404


def test_infer__forged_key__does_not_fall_back_to_a_payment(door, payer, accepts):
    forged = {"Authorization": "Bearer tsk_forged", **payer.header(accepts)}
    assert post(door, INFER, body(1), forged).status_code == 401


# ── Served ──────────────────────────────────────────────────────────────────────────────────────
def test_infer__paid__is_answered_and_says_what_was_paid(door, accepts):
    payer = Payer(door).fund(10 * FEE)
    answered = post(door, INFER, body(2), payer.header(accepts))
    assert answered.status_code == 200, answered.text
    with door.client() as client:
        same = client.post(INFER, json=body(2)).json()
    assert answered.json()["outputs"] == same["outputs"]
    paid = decoded(answered.headers["payment-response"])
    (transfer,) = paid_by(door, payer)
    assert paid == {
        "success": True, "payer": payer.account.address, "amount": str(FEE),
        "network": accepts["network"], "transaction": "0x" + transfer.tx_hash.hex(),
    }  # fmt: skip
    assert payer.tokens == 9 * FEE
    with door.client("") as client:  # an answer like any other: escrowed, and open to dispute
        shown = client.get(f"/api/requests/{answered.headers['tallystick-request-id']}").json()
    assert shown["requester"] == door.devnet.accounts["gateway"]


def test_infer__same_payment_again__is_the_same_answer_and_paid_once(door, accepts):
    payer = Payer(door).fund(2 * FEE)
    header = payer.header(accepts)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(door, INFER, body(3), header), range(4)))
    answers.append(post(door, INFER, body(3), header))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["tallystick-request-id"] for answer in answers}) == 1
    assert payer.tokens == FEE
    other = post(door, INFER, body(4), header)
    assert (other.status_code, other.json()["code"]) == (409, "PaymentReused")
    assert payer.tokens == FEE


def test_infer__same_payment_at_other_routes__is_the_same_answer_or_refused(door, accepts):
    payer = Payer(door).fund(2 * FEE)
    header = payer.header(accepts)
    answered = post(door, INFER, body(30), header)
    versioned = INFER.replace("/infer", "/versions/1/infer")
    same = post(door, versioned, body(30), header)
    assert answered.status_code == same.status_code == 200
    place = "tallystick-request-id"
    assert answered.headers[place] == same.headers[place]
    elsewhere = post(door, "/v1/embeddings", {"model": "digits", "input": "a"}, header)
    assert elsewhere.status_code in (400, 404, 409)
    other = post(door, versioned, body(31), header)
    assert (other.status_code, other.json()["code"]) == (409, "PaymentReused")
    assert payer.tokens == FEE


def test_infer__two_payments_where_tokens_suffice_for_one__one_is_answered(door, accepts):
    """Both may pass the check; the token decides when they are settled."""
    payer = Payer(door).fund(FEE)
    with ThreadPoolExecutor(2) as pool:
        asking = [
            pool.submit(post, door, INFER, body(5 + n), payer.header(accepts)) for n in (0, 1)
        ]
    found = sorted(one.result().status_code for one in asking)
    assert found == [200, 402]
    assert payer.tokens == 0
    assert len(paid_by(door, payer)) == 1


def test_infer__gateway_killed_under_way__the_same_payment_is_answered_and_paid_once(door, accepts):
    payers = [Payer(door).fund(FEE) for _ in range(6)]
    headers = [payer.header(accepts) for payer in payers]
    with ThreadPoolExecutor(len(payers)) as pool:
        asking = [
            pool.submit(post, door, INFER, body(20 + n), header) for n, header in enumerate(headers)
        ]

        def some_taken():
            with door.store.read() as tx:
                return any(one.payer == payers[0].account.address for one in tx.payments())

        wait_until(some_taken, "a payment to be taken")
        kill_and_restart(door.devnet)
        for one in asking:
            one.exception()  # whatever became of the connection

    def answered(number):
        found = post(door, INFER, body(20 + number), headers[number])
        return found if found.status_code not in (202, 503) else None

    for number, payer in enumerate(payers):
        found = wait_until(lambda number=number: answered(number), "an answer")
        assert found.status_code == 200, found.text
        assert payer.tokens == 0
        assert len(paid_by(door, payer)) == 1


def test_metrics__payments_under_way__are_counted(door, accepts):
    answered = post(door, INFER, body(9), Payer(door).fund(FEE).header(accepts))
    assert answered.status_code == 200
    with door.client("") as client:
        text = client.get("/metrics").text
    counts = dict(re.findall(r'^tallystick_x402_payments\{state="(\w+)"\} (\S+)$', text, re.M))
    assert float(counts["settled"]) > 0
    assert float(counts["owed"]) == 0


# ── Found ───────────────────────────────────────────────────────────────────────────────────────
def test_discovery__lists_what_can_be_paid(door, accepts):
    with door.client("") as client:
        found = client.get("/discovery/resources").json()
    assert found["x402Version"] == 2
    entry = next(one for one in found["items"] if one["resource"] == door.url + INFER)
    assert entry["type"] == "http"
    assert entry["accepts"] == [accepts]
    assert found["pagination"]["total"] == len(found["items"])
