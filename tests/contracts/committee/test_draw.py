"""draw and lapse: the seed through EIP-2935, and what a missed draw costs."""

import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.contracts.chain import at, chain, now, rpc
from tests.contracts.committee.panel import (
    BOND,
    CHALLENGED,
    CLOSED,
    COMMIT,
    DEAD,
    DRAW,
    MIN_STAKE,
    REVEAL,
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
    until = panel.contract.drawUntil(panel.id_of(challenged))
    panel.to_the_seed(challenged)
    at(until)
    with refuses("DrawOver", panel.id_of(challenged), until):
        panel.contract.draw(panel.id_of(challenged), {"from": panel.challenger})


def test_draw__twice__reverts(panel, voting, bob):
    with refuses("StageInvalid", panel.id_of(voting), VOTING):
        panel.contract.draw(panel.id_of(voting), {"from": bob})


def test_draw__last_second__takes_the_hash_of_the_seed_block(panel, challenged):
    until = panel.contract.drawUntil(panel.id_of(challenged))
    panel.to_the_seed(challenged)
    at(until - 1)
    transaction = panel.contract.draw(panel.id_of(challenged), {"from": panel.challenger})
    dispute, time = panel.dispute(challenged), transaction.timestamp
    seed = chain[dispute["seedBlock"]].hash.to_0x_hex()
    request_id = panel.id_of(challenged)
    assert dict(transaction.events["Drawn"]) == {"requestId": request_id, "seed": seed}
    assert dict(transaction.events["RoundStarted"]) == {
        "requestId": request_id,
        "round": 0,
        "commitUntil": time + COMMIT,
        "revealUntil": time + COMMIT + REVEAL,
    }
    assert (dispute["stage"], dispute["seed"]) == (VOTING, seed)
    words = (bytes.fromhex(seed[2:]), bytes.fromhex(request_id[2:]), 2)
    expected = "0x" + keccak(encode(["bytes32", "bytes32", "uint256"], words)).hex()
    assert panel.contract.activationSeed(request_id, 2) == expected


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
    assert all(panel.contract.isDrawn(request_id, 0, member) for member in panel.members)
    assert not panel.contract.isDrawn(request_id, 2, rival)
    assert not panel.contract.isDrawn(request_id, 3, panel.members[0])  # there is no such round


def test_draw__stakes_of_different_height__follow_the_formula(panel, accounts):
    others = [accounts[2], accounts[6]]
    panel.enlist(others[0], 30 * MIN_STAKE)
    panel.enlist(others[1], 2 * MIN_STAKE)
    panel.season()
    delivered = panel.voting(panel.market.delivered())
    dispute, request_id = panel.dispute(delivered), panel.id_of(delivered)
    assert dispute["eligible"] == 35 * MIN_STAKE
    stakes = [(m, MIN_STAKE) for m in panel.members]
    stakes += [(others[0], 30 * MIN_STAKE), (others[1], 2 * MIN_STAKE)]
    for round_, expected in enumerate((3, 6, 12)):
        for member, stake in stakes:
            types = ["bytes32", "bytes32", "uint256", "address"]
            words = (bytes.fromhex(str(dispute["seed"])[2:]), bytes.fromhex(request_id[2:]))
            rank = int.from_bytes(keccak(encode(types, [*words, round_, member.address])))
            drawn = rank * dispute["eligible"] < 2**256 * expected * stake
            assert panel.contract.isDrawn(request_id, round_, member) == drawn


# ── lapse ───────────────────────────────────────────────────────────────────────────────────────


def test_lapse__while_it_can_be_drawn__reverts(panel, challenged, bob):
    until = panel.contract.drawUntil(panel.id_of(challenged))
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
    at(panel.contract.drawUntil(panel.id_of(challenged)))
    transaction = panel.contract.lapse(*challenged, {"from": rival})
    request_id = panel.id_of(challenged)
    assert dict(transaction.events["DrawMissed"]) == {
        "requestId": request_id,
        "challenger": bob,
        "toOperator": BOND // 2,
        "burned": BOND - BOND // 2,
    }
    assert panel.contract.bondOf(operator) == BOND // 2
    assert panel.contract.bondOf(DEAD) == BOND - BOND // 2
    assert panel.contract.bondOf(bob) == 0
    assert panel.contract.burnAddress() == DEAD
    dispute = panel.dispute(challenged)
    assert (dispute["stage"], dispute["seed"]) == (CLOSED, ZERO32)
    assert dispute["stage"] != CHALLENGED
    assert panel.market.finalize(*challenged).events["Finalized"]["requestId"] == request_id
