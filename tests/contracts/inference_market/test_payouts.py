"""collectModelEarnings and collectProtocolEarnings: anyone may push money to whom it belongs."""

import pytest

from tests.contracts.market import FEE, refuses

OWNER_FEE, DATA_FEE, PROTOCOL_FEE = FEE * 15 // 100, FEE * 10 // 100, FEE * 5 // 100


@pytest.fixture
def settled(market):
    market.finalize(*market.delivered())


def test_collect_model__nothing_earned__reverts(market, contract, bob):
    with refuses("AmountZero"):
        contract.collectModelEarnings(1, {"from": bob})


def test_collect_model__unknown_model__reverts(market, contract, bob):
    with refuses("ERC721NonexistentToken", 9):
        contract.collectModelEarnings(9, {"from": bob})


def test_collect_model__no_credits__pays_all_to_the_holder(settled, contract, token, owner, bob):
    transaction = contract.collectModelEarnings(1, {"from": bob})
    assert token.balanceOf(owner) == OWNER_FEE + DATA_FEE
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
    assert token.balanceOf(owner) == OWNER_FEE
    assert token.balanceOf(credits) == credits.credited(1) == DATA_FEE


def test_collect_model__credits_but_no_data_share__pays_the_holder(
    market, contract, registry, token, credits, owner, bob
):
    registry.setTerms(1, 1, FEE, 7_000, 0, 5, 60, {"from": owner})
    credits.setCredits(1, True, {"from": bob})
    market.finalize(*market.delivered())
    contract.collectModelEarnings(1, {"from": bob})
    assert token.balanceOf(owner) == OWNER_FEE + DATA_FEE
    assert credits.credited(1) == 0


def test_collect_model__owner_keeps_nothing_for_himself__data_is_paid(
    market, contract, registry, token, credits, owner, bob
):
    registry.setTerms(1, 1, FEE, 0, 9_000, 5, 60, {"from": owner})
    credits.setCredits(1, True, {"from": bob})
    market.finalize(*market.delivered())
    contract.collectModelEarnings(1, {"from": bob})
    assert token.balanceOf(credits) == FEE * 9 // 10
    assert token.balanceOf(owner) == FEE // 20


def test_collect_model__sold__pays_the_new_holder(settled, contract, registry, token, owner, bob):
    registry.transferFrom(owner, bob, 1, {"from": owner})
    contract.collectModelEarnings(1, {"from": owner})
    assert (token.balanceOf(owner), token.balanceOf(bob)) == (0, OWNER_FEE + DATA_FEE)


def test_collect_protocol__nothing_earned__reverts(market, contract, bob):
    with refuses("AmountZero"):
        contract.collectProtocolEarnings({"from": bob})


def test_collect_protocol__by_anyone__pays_the_treasury(settled, contract, token, treasury, bob):
    transaction = contract.collectProtocolEarnings({"from": bob})
    assert token.balanceOf(treasury) == PROTOCOL_FEE
    assert contract.protocolEarnings() == 0
    expected = {"to": treasury, "amount": PROTOCOL_FEE}
    assert dict(transaction.events["ProtocolEarningsCollected"]) == expected
