"""A game under a token that is paused or blocks accounts: no verdict and no bond waits for it."""

import pytest

from tests.contracts.chain import at
from tests.contracts.market import DOLLAR, FEE, LOCK, MULTIPLE

BOUNTY = LOCK * 30 // 100


@pytest.fixture(scope="module")
def token(TestBlockingDollar, deployer):
    return TestBlockingDollar.deploy({"from": deployer})


@pytest.fixture
def convicted(game, lie, token, operators, operator, bob, carol, fault, alice):
    """Two challengers; the token is paused when one of them shows the fault."""
    game.challenge(lie, bob, *fault)
    game.challenge(lie, carol)
    token.setPaused(True, {"from": bob})
    game.prove(lie, bob, lie.step(*fault), game.receipt(lie))
    assert operators.stakeOf(operator)[0] == 100 * DOLLAR - LOCK
    return lie


def test_convict__token_paused__everybody_is_credited(game, contract, convicted, bob, carol):
    game.contract.releaseBond(convicted.id, carol, {"from": carol})
    assert contract.balanceOf(bob) == contract.balanceOf(carol) == BOUNTY // 2


def test_withdraw__paused_account_blocked_later__is_paid_elsewhere(
    game, contract, token, operators, convicted, alice, bob, rival
):
    """What was slashed lies with the stakes until a payout needs it."""
    token.setPaused(False, {"from": bob})
    token.setBlocked(alice, True, {"from": bob})
    owed = contract.balanceOf(alice)
    assert owed >= FEE + MULTIPLE * FEE
    before = token.balanceOf(rival)
    assert owed > 0
    contract.withdraw(rival, owed, {"from": alice})
    assert token.balanceOf(rival) == before + owed
    contract.withdraw(bob, contract.balanceOf(bob), {"from": bob})
    assert token.balanceOf(bob) == BOUNTY // 2


def test_lapse__token_paused__ends_the_challenge(game, token, lie, bob, carol, fault):
    game.challenge(lie, bob, *fault, bond=10)
    token.setPaused(True, {"from": bob})
    at(game.turn(lie, bob)["deadline"])
    game.contract.lapse(*lie.of, bob, {"from": carol})
    assert game.contract.bondOf(game.market.operator) == 5
