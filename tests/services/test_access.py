"""Access: named parameters to bounded words, and the rules as people read them."""

import pytest

from oracle.chain.bindings.model_access import GrantStatus, Policy
from oracle.chain.revert import ContractError
from oracle.errors import InputInvalid
from oracle.protocol import params
from oracle.protocol.params import ParameterSpec
from oracle.services import access
from oracle.services.amounts import Rate
from oracle.services.models import Selected

SPECS = (
    ParameterSpec(lane=0, name="temperature", minimum=1, maximum=20, default=10, scale=10),
    ParameterSpec(lane=3, name="tokens", minimum=1, maximum=4096, default=64),
)


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ({"heat": (0, 1)}, "no parameter heat"),
        ({"temperature": (0.5, 2.1)}, "out of bounds"),
        ({"temperature": (1.5, 0.5)}, "1.5 is above 0.5"),
    ],
)
def test_pack_ranges__does_not_fit__refuses(ranges, why):
    with pytest.raises(InputInvalid, match=why):
        access.pack_ranges(SPECS, ranges)


def test_pack_ranges__all_maxima_zero__would_lift_and_is_refused():
    spec = ParameterSpec(lane=0, name="bias", minimum=0, maximum=10)
    with pytest.raises(InputInvalid, match="would lift all bounds"):
        access.pack_ranges((spec,), {"bias": (0, 0)})


def test_pack_ranges__some_named__keeps_the_manifests_bounds_for_the_rest():
    low, high = access.pack_ranges(SPECS, {"temperature": (0.5, 1.5)})
    assert params.unpack(low) == (5, 0, 0, 1, 0, 0, 0, 0)
    assert params.unpack(high) == (15, 0, 0, 4096, 0, 0, 0, 0)


@pytest.mark.real
def test_set_policy__by_a_stranger__refuses(world):
    world.publish()
    with pytest.raises(ContractError, match="is not an admin"):
        access.set_policy(world.network, world.stranger, 1, Policy.OPEN)


@pytest.mark.real
def test_life__apply_grant_deny_revoke__is_shown(world):
    world.publish()
    network, who = world.network, world.requester.address
    access.set_policy(network, world.owner, 1, Policy.ON_REQUEST)
    access.set_admin(network, world.owner, 1, world.stranger.address, True)
    access.apply(network, world.requester, 1, "for school")
    with pytest.raises(ContractError, match="already applied"):
        access.apply(network, world.requester, 1, "")
    (shown,) = access.show(network, 1).wallets
    assert (shown.status, shown.note, shown.allowed) == (GrantStatus.APPLIED, "for school", False)
    assert "has no access" in shown.reason
    access.grant(network, world.stranger, 1, who, lifetime=3600, rate=Rate(10, 60))
    found = access.show(network, 1)
    assert found.admins == (world.stranger.address,)
    (shown,) = found.wallets
    assert (shown.status, shown.allowed, shown.max_per_window) == (GrantStatus.GRANTED, True, 10)
    assert shown.expiry > network.history.now()
    access.deny(network, world.owner, 1, who)
    assert access.of_wallet(network, 1, who).status is GrantStatus.DENIED
    access.revoke(network, world.owner, 1, who)
    assert access.of_wallet(network, 1, who).status is GrantStatus.NONE
    access.set_admin(network, world.owner, 1, world.stranger.address, False)
    assert access.show(network, 1).admins == ()


@pytest.mark.real
def test_limits__set_and_lifted__are_shown_in_their_own_units(world):
    world.publish()
    model = Selected(1, None)
    assert not access.limits(world.network, model).bounded
    access.set_limits(world.network, world.owner, model, {"temperature": (0.5, 1.5)})
    found = access.limits(world.network, model)
    (limit,) = found.parameters
    assert found.bounded
    assert (limit.minimum, limit.maximum, limit.default) == (0.5, 1.5, 1)
    access.set_limits(world.network, world.owner, model, {})
    assert access.limits(world.network, model).parameters[0].maximum == 2
