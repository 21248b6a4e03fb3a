"""What is paid in the chain's currency, on a chain whose gas has a price: demands and callbacks."""

import hashlib

import pytest

from scripts.deploy import config
from tests.contracts.chain import at
from tests.contracts.market import (
    CLAIM_FORFEIT,
    CLAIM_PERIOD,
    DEMAND_PERIOD,
    DOLLAR,
    FEE,
    MAX_DISPUTE_AGE,
    NO_CLAIM,
    WINDOW,
    ZERO32,
    expires_at,
    refuses,
    requested,
)

PRICE = 10**9  # wei: the floor that the deployment fixed; these blocks have no base fee
DEMAND_BOND = 2 * 2_700_000 * PRICE
GAS = 300_000
CALLBACK_BOND = 2 * (GAS + 12_000 + 50_000) * PRICE


@pytest.fixture(scope="module")
def market_config(token, registry, access, operators, credits, treasury, committee, exact):
    return config(
        token,
        registry,
        access,
        operators,
        treasury,
        dataCredits=credits,
        committeeModule=committee,
        exactModule=exact,
        protocolBps=500,
        minLock=DOLLAR,
        claimForfeit=CLAIM_FORFEIT,
        claimPeriod=CLAIM_PERIOD,
        demandPeriod=DEMAND_PERIOD,
        maxDisputeAge=MAX_DISPUTE_AGE,
        minGasPrice=PRICE,
    )


@pytest.fixture
def consumer(TestConsumer, bob):
    return TestConsumer.deploy({"from": bob})


def order_with_callback(market, consumer):
    return market.order(consumer=consumer, callbackGas=GAS)


def test_demand__bond_below_the_floor__reverts(market, contract, bob):
    delivered = market.delivered()
    with refuses("BondTooLow", DEMAND_BOND - 1, DEMAND_BOND):
        contract.demandOutput(*delivered, {"from": bob, "value": DEMAND_BOND - 1})


@pytest.mark.parametrize("size", [1, 64, 4_096, 65_536])
def test_post__any_size__pays_what_posting_costs_and_gives_the_rest_back(
    market, contract, operator, bob, size
):
    """An operator earns nothing by withholding what it is asked for."""
    output = bytes([255]) * size
    root = "0x" + hashlib.sha256(output).hexdigest()
    for lane in range(2):  # what is written for the first time costs more: the second is measured
        request = market.request(lane=lane)
        sent = contract.deliver(request, NO_CLAIM, (root, ZERO32, 0), {"from": operator})
        delivery = (operator.address, sent.timestamp, root)
        contract.demandOutput(request, delivery, {"from": bob, "value": DEMAND_BOND})
        before = contract.bondOf(operator), contract.bondOf(bob)
        posted = contract.postOutput(request, delivery, output, {"from": operator})
        paid = contract.bondOf(operator) - before[0]
        assert contract.bondOf(bob) - before[1] == DEMAND_BOND - paid
    cost = max(posted.gas_used, 21_000 + 40 * size) * PRICE
    assert 0.95 * cost < paid < 1.25 * cost


def test_demand__withheld__the_whole_bond_comes_back(market, contract, operator, bob):
    delivered = market.delivered()
    contract.demandOutput(*delivered, {"from": bob, "value": DEMAND_BOND})
    at(contract.demandOf(market.id_of(delivered[0]))[1])
    contract.convictWithheld(*delivered, {"from": bob})
    assert (contract.bondOf(bob), contract.bondOf(operator)) == (DEMAND_BOND, 0)


def test_request__no_consumer_but_a_bond__reverts(market, contract, alice):
    with refuses("BondUnexpected", 1):
        contract.request(market.order(), {"from": alice, "value": 1})


def test_request__callback_not_paid_for__reverts(market, contract, consumer, alice):
    order = order_with_callback(market, consumer)
    assert contract.callbackBond(GAS) == CALLBACK_BOND
    with refuses("BondTooLow", CALLBACK_BOND - 1, CALLBACK_BOND):
        contract.request(order, {"from": alice, "value": CALLBACK_BOND - 1})


@pytest.fixture
def ordered(market, contract, consumer, alice):
    """A request with a callback that alice paid for."""
    order = order_with_callback(market, consumer)
    sent = contract.request(order, {"from": alice, "value": CALLBACK_BOND})
    return tuple(sent.events["Requested"]["request"])


@pytest.mark.parametrize("mode", [0, 4])  # well-behaved; burns all its gas
def test_finalize__callback__is_paid_for_by_who_ordered_it(
    market, contract, consumer, ordered, alice, bob, mode
):
    consumer.behave(mode, {"from": bob})
    delivery = market.deliver(ordered)
    plain = market.delivered(lane=1)
    at(plain[1][1] + WINDOW)
    without = contract.finalize([plain[0]], [plain[1]], {"from": bob}).gas_used
    sent = contract.finalize([ordered], [delivery], {"from": bob})
    paid = contract.bondOf(bob)
    assert paid >= (sent.gas_used - without) * PRICE
    assert contract.bondOf(alice) == CALLBACK_BOND - paid
    assert sent.events["CallbackCompleted"]["success"] is (mode == 0)


def test_finalize__batch_of_hostile_consumers__settles_all_and_pays_who_settles(
    market, contract, TestConsumer, alice, operator, bob
):
    """It answers, reverts, returns or reverts with 200 kilobytes, burns all its gas."""
    batch = []
    for mode in range(5):
        consumer = TestConsumer.deploy({"from": bob})
        consumer.behave(mode, {"from": bob})
        order = market.order(lane=mode, consumer=consumer, callbackGas=GAS)
        request = requested(contract.request(order, {"from": alice, "value": CALLBACK_BOND}))
        batch.append((request, market.deliver(request)))
    plain = [market.delivered(lane=5 + k) for k in range(5)]
    at(plain[-1][1][1] + WINDOW)
    without = contract.finalize(*map(list, zip(*plain, strict=True)), {"from": bob}).gas_used
    sent = contract.finalize(*map(list, zip(*batch, strict=True)), {"from": bob})

    assert len(sent.events["Finalized"]) == 5
    called = [event["success"] for event in sent.events["CallbackCompleted"]]
    assert called == [True, False, True, False, False]  # a bomb that returns did not fail
    assert contract.balanceOf(operator) == 10 * (FEE * 70 // 100)
    paid = contract.bondOf(bob)
    assert paid >= (sent.gas_used - without) * PRICE
    assert contract.bondOf(alice) == 5 * CALLBACK_BOND - paid


def test_finalize__batch_with_a_callback_that_is_not_ready__calls_nobody(
    market, contract, consumer, ordered, operator, bob
):
    plain = market.delivered(lane=1)
    at(plain[1][1] + WINDOW - 1)
    delivery = market.deliver(ordered)
    at(plain[1][1] + WINDOW + 1)
    contract.finalize([ordered, plain[0]], [delivery, plain[1]], {"from": bob})
    assert consumer.calls() == 0
    assert contract.balanceOf(operator) == FEE * 70 // 100


@pytest.mark.parametrize("end", ["cancelled", "withheld", "annulled"])
def test_escrow__request_ends_without_a_callback__comes_back(
    market, contract, committee, ordered, alice, bob, end
):
    if end == "cancelled":
        at(expires_at(ordered))
        contract.cancelExpired(ordered, NO_CLAIM, {"from": bob})
    elif end == "withheld":
        delivery = market.deliver(ordered)
        contract.demandOutput(ordered, delivery, {"from": bob, "value": DEMAND_BOND})
        at(contract.demandOf(market.id_of(ordered))[1])
        contract.convictWithheld(ordered, delivery, {"from": bob})
    else:
        delivery = market.deliver(ordered)
        contract.openDispute(ordered, delivery, {"from": committee})
        contract.annul(ordered, delivery, {"from": committee})
    assert contract.bondOf(alice) == CALLBACK_BOND
