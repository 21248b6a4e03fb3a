"""OperatorRegistry.stake, startUnstake, finishUnstake, and the market's locks on it."""

import pytest

from tests.contracts.chain import at, now, reverts
from tests.contracts.market import DOLLAR, LOCK, ZERO32, refuses

DELAY = 30 * 86_400


def test_stake__nothing__reverts(staked, operators, operator):
    with refuses("AmountZero"):
        operators.stake(operator, 0, {"from": operator})


def test_stake__unknown_operator__reverts(staked, operators, operator, bob):
    with refuses("OperatorUnknown", bob):
        operators.stake(bob, 1, {"from": operator})


def test_stake__more_than_96_bits__reverts(staked, operators, operator):
    with refuses("SafeCastOverflowedUintDowncast", 96, 2**96):
        operators.stake(operator, 2**96, {"from": operator})


def test_stake__tokens_missing__reverts(operators, token, bob):
    operators.register(ZERO32, "", {"from": bob})
    token.approve(operators, 5, {"from": bob})
    with refuses("ERC20InsufficientBalance", bob, 0, 5):
        operators.stake(bob, 5, {"from": bob})


def test_stake__by_somebody_else__adds(staked, operators, token, operator, rival):
    before = token.balanceOf(operators)
    transaction = operators.stake(operator, 5, {"from": rival})
    assert operators.stakeOf(operator) == (staked + 5, 0, True)
    assert operators.freeStakeOf(operator) == staked + 5
    assert token.balanceOf(operators) == before + 5
    expected = {"operator": operator, "from": rival, "amount": 5}
    assert dict(transaction.events["Staked"]) == expected


def test_start_unstake__nothing__reverts(staked, operators, operator):
    with refuses("AmountZero"):
        operators.startUnstake(0, {"from": operator})


def test_start_unstake__more_than_is_free__reverts(market, operators, operator):
    market.delivered()
    free = 100 * DOLLAR - LOCK
    with refuses("StakeInsufficient", operator, free, free + 1):
        operators.startUnstake(free + 1, {"from": operator})


def test_start_unstake__one_pending__reverts(staked, operators, operator):
    time = operators.startUnstake(1, {"from": operator}).timestamp
    with refuses("UnbondingPending", operator, time + DELAY):
        operators.startUnstake(1, {"from": operator})


def test_start_unstake__in_order__leaves_the_stake_at_once(staked, operators, operator):
    transaction = operators.startUnstake(7, {"from": operator})
    release = transaction.timestamp + DELAY
    assert operators.stakeOf(operator)[0] == staked - 7
    assert operators.unbondingOf(operator) == (7, release)
    expected = {"operator": operator, "amount": 7, "releaseAt": release}
    assert dict(transaction.events["UnstakeStarted"]) == expected


def test_finish_unstake__none_started__reverts(staked, operators, operator):
    with refuses("UnbondingMissing", operator):
        operators.finishUnstake(operator, {"from": operator})


def test_finish_unstake__second_too_early__reverts(staked, operators, operator):
    operators.startUnstake(7, {"from": operator})
    release = now() + DELAY
    at(release - 1)
    with refuses("UnbondingPending", operator, release):
        operators.finishUnstake(operator, {"from": operator})


@pytest.mark.life
def test_finish_unstake__when_over__pays_once_to_any_account(
    staked, operators, token, operator, bob
):
    operators.startUnstake(staked, {"from": operator})
    at(now() + DELAY)
    transaction = operators.finishUnstake(bob, {"from": operator})
    assert token.balanceOf(bob) == staked
    expected = {"operator": operator, "to": bob, "amount": staked}
    assert dict(transaction.events["UnstakeFinished"]) == expected
    with refuses("UnbondingMissing", operator):
        operators.finishUnstake(bob, {"from": operator})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("lockFor", (1, "operator", 1)), ("unlock", ("operator", 1)), ("slash", ("operator", 1, 1))],
)
def test_market_calls__by_anyone_else__revert(
    staked, operators, operator, owner, bob, name, arguments
):
    arguments = [operator if argument == "operator" else argument for argument in arguments]
    for caller in (operator, owner, bob):
        with refuses("CallerNotMarket", caller):
            getattr(operators, name)(*arguments, {"from": caller})


@pytest.fixture
def own_market(OperatorRegistry, token, registry, model, owner, operator, bob):
    """A registry whose market is bob, so that bob can do what the market never does."""
    own = OperatorRegistry.deploy(token, registry, bob, 1, {"from": bob})
    token.faucet(operator, 10, {"from": operator})
    token.approve(own, 10, {"from": operator})
    own.register(ZERO32, "", {"from": operator})
    own.authorize(1, operator, True, {"from": owner})
    own.stake(operator, 10, {"from": operator})
    own.lockFor(1, operator, 4, {"from": bob})
    return own


@pytest.mark.parametrize(("name", "extra"), [("unlock", ()), ("slash", (0,))])
def test_unlock_and_slash__more_than_is_locked__revert(own_market, operator, bob, name, extra):
    with refuses("LockInsufficient", operator, 4, 5):
        getattr(own_market, name)(operator, 5, *extra, {"from": bob})


def test_slash__burn_above_the_amount__reverts(own_market, operator, bob):
    with reverts():
        own_market.slash(operator, 2, 3, {"from": bob})


@pytest.mark.life
@pytest.mark.parametrize("burned", [0, 1, 3])
def test_slash__in_order__moves_no_token_until_the_market_is_paid(
    own_market, token, operator, bob, burned
):
    """A token that is paused or blocks accounts stops no verdict."""
    before = token.balanceOf(bob)
    transaction = own_market.slash(operator, 3, burned, {"from": bob})
    assert own_market.stakeOf(operator) == (7, 1, True)
    assert (token.balanceOf(bob), token.balanceOf(own_market)) == (before, 10)
    assert own_market.burned() == burned
    expected = {"operator": operator, "amount": 3, "burned": burned}
    assert dict(transaction.events["StakeSlashed"]) == expected
    for _ in range(2):  # once only
        own_market.payMarket({"from": operator})
        assert token.balanceOf(bob) == before + 3 - burned
    assert token.balanceOf(own_market) == 7 + burned
