"""The callback of finalize: pushed after settlement, and nothing a consumer does can matter."""

import pytest

from tests.contracts.chain import VirtualMachineError, at, now
from tests.contracts.market import FEE, OUTPUT_ROOT, WINDOW, ZERO, refuses

ACCEPT, REVERT, RETURN_BOMB, REVERT_BOMB, BURN_GAS, REENTER = range(6)
GAS = 300_000


@pytest.fixture
def consumer(TestConsumer, bob):
    return TestConsumer.deploy({"from": bob})


@pytest.fixture
def delivered(market, consumer):
    return market.delivered(consumer=consumer, callbackGas=GAS)


def test_callback__well_behaved__gets_the_answer_and_its_gas(market, consumer, delivered):
    transaction = market.finalize(*delivered)
    request_id = market.id_of(delivered[0])
    assert consumer.calls() == 1
    assert consumer.lastRequestId() == request_id
    assert consumer.lastOutputRoot() == OUTPUT_ROOT
    assert (consumer.lastModelId(), consumer.lastVersion()) == (1, 1)
    assert GAS - 1_000 < consumer.gasSeen() <= GAS
    expected = {"requestId": request_id, "consumer": consumer, "success": True}
    assert dict(transaction.events["CallbackCompleted"]) == expected


@pytest.mark.parametrize("mode", [REVERT, REVERT_BOMB, BURN_GAS])
def test_callback__fails__is_logged_and_settles(market, contract, consumer, delivered, bob, mode):
    consumer.behave(mode, {"from": bob})
    transaction = market.finalize(*delivered)
    assert transaction.events["CallbackCompleted"]["success"] is False
    assert contract.balanceOf(market.operator) == FEE * 70 // 100
    assert market.commitment() == 1


@pytest.mark.node  # gas
@pytest.mark.parametrize("mode", [RETURN_BOMB, REVERT_BOMB])
def test_callback__returns_200_kilobytes__none_is_copied(market, consumer, chain, bob, mode):
    words = 200_000 // 32
    made = 3 * words + words**2 // 512  # what the consumer pays for that memory (yellow paper, H)
    gas_used = []
    for behaviour in (ACCEPT, mode):
        chain.snapshot()
        consumer.behave(behaviour, {"from": bob})
        delivered = market.delivered(consumer=consumer, callbackGas=GAS)
        gas_used.append(market.finalize(*delivered).gas_used)
        chain.revert()
    assert gas_used[1] - gas_used[0] < made + 5_000  # a copy would cost the market `made` again


def test_callback__fails__is_never_repeated(market, consumer, delivered, bob):
    consumer.behave(REVERT, {"from": bob})
    market.finalize(*delivered)
    with refuses("RequestStateMismatch", market.id_of(delivered[0])):
        market.finalize(*delivered)


def test_callback__too_little_gas__reverts_instead_of_starving(
    market, contract, consumer, delivered, bob
):
    request, delivery = delivered
    at(delivery[1] + WINDOW)
    with pytest.raises(VirtualMachineError, match="CallbackGasMissing"):
        contract.finalize([request], [delivery], {"from": bob, "gas_limit": 400_000})
    assert consumer.calls() == 0
    assert market.commitment() > 1


def test_callback__no_code__fails_quietly(market, bob):
    request, delivery = market.delivered(consumer=bob, callbackGas=GAS)
    transaction = market.finalize(request, delivery)
    assert transaction.events["CallbackCompleted"]["success"] is False


@pytest.mark.node  # base fee
def test_callback__gas_costs_more_than_was_escrowed__is_skipped_and_can_be_called_later_once(
    market, contract, consumer, delivered, alice, bob, base_fee
):
    """Whoever settles in a minute of high prices must not keep an answer from its consumer."""
    request, delivery = delivered
    at(delivery[1] + WINDOW)
    base_fee(10**9)
    fees = {"from": bob, "max_fee": 2 * 10**9, "priority_fee": 0}
    transaction = contract.finalize([request], [delivery], fees)
    assert transaction.events["CallbackCompleted"]["success"] is False
    assert consumer.calls() == 0

    base_fee(0)
    with refuses("CallbackNotSkipped", market.id_of(request)):
        contract.retryCallback(request, "0x" + "11" * 32, {"from": alice})
    called = contract.retryCallback(request, OUTPUT_ROOT, {"from": alice})
    assert called.events["CallbackCompleted"]["success"] is True
    assert (consumer.calls(), consumer.lastOutputRoot()) == (1, OUTPUT_ROOT)
    with refuses("CallbackNotSkipped", market.id_of(request)):
        contract.retryCallback(request, OUTPUT_ROOT, {"from": alice})


def test_retry__callback_that_was_made__reverts(market, contract, consumer, delivered, bob):
    """A consumer that refused the answer is not asked again."""
    consumer.behave(REVERT, {"from": bob})
    market.finalize(*delivered)
    with refuses("CallbackNotSkipped", market.id_of(delivered[0])):
        contract.retryCallback(delivered[0], OUTPUT_ROOT, {"from": bob})


def test_retry__no_answer_yet__reverts(market, contract, delivered, bob):
    for root in (OUTPUT_ROOT, "0x" + "00" * 32):
        with refuses("CallbackNotSkipped", market.id_of(delivered[0])):
            contract.retryCallback(delivered[0], root, {"from": bob})


def test_callback__none_asked_for__is_not_logged(market):
    assert "CallbackCompleted" not in market.finalize(*market.delivered()).events


def test_callback__reenters_finalize__settles_once(market, contract, consumer, delivered, bob):
    request, delivery = delivered
    consumer.reenter(contract, contract.finalize.encode_input([request], [delivery]), {"from": bob})
    transaction = market.finalize(request, delivery)
    assert transaction.events["CallbackCompleted"]["success"] is True
    assert consumer.reentrySucceeded() is False
    assert len(transaction.events["Finalized"]) == 1
    assert contract.balanceOf(market.operator) == FEE * 70 // 100


def test_callback__reenters_with_the_next_of_the_batch__changes_nothing(
    market, contract, consumer, bob
):
    first = market.delivered(lane=0, consumer=consumer, callbackGas=GAS)
    second = market.delivered(lane=1)
    data = contract.finalize.encode_input([second[0]], [second[1]])
    consumer.reenter(contract, data, {"from": bob})
    at(now() + WINDOW)
    transaction = contract.finalize([first[0], second[0]], [first[1], second[1]], {"from": bob})
    assert consumer.reentrySucceeded() is False
    assert len(transaction.events["Finalized"]) == 2


@pytest.mark.parametrize("name", ["withdraw", "withdrawBond", "collectModelEarnings"])
def test_callback__reenters_a_payout__is_refused(market, contract, consumer, delivered, bob, name):
    arguments = {"withdraw": (bob, 1), "collectModelEarnings": (1,)}.get(name, ())
    data = getattr(contract, name).encode_input(*arguments)
    consumer.reenter(contract, data, {"from": bob})
    market.finalize(*delivered)
    assert consumer.reentrySucceeded() is False
    assert str(consumer.reentryResult()) == "0x3ee5aeb5"  # ReentrancyGuardReentrantCall()


@pytest.mark.life
def test_callback__asks_the_next_question__is_allowed(
    market, contract, consumer, access, token, owner, alice, bob, delivered
):
    access.grant(1, consumer, 0, 0, 0, {"from": owner})
    contract.deposit(consumer, FEE, {"from": alice})
    order = market.order(operator=ZERO, priorityWindow=0)
    consumer.reenter(contract, contract.request.encode_input(order), {"from": bob})
    transaction = market.finalize(*delivered)
    assert consumer.reentrySucceeded() is True
    assert transaction.events["Requested"]["requester"] == consumer
