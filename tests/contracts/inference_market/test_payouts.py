"""collectModelEarnings and transfer: anyone may credit earnings to whom they belong."""

import pytest

from tests.contracts.market import FEE, refuses

OWNER_FEE, DATA_FEE = FEE * 15 // 100, FEE * 10 // 100


@pytest.fixture
def settled(market):
    market.finalize(*market.delivered())


def test_collect_model__nothing_earned__reverts(market, contract, bob):
    with refuses("AmountZero"):
        contract.collectModelEarnings(1, {"from": bob})


def test_collect_model__unknown_model__reverts(market, contract, bob):
    with refuses("ERC721NonexistentToken", 9):
        contract.collectModelEarnings(9, {"from": bob})


def test_collect_model__no_credits__credits_all_to_the_holder(settled, contract, owner, bob):
    transaction = contract.collectModelEarnings(1, {"from": bob})
    assert contract.balanceOf(owner) == OWNER_FEE + DATA_FEE
    assert contract.modelEarnings(1) == (0, 0)
    assert dict(transaction.events["ModelEarningsCollected"]) == {
        "modelId": 1,
        "to": owner,
        "ownerFee": OWNER_FEE + DATA_FEE,
        "dataFee": 0,
    }
    with refuses("AmountZero"):
        contract.collectModelEarnings(1, {"from": bob})


def test_collect_model__with_credits__pays_contributors_too(
    settled, contract, token, credits, owner, bob
):
    credits.setCredits(1, True, {"from": bob})
    contract.collectModelEarnings(1, {"from": bob})
    assert contract.balanceOf(owner) == OWNER_FEE
    assert contract.balanceOf(credits) == credits.credited(1) == DATA_FEE


def test_collect_model__credits_but_no_data_share__pays_the_holder(
    market, contract, registry, token, credits, owner, bob
):
    registry.setTerms(1, 1, FEE, 7_000, 0, 5, 60, {"from": owner})
    credits.setCredits(1, True, {"from": bob})
    market.finalize(*market.delivered())
    contract.collectModelEarnings(1, {"from": bob})
    assert contract.balanceOf(owner) == OWNER_FEE + DATA_FEE
    assert credits.credited(1) == 0


def test_collect_model__owner_keeps_nothing_for_himself__data_is_paid(
    market, contract, registry, token, credits, owner, bob
):
    registry.setTerms(1, 1, FEE, 0, 9_000, 5, 60, {"from": owner})
    credits.setCredits(1, True, {"from": bob})
    market.finalize(*market.delivered())
    contract.collectModelEarnings(1, {"from": bob})
    assert contract.balanceOf(credits) == FEE * 9 // 10
    assert contract.balanceOf(owner) == FEE // 20


def test_collect_model__sold__credits_the_new_holder(
    settled, contract, registry, operators, operator, rival, owner, bob
):
    for account in (operator, rival):
        operators.authorize(1, account, False, {"from": owner})
    registry.transferFrom(owner, bob, 1, {"from": owner})
    contract.collectModelEarnings(1, {"from": owner})
    assert (contract.balanceOf(owner), contract.balanceOf(bob)) == (0, OWNER_FEE + DATA_FEE)


def test_collect_model__owner_blocked_by_the_token__contributors_are_paid(
    settled, contract, token, credits, owner, bob
):
    """The owner's share is credited: no token moves to it."""
    credits.setCredits(1, True, {"from": bob})
    before = token.balanceOf(owner)
    contract.collectModelEarnings(1, {"from": bob})
    assert (token.balanceOf(owner), contract.balanceOf(credits)) == (before, DATA_FEE)
    contract.withdraw(bob, OWNER_FEE, {"from": owner})  # any account will do
    assert token.balanceOf(bob) == OWNER_FEE


def test_transfer__nothing__reverts(market, contract, alice, bob):
    with refuses("AmountZero"):
        contract.transfer(bob, 0, {"from": alice})


def test_transfer__more_than_there_is__reverts(market, contract, alice, bob):
    with refuses("BalanceInsufficient", bob, 0, 1):
        contract.transfer(alice, 1, {"from": bob})


def test_transfer__in_order__moves_between_balances_alone(market, contract, token, alice, bob):
    held, before = token.balanceOf(contract), contract.balanceOf(alice)
    transaction = contract.transfer(bob, 7, {"from": alice})
    assert (contract.balanceOf(alice), contract.balanceOf(bob)) == (before - 7, 7)
    assert token.balanceOf(contract) == held
    expected = {"from": alice, "to": bob, "amount": 7}
    assert dict(transaction.events["BalanceTransferred"]) == expected
