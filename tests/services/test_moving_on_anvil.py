"""A model, its credits and a stake go from one deployment to another on the same chain."""

from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.revert import ContractError
from oracle.chain.wallet import Wallet
from oracle.services import balances, models, moving, operators
from oracle.services.network import Network
from oracle.types import Amount
from tests.services.conftest import DOLLAR, World
from tests.services.data.people import Data, rows

pytestmark = pytest.mark.real
DAY = 86_400


@pytest.fixture
def new(world: World) -> Network:
    """A second deployment, which takes over models of the first."""
    old = world.network
    config = DeployConfig(
        token=old.contracts.token, predecessor=old.contracts.data_credits, unbonding_delay=3 * DAY
    )
    contracts = deploy(Wallet(old.rpc, dev_account(8)), config)
    return Network.over(replace(old.settings, contracts=contracts), old.rpc, old.ipfs)


def test_move__model_credits_and_stake__are_at_the_new_deployment(
    world: World, new: Network, tmp_path: Path
) -> None:
    old = world.network
    data = Data(world, tmp_path)
    data.fund(world.owner, world.operator, world.requester, world.stranger)
    data.publish()
    round_id = data.open()
    data.bring(world.operator, data.file("mine.csv", rows(1)))
    data.bring(world.requester, data.file("yours.csv", rows(2)))
    data.seal(round_id)
    data.value(round_id, world.stranger)
    data.pass_phase(round_id)
    data.advance(round_id)
    there, _ = moving.move_model(old, new, world.owner, 1)
    assert (
        models.records(new, there)[-1].manifest_digest == models.records(old, 1)[-1].manifest_digest
    )
    assert new.registry.terms_of(there, 1) == old.registry.terms_of(1, 1)
    assert moving.move_model(old, new, world.owner, 1) == (there, [])  # again: nothing

    with pytest.raises(ContractError) as caught:  # no key but the owner's
        moving.move_credits(old, new, world.stranger, 1, there)
    assert caught.value.name == "CallerNotModelOwner"
    held = moving.snapshot(old, 1)
    assert sum(credits for _, credits in held.held) == held.total > 0
    world.owner.send(old.credits.leave(1))
    world.owner.send(new.credits.come(there, 1))
    assert moving.arrived(old, new, 1, there).root != held.root
    moving.move_credits(old, new, world.stranger, 1, there)  # the rest is anyone's
    came = moving.arrived(old, new, 1, there)
    assert (came.root, came.total, came.held) == (held.root, held.total, held.held)
    assert {who: new.credits.credits_of(there, who) for who, _ in held.held} == dict(held.held)
    assert moving.snapshot(new, there).root == held.root  # and it could move on from there


def test_move_stake__before_and_after_the_delay__is_staked_there(
    world: World, new: Network
) -> None:
    old, me = world.network, world.operator
    balances.fund(old, me.address, Amount(100 * DOLLAR))
    operators.register(old, me, "https://op.example")
    operators.stake(old, me, Amount(100 * DOLLAR))

    begun = moving.move_stake(old, new, me)
    assert (begun.unbonding, begun.staked) == (100 * DOLLAR, 0)
    assert moving.move_stake(old, new, me).transactions == ()  # not yet
    world.pass_time(begun.release_at - old.history.now())
    done = moving.move_stake(old, new, me)

    assert (done.unbonding, done.staked) == (0, 100 * DOLLAR)
    assert operators.endpoint_of(new, me.address) == "https://op.example"
