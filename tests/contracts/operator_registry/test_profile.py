"""OperatorRegistry.register, updateProfile, authorize: who an operator is and what for."""

from tests.contracts.market import ZERO32, digest, refuses


def test_register__twice__reverts(staked, operators, operator):
    with refuses("OperatorAlreadyRegistered", operator):
        operators.register(ZERO32, "", {"from": operator})


def test_register__endpoint_too_long__reverts(operators, bob):
    with refuses("EndpointTooLong", 257, 256):
        operators.register(ZERO32, "x" * 257, {"from": bob})


def test_register__in_order__is_known(operators, bob):
    transaction = operators.register(digest("key"), "x" * 256, {"from": bob})
    assert operators.stakeOf(bob) == (0, 0, True)
    assert operators.encryptionKeyOf(bob) == digest("key")
    assert dict(transaction.events["OperatorRegistered"]) == {
        "operator": bob,
        "encryptionKey": digest("key"),
        "endpoint": "x" * 256,
    }


def test_update_profile__unknown__reverts(operators, bob):
    with refuses("OperatorUnknown", bob):
        operators.updateProfile(ZERO32, "", {"from": bob})


def test_update_profile__endpoint_too_long__reverts(staked, operators, operator):
    with refuses("EndpointTooLong", 300, 256):
        operators.updateProfile(ZERO32, "x" * 300, {"from": operator})


def test_update_profile__in_order__replaces(staked, operators, operator):
    transaction = operators.updateProfile(digest("new"), "there", {"from": operator})
    assert operators.encryptionKeyOf(operator) == digest("new")
    assert dict(transaction.events["ProfileUpdated"]) == {
        "operator": operator,
        "encryptionKey": digest("new"),
        "endpoint": "there",
    }


def test_authorize__not_the_owner__reverts(staked, operators, admin, operator):
    with refuses("CallerNotModelOwner", 1, admin):
        operators.authorize(1, operator, True, {"from": admin})


def test_authorize__unknown_operator__reverts(staked, operators, owner, bob):
    with refuses("OperatorUnknown", bob):
        operators.authorize(1, bob, True, {"from": owner})


def test_authorize__given_and_taken__is_kept(staked, operators, owner, operator):
    for authorized in (False, True):
        transaction = operators.authorize(1, operator, authorized, {"from": owner})
        assert operators.isAuthorized(1, operator) is authorized
        assert dict(transaction.events["OperatorAuthorized"]) == {
            "modelId": 1,
            "operator": operator,
            "authorized": authorized,
        }


def test_authorize__again__counts_once(staked, operators, owner, operator):
    for authorized, count in ((True, 2), (False, 1), (False, 1), (True, 2)):
        operators.authorize(1, operator, authorized, {"from": owner})
        assert operators.authorizedCount(1) == count


def test_authorize__operators_left__the_model_cannot_change_hands(
    staked, operators, registry, owner, operator, rival, bob
):
    operators.authorize(1, operator, False, {"from": owner})
    with refuses("OperatorsAuthorized", 1, 1):
        registry.transferFrom(owner, bob, 1, {"from": owner})
    operators.authorize(1, rival, False, {"from": owner})
    registry.transferFrom(owner, bob, 1, {"from": owner})
    assert not operators.isAuthorized(1, operator)
    with refuses("CallerNotModelOwner", 1, owner):
        operators.authorize(1, rival, True, {"from": owner})


def test_views__return_what_was_given(operators, contract, token):
    assert operators.market() == contract
    assert operators.token() == token
    assert operators.unbondingDelay() == 30 * 86_400
