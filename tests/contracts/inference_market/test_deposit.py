"""InferenceMarket.deposit, depositWithPermit, withdraw: the way in and out of prepaid balances."""

import pytest

from tests.contracts.chain import now, reverts
from tests.contracts.market import DOLLAR, ZERO, refuses
from tests.contracts.signing import sign, typed, vrs

PERMIT = {
    "Permit": typed("address owner,address spender,uint256 value,uint256 nonce,uint256 deadline")
}


@pytest.fixture
def carol(accounts, token, deployer):
    """A wallet whose key the test holds, with 10 dollars."""
    account = accounts.add()
    token.faucet(account, 10 * DOLLAR, {"from": deployer})
    return account


def permit(token, contract, account, value, deadline):
    message = {
        "owner": account.address,
        "spender": contract.address,
        "value": value,
        "nonce": token.nonces(account),
        "deadline": deadline,
    }
    return vrs(sign(account, token, "Test Dollar", PERMIT, message))


def test_deposit__nothing__reverts(contract, alice):
    with refuses("AmountZero"):
        contract.deposit(alice, 0, {"from": alice})


def test_deposit__no_allowance__reverts(contract, token, bob):
    token.faucet(bob, DOLLAR, {"from": bob})
    with reverts():
        contract.deposit(bob, DOLLAR, {"from": bob})
    assert contract.balanceOf(bob) == 0


def test_deposit__more_than_a_balance_holds__reverts(contract, alice):
    with refuses("SafeCastOverflowedUintDowncast", 192, 2**192):
        contract.deposit(alice, 2**192, {"from": alice})


def test_deposit__for_somebody_else__credits_them(market, contract, token, alice, bob):
    before = token.balanceOf(contract)
    transaction = contract.deposit(bob, DOLLAR, {"from": alice})
    assert contract.balanceOf(bob) == DOLLAR
    assert token.balanceOf(contract) == before + DOLLAR
    assert dict(transaction.events["Deposited"]) == {
        "account": bob,
        "from": alice,
        "amount": DOLLAR,
    }


def test_deposit_with_permit__in_order__needs_no_approval(contract, token, carol):
    deadline = now() + 100
    signature = permit(token, contract, carol, DOLLAR, deadline)
    contract.depositWithPermit(DOLLAR, deadline, *signature, {"from": carol})
    assert contract.balanceOf(carol) == DOLLAR


def test_deposit_with_permit__permit_front_run__still_deposits(contract, token, carol, bob):
    deadline = now() + 100
    signature = permit(token, contract, carol, DOLLAR, deadline)
    token.permit(carol, contract, DOLLAR, deadline, *signature, {"from": bob})
    contract.depositWithPermit(DOLLAR, deadline, *signature, {"from": carol})
    assert contract.balanceOf(carol) == DOLLAR


def test_deposit_with_permit__bad_signature_and_no_allowance__reverts(contract, token, carol, bob):
    deadline = now() + 100
    signature = permit(token, contract, carol, DOLLAR, deadline)
    with reverts():
        contract.depositWithPermit(2 * DOLLAR, deadline, *signature, {"from": carol})
    with reverts():
        contract.depositWithPermit(DOLLAR, deadline, *signature, {"from": bob})


def test_withdraw__nothing__reverts(market, contract, alice):
    with refuses("AmountZero"):
        contract.withdraw(alice, 0, {"from": alice})


def test_withdraw__more_than_the_balance__reverts(market, contract, alice):
    with refuses("BalanceInsufficient", alice, 100 * DOLLAR, 100 * DOLLAR + 1):
        contract.withdraw(alice, 100 * DOLLAR + 1, {"from": alice})


def test_withdraw__to_nobody__reverts(market, contract, alice):
    with refuses("ERC20InvalidReceiver", ZERO):
        contract.withdraw(ZERO, DOLLAR, {"from": alice})
    assert contract.balanceOf(alice) == 100 * DOLLAR


def test_withdraw__fee_in_escrow__stays(market, contract, alice):
    market.request()
    with reverts():
        contract.withdraw(alice, 100 * DOLLAR, {"from": alice})


def test_withdraw__everything__pays_the_address_named(market, contract, token, alice, bob):
    transaction = contract.withdraw(bob, 100 * DOLLAR, {"from": alice})
    assert token.balanceOf(bob) == 100 * DOLLAR
    assert contract.balanceOf(alice) == 0
    assert dict(transaction.events["Withdrawn"]) == {
        "account": alice,
        "to": bob,
        "amount": 100 * DOLLAR,
    }
