"""TrainingGame.demand, openNode, revealLeaf: what nobody serves is opened, or silence loses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oracle.training.aggregation import AggregationRule
from oracle.training.vectors import VectorTree
from tests.contracts import refusing_wallet
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CHALLENGER,
    CID,
    DAVE,
    DEAD,
    OWNER,
    RIVAL,
    refuses,
)
from tests.contracts.training_rounds.play import (
    AGGREGATE,
    AGGREGATOR,
    BOND,
    BOND_NEEDED,
    COLLECTING,
    PUBLISHED,
    REPLY,
    REVEALED,
    STAKE,
    STATE_PART,
    SUMS_PART,
    UNCLIPPED,
    UNSERVED,
    UPDATE,
    VOID,
    P,
    Training,
    Vectors,
)


@pytest.fixture
def collected() -> Training:
    """Three updates are revealed; they can be demanded now."""
    training = Training()
    training.collect_updates()
    return training


@pytest.fixture
def published() -> Training:
    training = Training()
    training.collect_updates()
    training.publish()
    return training


def trees(training: Training) -> dict[int, VectorTree]:
    seen = training.vectors.evidence
    assert seen.sums is not None
    return {SUMS_PART: seen.sums, STATE_PART: seen.state, UPDATE: seen.updates[0]}


def silent(training: Training, target: int = 0, by: str = CHALLENGER) -> None:
    training.do(OWNER, "convictSilent", 1, target, by)


# ── Serve ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", [SUMS_PART, STATE_PART, UPDATE])
def test_demand__every_node_of_an_aggregate__is_served(published: Training, part: int) -> None:
    tree, number = trees(published)[part], int(part == UPDATE)
    for level in range(tree.depth + 1):
        for index in range(0, 1 << level, max(1, (1 << level) - 1)):
            published.demand(part, number, level, index)
            assert published.demanded()[0] == 2  # the server's turn
            published.serve(tree)
            assert published.demanded()[0] == 1
    assert published.round["challenges"] == 1


def test_demand__nodes_of_an_update__are_served_before_aggregation(collected: Training) -> None:
    tree = collected.vectors.evidence.updates[1]
    collected.demand(UPDATE, 2)
    collected.serve(tree, 2)
    collected.demand(UPDATE, 2, tree.depth, 2)
    collected.serve(tree, 2)
    collected.until("serveUntil")
    with refuses("TrainingChallengesOpen"):
        collected.do(AGGREGATOR, "claim", 1)
    collected.at(collected.round["endBy"] + 1)  # the round waits for who has the turn
    collected.do(BOB, "lapseDemand", 1, 2, CHALLENGER)

    assert collected.bond(BOB) == BOND_NEEDED  # half of two, BOB is its participant
    assert collected.bond(DEAD) == BOND_NEEDED
    assert collected.round["endBy"] == collected.world.time + AGGREGATE
    assert collected.status(2) == REVEALED
    collected.publish()


def test_open_node__of_another_tree_or_shape__reverts(published: Training) -> None:
    tree = trees(published)[STATE_PART]
    other = trees(published)[UPDATE]
    published.demand(STATE_PART)
    with refuses("VectorOpeningInvalid"):
        published.serve(other)
    nodes = [tree.node(tree.depth, i) for i in range(1 << tree.depth)]
    arguments = (1, 0, CHALLENGER)
    for wrong, path in ((nodes[:-1], ()), (nodes[::-1], ()), (nodes, (CID,)), (nodes * 2, ())):
        with refuses("VectorOpeningInvalid"):
            published.do(DAVE, "openNode", *arguments, wrong, path)
    with refuses("VectorOpeningInvalid"):
        published.do(DAVE, "revealLeaf", *arguments, tree.leaf(0), ())
    published.do(DAVE, "openNode", *arguments, nodes, ())


def test_reveal_leaf__other_bytes__reverts(published: Training) -> None:
    tree = trees(published)[STATE_PART]
    last = (P - 1) // 32
    published.demand(STATE_PART, 0, tree.depth, last)
    data, path = tree.leaf(last), tree.path(tree.depth, last)
    for wrong in (data[:-1], data.ljust(128, b"\0"), b"", bytes(len(data))):
        with refuses("VectorOpeningInvalid"):
            published.do(DAVE, "revealLeaf", 1, 0, CHALLENGER, wrong, path)
    with refuses("VectorOpeningInvalid"):
        published.do(DAVE, "openNode", 1, 0, CHALLENGER, [tree.node(tree.depth, last)], path)
    published.do(DAVE, "revealLeaf", 1, 0, CHALLENGER, data, path)


# ── Refused demands ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("part", "number", "level", "index"),
    [
        (STATE_PART, 0, 3, 0),  # below the leaves
        (STATE_PART, 0, 1, 2),
        (SUMS_PART, 1, 0, 0),
        (STATE_PART, 1, 0, 0),
        (UPDATE, 0, 0, 0),
        (UPDATE, 4, 0, 0),
    ],
)
def test_demand__what_is_not_there__reverts(
    published: Training, part: int, number: int, level: int, index: int
) -> None:
    with refuses("DemandTargetInvalid"):
        published.demand(part, number, level, index)


def test_demand__sums_of_a_rule_without_sums__reverts() -> None:
    training = Training(vectors=Vectors.random((1, 1, 1), AggregationRule.MEDIAN))
    training.collect_updates()
    training.publish()
    with refuses("DemandTargetInvalid"):
        training.demand(SUMS_PART)
    training.demand(STATE_PART)


def test_demand__before_anything_is_published__of_updates_in_their_time_alone() -> None:
    training = Training()
    training.open()
    with refuses("DemandTargetInvalid"):
        training.demand(UPDATE, 1)
    for client in range(3):
        training.commit(client)
    training.until("commitUntil")
    for client in range(3):
        training.reveal(client)
    with refuses("TrainingPhaseNotOpen"):
        training.demand(UPDATE, 1)
    training.until("revealUntil")
    with refuses("DemandTargetInvalid"):
        training.demand(STATE_PART)
    training.until("serveUntil")
    with refuses("TrainingPhaseOver"):
        training.demand(UPDATE, 1)


def test_demand__bond_too_low__reverts(published: Training) -> None:
    assert published.do(BOB, "bondNeeded") == BOND_NEEDED
    with refuses("BondTooLow"):
        published.demand(STATE_PART, bond=BOND_NEEDED - 1)
    published.demand(STATE_PART)


def test_demand__window_passed__reverts_for_all_who_do_not_play(published: Training) -> None:
    published.at(published.round["until"] - 1)
    published.demand(STATE_PART)
    published.until("until")
    with refuses("TrainingWindowPassed"):
        published.demand(STATE_PART, by=RIVAL)
    with refuses("TrainingChallengesOpen"):
        published.do(BOB, "settle", 1)
    published.serve(trees(published)[STATE_PART])
    published.demand(SUMS_PART)  # who plays may go on
    published.serve(trees(published)[SUMS_PART])
    published.at(published.demanded()[2])
    with refuses("VectorTurnOver"):
        published.demand(SUMS_PART)
    published.do(BOB, "lapseDemand", 1, 0, CHALLENGER)
    published.do(BOB, "settle", 1)


def test_demand__too_many__reverts(published: Training) -> None:
    tree = trees(published)[STATE_PART]
    for _ in range(16):
        published.demand(STATE_PART)
        published.serve(tree)
    with refuses("VectorDemandsExhausted"):
        published.demand(STATE_PART)


def test_demand__not_ones_turn__reverts(published: Training) -> None:
    tree = trees(published)[STATE_PART]
    with refuses("VectorTurnInvalid"):
        published.serve(tree)
    published.demand(STATE_PART)
    with refuses("VectorTurnInvalid"):
        published.demand(STATE_PART)
    with refuses("VectorTurnOpen"):
        silent(published)
    with refuses("VectorTurnInvalid"):
        published.do(BOB, "lapseDemand", 1, 0, CHALLENGER)
    published.serve(tree)
    with refuses("VectorTurnInvalid"):
        silent(published)
    with refuses("VectorTurnOpen"):
        published.do(BOB, "lapseDemand", 1, 0, CHALLENGER)
    with refuses("VectorTurnInvalid"):
        published.do(BOB, "releaseBond", 1, 1, 0, CHALLENGER)


# ── Silence ─────────────────────────────────────────────────────────────────────────────────────


def test_convict_silent__aggregator__is_replaced_and_bonds_come_back(published: Training) -> None:
    published.demand(SUMS_PART)
    published.demand(STATE_PART, by=RIVAL)
    published.at(published.demanded()[2])
    with refuses("VectorTurnOver"):
        published.serve(trees(published)[SUMS_PART])
    silent(published)

    assert published.round["stage"] == COLLECTING
    assert published.round["aggregator"] == "0x" + "00" * 20
    assert published.round["challenges"] == 0
    assert published.balance(CHALLENGER) == STAKE // 2
    assert published.bond(CHALLENGER) == BOND_NEEDED
    published.do(BOB, "releaseBond", 1, 1, 0, RIVAL)
    assert published.bond(RIVAL) == BOND_NEEDED
    with refuses("VectorTurnInvalid"):
        published.do(BOB, "releaseBond", 1, 1, 0, RIVAL)
    with refuses("TrainingStageInvalid"):
        published.demand(UPDATE, 1)  # that time is over
    published.publish(RIVAL)
    assert published.round["stage"] == PUBLISHED
    assert published.round["attempt"] == 2


def test_convict_silent__participant__is_excluded(collected: Training) -> None:
    collected.demand(UPDATE, 2)
    collected.demand(UPDATE, 2, by=RIVAL)
    collected.demand(UPDATE, 2, by=ALICE)
    collected.serve(collected.vectors.evidence.updates[1], 2, ALICE)
    collected.at(collected.world.time + REPLY)
    silent(collected, 2)

    round_ = collected.round
    assert collected.status(2) == UNSERVED
    assert (round_["counted"], round_["sharing"], round_["weight"]) == (2, 2, 5)
    assert round_["challenges"] == 2
    assert collected.balance(CHALLENGER) == BOND // 2
    silent(collected, 2, RIVAL)  # no bounty any more, but its bond
    collected.do(BOB, "lapseDemand", 1, 2, ALICE)
    assert collected.balance(RIVAL) == collected.balance(ALICE) == 0
    for account in (CHALLENGER, RIVAL, ALICE):
        assert collected.bond(account) == BOND_NEEDED
    assert collected.round["challenges"] == 0
    with refuses("UpdateStatusInvalid"):
        collected.demand(UPDATE, 2)
    aggregation = replace(collected.vectors.aggregation, weights=(3, 0, 2))
    collected.vectors = replace(collected.vectors, aggregation=aggregation, sums=None, state=None)
    collected.publish()
    with refuses("DemandTargetInvalid"):  # an aggregator cannot have it, and is not convicted
        collected.demand(UPDATE, 2)
    collected.demand(UPDATE, 1)


def test_convict_silent__too_few_are_left__the_round_is_void(collected: Training) -> None:
    for number in (1, 2):
        collected.demand(UPDATE, number)
    collected.until("serveUntil")
    for number in (1, 2):
        silent(collected, number)
    with refuses("ClientsTooFew"):
        collected.do(AGGREGATOR, "claim", 1)
    collected.do(BOB, "voidRound", 1)

    assert collected.round["stage"] == VOID
    with refuses("UpdateStatusInvalid"):
        collected.do(BOB, "collect", 1, 1)
    collected.do(BOB, "collect", 1, 3)


def test_convict_silent__update_out_of_bounds__loses_its_bond_once() -> None:
    vectors = Vectors.random((3, 1, 2), AggregationRule.MEAN)
    vectors.updates[1][0] = 5_000
    training = Training(vectors=Vectors(vectors.aggregation, vectors.base, vectors.updates))
    training.collect_updates()
    opening = training.vectors.evidence.updates[1].open(0)
    training.do(RIVAL, "proveClip", 1, 2, 0, (opening.data, opening.path))
    assert training.status(2) == UNCLIPPED
    training.demand(UPDATE, 2)
    training.until("serveUntil")
    silent(training, 2)

    assert training.status(2) == UNSERVED
    assert (training.round["counted"], training.round["sharing"]) == (2, 2)
    assert training.balance(RIVAL) == BOND // 2
    assert training.balance(CHALLENGER) == 0
    assert training.bond(CHALLENGER) == BOND_NEEDED


def test_demand__roots_of_trees_that_nobody_has__convict(collected: Training) -> None:
    collected.until("serveUntil")
    collected.do(AGGREGATOR, "claim", 1)
    collected.do(AGGREGATOR, "publish", 1, bytes(32), CID, CID, CID)
    collected.demand(SUMS_PART)
    collected.at(collected.world.time + REPLY)
    silent(collected)

    assert collected.round["stage"] == COLLECTING


def test_demand__one_wrong_sum_of_a_tree_that_is_served_by_node__is_found_and_proven() -> None:
    """The challenger knows the roots and what it is shown, and descends to where they differ."""
    true = Vectors.random((3, 1, 2), AggregationRule.MEAN)
    lie = Vectors.random((3, 1, 2), AggregationRule.MEAN)
    lie.sums = np.array(lie.sums)
    lie.sums[130] += 1
    training = Training(vectors=lie)
    training.collect_updates()
    training.publish()
    own, wrong = true.evidence.sums, lie.evidence.sums
    assert own is not None
    assert wrong is not None
    level = index = 0
    while level < own.depth:
        training.demand(SUMS_PART, 0, level, index)
        training.serve(wrong)
        levels = min(6, own.depth - level)
        below = range(index << levels, index + 1 << levels)
        level += levels
        index = next(i for i in below if own.node(level, i) != wrong.node(level, i))
    assert index == 130 // 16
    training.demand(SUMS_PART, 0, level, index)
    training.serve(wrong)
    path = wrong.path(level, index)
    update = lie.evidence.updates[130 % 3].open(130 // 3)
    shown: Any = ((update.data, update.path), (wrong.leaf(index), path, b"", ()))
    training.do(CHALLENGER, "proveSum", 1, 130 % 3 + 1, 130 // 3, *shown)

    assert training.round["stage"] == COLLECTING


# ── Bonds ───────────────────────────────────────────────────────────────────────────────────────


def test_withdraw_bond__pays_once(published: Training) -> None:
    with refuses("AmountZero"):
        published.do(CHALLENGER, "withdrawBond")
    published.demand(STATE_PART)
    published.at(published.demanded()[2])
    silent(published)
    before = published.world.balance(CHALLENGER)
    published.do(CHALLENGER, "withdrawBond")

    assert published.world.balance(CHALLENGER) - before == BOND_NEEDED
    assert published.bond(CHALLENGER) == 0


def test_withdraw_bond__wallet_that_refuses__keeps_its_claim(published: Training) -> None:
    world = published.world
    wallet = refusing_wallet.deploy(world, BOB)
    asked = (1, STATE_PART, 0, 0, 0)
    refusing_wallet.call(world, BOB, wallet, "TrainingGame", "demand", *asked, value=BOND_NEEDED)
    published.at(published.demanded(by=wallet)[2])
    silent(published, 0, wallet)
    with refuses("TransferFailed"):
        refusing_wallet.call(world, BOB, wallet, "TrainingGame", "withdrawBond")

    assert published.bond(wallet) == BOND_NEEDED
