"""draw and lapse: the seed through EIP-2935, and what a missed draw costs."""

import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.contracts.chain import at, chain, now, rpc
from tests.contracts.committee.panel import (
    BOND,
    CLOSED,
    COMMIT,
    DEAD,
    DRAW,
    MIN_STAKE,
    REVEAL,
    VOTE,
    VOTING,
)
from tests.contracts.market import ZERO32, refuses


@pytest.fixture
def challenged(panel, delivered):
    panel.challenge(delivered)
    return delivered


def mine_blocks(count):
    rpc("anvil_mine", hex(count), hex(0))


def test_draw__never_challenged__reverts(panel, delivered, bob):
    with refuses("StageInvalid", panel.id_of(delivered), 0):
        panel.contract.draw(panel.id_of(delivered), {"from": bob})


def test_draw__before_the_seed_block_is_past__reverts(panel, challenged, bob):
    seed_block = panel.dispute(challenged)["seedBlock"]
    assert chain.height == seed_block - 2  # the call itself is in the next block
    with refuses("SeedPending", panel.id_of(challenged), seed_block):
        panel.contract.draw(panel.id_of(challenged), {"from": bob})
    with refuses("SeedPending", panel.id_of(challenged), seed_block):  # in the seed block
        panel.contract.draw(panel.id_of(challenged), {"from": bob})
    assert "Drawn" in panel.contract.draw(panel.id_of(challenged), {"from": bob}).events


def test_draw__too_late__reverts(panel, challenged):
    until = panel.dispute(challenged)["until"]
    panel.to_the_seed(challenged)
    at(until)
    with refuses("DrawOver", panel.id_of(challenged), until):
        panel.contract.draw(panel.id_of(challenged), {"from": panel.challenger})


def test_draw__twice__reverts(panel, voting, bob):
    with refuses("StageInvalid", panel.id_of(voting), VOTING):
        panel.contract.draw(panel.id_of(voting), {"from": bob})


def test_draw__last_second__takes_the_hash_of_the_seed_block(panel, challenged):
    until = panel.dispute(challenged)["until"]
    panel.to_the_seed(challenged)
    at(until - 1)
    transaction = panel.contract.draw(panel.id_of(challenged), {"from": panel.challenger})
    dispute, time = panel.dispute(challenged), transaction.timestamp
    assert dispute["until"] == time + COMMIT
    seed = chain[dispute["seedBlock"]].hash.to_0x_hex()
    request_id = panel.id_of(challenged)
    assert dict(transaction.events["Drawn"]) == {
        "requestId": request_id,
        "round": 0,
        "seed": seed,
        "commitUntil": time + COMMIT,
        "revealUntil": time + COMMIT + REVEAL,
    }
    assert (dispute["stage"], panel.round(challenged)["seed"]) == (VOTING, seed)
    words = (bytes.fromhex(seed[2:]), bytes.fromhex(request_id[2:]), 0)
    expected = "0x" + keccak(encode(["bytes32", "bytes32", "uint256"], words)).hex()
    assert panel.contract.activationSeed(request_id, 0) == expected


@pytest.mark.node  # the history contract, which the node writes
def test_draw__after_256_blocks__reads_the_history_contract(panel, challenged):
    """The boundary, 8,191 blocks, is in test_history.py, where blocks cost nothing."""
    seed_block = panel.dispute(challenged)["seedBlock"]
    mine_blocks(seed_block + 299 - chain.height)
    seed = panel.draw(challenged).events["Drawn"]["seed"]
    assert chain.height == seed_block + 300
    assert seed == chain[seed_block].hash.to_0x_hex()


def test_draw__members__by_hash_and_stake(panel, challenged, rival):
    """Who is drawn is what the formula says, with the stakes of before the challenge."""
    panel.enlist(rival, 90 * MIN_STAKE)  # too late
    panel.season()
    panel.draw(challenged)
    request_id = panel.id_of(challenged)
    assert [panel.contract.depositOf(request_id, 0, m) for m in panel.members] == [VOTE] * 3
    assert panel.contract.depositOf(request_id, 0, rival) == 0
    assert panel.contract.depositOf(request_id, 1, panel.members[0]) == 0  # it was not drawn


def test_draw__stakes_of_different_height__follow_the_formula(crowd, accounts):
    """Who holds half the stake is always drawn, and its vote binds and weighs 3.5 times as much."""
    whale = accounts[2]
    crowd.enlist(whale, 30 * MIN_STAKE)
    crowd.season()
    delivered = crowd.voting(crowd.market.delivered())
    dispute, request_id = crowd.dispute(delivered), crowd.id_of(delivered)
    assert dispute["eligible"] == 60 * MIN_STAKE
    seed = bytes.fromhex(str(crowd.round(delivered)["seed"])[2:])
    for member, stake in [*((m, MIN_STAKE) for m in crowd.members), (whale, 30 * MIN_STAKE)]:
        words = (seed, bytes.fromhex(request_id[2:]), 0, member.address)
        types = ["bytes32", "bytes32", "uint256", "address"]
        rank = int.from_bytes(keccak(encode(types, words)))
        drawn = rank * dispute["eligible"] < 2**256 * 7 * stake
        binds = VOTE * 7 // 2 if member == whale else VOTE
        assert crowd.contract.depositOf(request_id, 0, member) == (binds if drawn else 0)


# ── lapse ───────────────────────────────────────────────────────────────────────────────────────


def test_lapse__while_it_can_be_drawn__reverts(panel, challenged, bob):
    until = panel.dispute(challenged)["until"]
    at(until - 1)
    with refuses("DrawOpen", panel.id_of(challenged), until):
        panel.contract.lapse(*challenged, {"from": bob})


def test_lapse__after_the_draw__reverts(panel, voting, bob):
    at(now() + DRAW)
    with refuses("StageInvalid", panel.id_of(voting), VOTING):
        panel.contract.lapse(*voting, {"from": bob})


def test_lapse__other_delivery__reverts(panel, challenged, bob):
    request, delivery = challenged
    at(now() + DRAW)
    with refuses("RequestStateMismatch", panel.id_of(challenged)):
        panel.contract.lapse(request, (bob, *delivery[1:]), {"from": bob})


def test_lapse__missed_draw__costs_the_bond_and_frees_the_answer(
    panel, challenged, operator, rival, bob
):
    at(panel.dispute(challenged)["until"])
    transaction = panel.contract.lapse(*challenged, {"from": rival})
    request_id = panel.id_of(challenged)
    assert dict(transaction.events["DrawMissed"]) == {
        "requestId": request_id,
        "round": 0,
        "caller": bob,
    }
    assert panel.contract.bondOf(operator) == 3 * BOND // 2
    assert panel.contract.bondOf(DEAD) == 3 * BOND // 2
    assert panel.contract.bondOf(bob) == 0
    assert panel.contract.burnAddress() == DEAD
    dispute = panel.dispute(challenged)
    assert dispute["stage"] == CLOSED
    assert panel.round(challenged)["seed"] == ZERO32
    assert panel.market.finalize(*challenged).events["Finalized"]["requestId"] == request_id
