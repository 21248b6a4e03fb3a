"""The routes that take x402 payments, in this process, over a node that keeps receipts back."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from oracle.api.app import create_app
from oracle.api.config import ApiConfig
from oracle.chain.anvil import dev_account
from oracle.gateway import api_keys
from oracle.gateway.facilitator import KEY
from oracle.gateway.gateway import Gateway
from oracle.services import balances, models
from oracle.store import Store
from oracle.store.payment_repository import PaymentState
from oracle.types import Amount
from tests.api.x402_payer import Payer, decoded
from tests.gateway.conftest import anvil, contracts, market, url, world
from tests.gateway.test_gateway import Vague
from tests.services.conftest import DOLLAR
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

__all__ = ["anvil", "contracts", "market", "url", "world"]
PAYER = dev_account(7)
SURCHARGE = 2_000
PATH = "/v2/models/digits/infer"
BODY = {"inputs": [{"name": "image", "shape": [1, 1, 2, 2], "datatype": "FP32", "data": [0.5] * 4}]}


@pytest.fixture
def node(market):
    return Vague(market.network.rpc)


@pytest.fixture
def gateway(market, url, node):
    return Gateway(replace(market.network, rpc=node), dev_account(2), Store.open(url))


@pytest.fixture
def client(market, gateway):
    balances.fund(market.network, PAYER.address, Amount(3 * DOLLAR))
    config = ApiConfig(x402=True, x402_surcharge=SURCHARGE, answer_timeout=0.5)
    with TestClient(create_app(gateway.network, gateway, config), "http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def header(client):
    """A payment for the question."""
    required = client.post(PATH, json=BODY)
    assert required.status_code == 402
    (accepts,) = decoded(required.headers["payment-required"])["accepts"]
    assert accepts["amount"] == str(DOLLAR + SURCHARGE)
    return Payer(None, PAYER).header(accepts)


def payments(gateway):
    with gateway.store.read() as tx:
        return tx.payments()


def test_infer__transfer_not_final_in_time__is_to_be_repeated_and_paid_once(
    client, gateway, node, header, market
):
    late = client.post(PATH, json=BODY, headers=header)
    assert (late.status_code, late.json()["code"]) == (503, "SettlementPending")
    node.vague = False

    def answered():
        found = client.post(PATH, json=BODY, headers=header)
        return found if found.status_code != 503 else None

    asked = wait_until(answered)
    assert (asked.status_code, asked.json()["code"]) == (202, "NotYet")  # nobody answers here
    assert decoded(asked.headers["payment-response"])["amount"] == str(DOLLAR + SURCHARGE)
    assert len(payments(gateway)) == 1
    assert market.network.token.balance_of(PAYER.address) == 2 * DOLLAR - SURCHARGE


def test_infer__refused_after_it_was_settled__goes_back_with_the_surcharge(
    client, gateway, node, header, market
):
    with ThreadPoolExecutor(1) as pool:

        def repeated():
            found = client.post(PATH, json=BODY, headers=header)
            while found.status_code == 503:
                found = client.post(PATH, json=BODY, headers=header)
            return found

        asking = pool.submit(repeated)
        wait_until(lambda: payments(gateway))
        api_keys.revoke(gateway.store, KEY)
        node.vague = False
        refused = asking.result()
    assert (refused.status_code, refused.json()["code"]) == (410, "PaymentReturned")
    assert decoded(refused.headers["payment-response"])["success"]

    def returned():
        gateway.payments.wake()
        (payment,) = payments(gateway)
        return payment.state is PaymentState.REFUNDED

    wait_until(returned)
    assert market.network.token.balance_of(PAYER.address) == 3 * DOLLAR


def test_infer__fee_raised_after_it_was_settled__asks_nothing_and_pays_back(
    client, gateway, node, header, market
):
    """Who has a payment under way and the model would be paid out of the gateway's own balance."""
    late = client.post(PATH, json=BODY, headers=header)
    assert (late.status_code, late.json()["code"]) == (503, "SettlementPending")
    dearer = models.changed_terms(market.network.registry.terms_of(1, 1), fee=4 * DOLLAR)
    models.set_terms(market.network, market.owner, 1, 1, dearer)

    def told():
        (accepts,) = decoded(client.post(PATH, json=BODY).headers["payment-required"])["accepts"]
        return accepts["amount"] == str(4 * DOLLAR + SURCHARGE)

    wait_until(told)
    node.vague = False

    def refused():
        found = client.post(PATH, json=BODY, headers=header)
        return found if found.status_code != 503 else None

    said = wait_until(refused)
    assert (said.status_code, said.json()["code"]) == (410, "PaymentReturned")
    assert "costs" in said.json()["detail"]
    wait_until(lambda: payments(gateway)[0].state is PaymentState.REFUNDED)
    network, ours = market.network, gateway.address
    assert network.token.balance_of(PAYER.address) == 3 * DOLLAR
    held = network.market.balance_of(ours) + network.token.balance_of(ours)
    assert held == 5 * DOLLAR
