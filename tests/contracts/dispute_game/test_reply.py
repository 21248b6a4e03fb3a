"""DisputeGame.demandNode, demandStep and the replies: what is asked, and what answers it."""

from dataclasses import replace

import pytest

from oracle.chain.codec import plain
from oracle.exact import game as decisions
from oracle.exact import proofs
from oracle.exact.partial_tensor import TreeNode
from tests.contracts.chain import at
from tests.contracts.dispute_game.game import CHALLENGER, CLOCK, MIN_REPLY, NODE, STEP, hexed
from tests.contracts.exact import SINGLE_FAULT, example
from tests.contracts.market import WRONG_OUTPUT, ZERO32, Verbatim, refuses

MAX_DEMANDS = 12


@pytest.fixture
def opened(game, lie, bob):
    """A lie whose trace bob demanded, and got."""
    game.challenge(lie, bob, bond=10)
    game.commit(lie)
    return lie


@pytest.fixture
def demand(game, bob):
    def demand(answer, op, level, index, account=bob):
        return game.contract.demandNode(*answer.of, op, level, index, {"from": account})

    return demand


@pytest.fixture
def demand_step(game, bob):
    def demand_step(answer, op, row, col, account=bob):
        return game.contract.demandStep(*answer.of, op, row, col, {"from": account})

    return demand_step


# ── commitTrace ─────────────────────────────────────────────────────────────────────────────────
def test_commit__not_the_operator__reverts(game, lie, bob):
    game.challenge(lie, bob)
    with refuses("CallerNotOperator", lie.id, bob):
        game.commit(lie, sender=bob)


def test_commit__twice__reverts(game, opened):
    root = hexed(opened.committed.trace_root)
    with refuses("TraceAlreadyCommitted", opened.id, root):
        game.commit(opened)


def test_commit__wrong_number_of_leaves__reverts(game, lie, bob):
    game.challenge(lie, bob)
    for count in (0, 1, 3):
        leaves = (lie.committed.trace_leaves * 2)[:count]
        with refuses("LeavesInvalid", count, 2):
            game.commit(lie, leaves=leaves)


def test_commit__of_another_program__reverts(game, lie, bob):
    game.challenge(lie, bob)
    header, spec = example().program.preamble
    for preamble in ((), (header,), (header, spec, 0), (header - 1, spec), (header, spec + 1)):
        with refuses("OpeningInvalid", lie.id):
            game.commit(lie, preamble=preamble)
    with refuses("OpeningInvalid", lie.id):
        game.commit(lie, graph_root=b"\1" * 32)


def test_commit__other_record__reverts(game, lie, bob):
    game.challenge(lie, bob)
    other = replace(game, record=("0x" + "01" * 32, *game.record[1:]))
    with refuses("RecordMismatch", 1, 1):
        other.commit(lie)


def test_commit__of_another_request__reverts(game, lie):
    lie.delivery = (*lie.delivery[:1], lie.delivery[1] + 1, *lie.delivery[2:])
    with refuses("RequestStateMismatch", lie.id):
        game.commit(lie)


def test_commit__in_time__answers_everybody_who_waits(game, lie, bob, carol):
    game.challenge(lie, bob)
    start = game.challenge(lie, carol).timestamp
    at(start + 30)
    transaction = game.commit(lie)
    assert dict(transaction.events["TraceCommitted"]) == {
        "requestId": lie.id,
        "traceRoot": hexed(lie.committed.trace_root),
        "leaves": tuple(map(hexed, lie.committed.trace_leaves)),
    }
    assert game.contract.traceOf(lie.id) == (hexed(lie.committed.trace_root), start + 30)
    found = game.turn(lie, carol)
    assert (found["turn"], found["deadline"]) == (CHALLENGER, start + 30 + CLOCK)
    assert (found["operatorClock"], found["challengerClock"]) == (CLOCK - 30, CLOCK)


def test_commit__too_late_for_one_of_them__that_one_still_convicts(game, lie, bob, carol, rival):
    start = game.challenge(lie, bob).timestamp
    at(start + 50)
    game.challenge(lie, carol)
    at(start + CLOCK)
    game.commit(lie)
    assert game.turn(lie, carol)["turn"] == CHALLENGER
    assert "Convicted" in game.contract.convictSilent(*lie.of, bob, {"from": rival}).events


# ── demandNode, demandStep ──────────────────────────────────────────────────────────────────────
def test_demand__no_trace__reverts(game, lie, bob, fault, demand, demand_step):
    game.challenge(lie, bob, *fault)
    with refuses("TraceMissing", lie.id):
        demand(lie, 0, 0, 0)
    with refuses("TraceMissing", lie.id):
        demand_step(lie, *fault)


def test_demand_node__that_cannot_be__reverts(opened, demand):
    for target in ((3, 0, 0), (0, 61, 0), (0, 0, 1), (2, 5, 32), (2**200, 0, 0), (0, 2**255, 0)):
        with refuses("TargetInvalid", *target):
            demand(opened, *target)


def test_demand_step__that_cannot_be__reverts(opened, demand_step):
    for target in ((3, 0, 0), (0, 2**32, 0), (0, 0, 2**32), (2**200, 0, 0)):
        with refuses("TargetInvalid", *target):
            demand_step(opened, *target)


def test_demand__no_challenge__reverts(opened, carol, demand):
    with refuses("ChallengeMissing", opened.id, carol):
        demand(opened, 0, 0, 0, carol)


def test_demand__operators_turn__reverts(opened, bob, demand, demand_step):
    demand(opened, 0, 0, 0)
    with refuses("TurnInvalid", opened.id, bob, NODE):
        demand(opened, 0, 0, 0)
    with refuses("TurnInvalid", opened.id, bob, NODE):
        demand_step(opened, 0, 0, 0)


def test_demand__second_the_turn_is_over__reverts(game, opened, bob, demand):
    deadline = game.turn(opened, bob)["deadline"]
    at(deadline)
    with refuses("TurnOver", opened.id, deadline):
        demand(opened, 0, 0, 0)


def test_demand__of_an_answer_that_was_not_delivered__reverts(opened, bob, demand, demand_step):
    opened.delivery = (*opened.delivery[:2], "0x" + "07" * 32)
    with refuses("RequestStateMismatch", opened.id):
        demand(opened, 0, 0, 0)
    with refuses("RequestStateMismatch", opened.id):
        demand_step(opened, 0, 0, 0)


def test_demand__thirteenth__reverts(game, opened, bob, demand):
    for _ in range(MAX_DEMANDS):
        demand(opened, 0, 0, 0)
        game.show(opened, bob, 0, 0, 0)
    with refuses("DemandsExhausted", opened.id, bob):
        demand(opened, 0, 0, 0)


def test_demand_node__in_time__is_the_operators_turn(game, opened, bob, demand):
    start = game.turn(opened, bob)["deadline"] - CLOCK
    at(start + CLOCK - 1)
    transaction = demand(opened, 0, 3, 7)
    assert dict(transaction.events["NodeDemanded"]) == {
        "requestId": opened.id,
        "challenger": bob,
        "op": 0,
        "level": 3,
        "index": 7,
        "deadline": game.turn(opened, bob)["deadline"],
    }
    found = game.turn(opened, bob)
    assert (found["turn"], found["demands"], found["challengerClock"]) == (NODE, 1, 1)


def test_demand_step__in_time__is_the_operators_turn(game, opened, bob, demand_step, fault):
    transaction = demand_step(opened, *fault)
    found = game.turn(opened, bob)
    assert transaction.events["StepDemanded"]["deadline"] == found["deadline"]
    assert (found["turn"], found["demands"]) == (STEP, 1)


def test_clocks__both_run_out__turns_last_the_least_time(game, opened, bob, demand):
    """Whoever always waits to the last second is left with `minReply` a turn, and no less."""
    for expected in (CLOCK, MIN_REPLY, MIN_REPLY):
        deadline = game.turn(opened, bob)["deadline"]
        at(deadline - 1)
        demanded = demand(opened, 0, 0, 0)
        operators = game.turn(opened, bob)["deadline"] - demanded.timestamp
        assert expected - 2 <= operators <= expected
        at(game.turn(opened, bob)["deadline"] - 1)
        shown = game.show(opened, bob, 0, 0, 0)
        assert game.turn(opened, bob)["deadline"] - shown.timestamp == MIN_REPLY


# ── openNode, revealLeaves ──────────────────────────────────────────────────────────────────────
def shown(answer, op, level, index):
    return decisions.answer_node(answer.committed, op, TreeNode(level, index))


def show(game, answer, bob, part, **changes):
    """Send a reply with fields changed."""
    part = replace(part, **changes)
    common = (*answer.of, game.record, bob, plain(part.tensor))
    sender = {"from": game.market.operator}
    if isinstance(part, decisions.OpenNodeArguments):
        return game.contract.openNode(*common, part.nodes, part.path, sender)
    return game.contract.revealLeaves(*common, part.data, part.path, sender)


def test_open__nothing_demanded__reverts(game, opened, bob):
    with refuses("TurnInvalid", opened.id, bob, CHALLENGER):
        game.show(opened, bob, 0, 0, 0)


def test_open__second_the_turn_is_over__reverts(game, opened, bob, demand):
    demand(opened, 0, 0, 0)
    deadline = game.turn(opened, bob)["deadline"]
    at(deadline)
    with refuses("TurnOver", opened.id, deadline):
        game.show(opened, bob, 0, 0, 0)


def test_open__wrong_number_of_nodes__reverts(game, opened, bob, demand):
    demand(opened, 0, 0, 0)
    part = shown(opened, 0, 0, 0)
    for nodes in (part.nodes[:-1], part.nodes + part.nodes[:1], ()):
        with refuses("LeavesInvalid", len(nodes), 64):
            show(game, opened, bob, part, nodes=nodes)


def spoilt_tensors(proof):
    """Return proofs of which each differs from a right one in one part."""
    result = proof.result
    other = b"\x77" * 32
    return [
        replace(proof, preamble=()),
        replace(proof, preamble=proof.preamble[:1]),
        replace(proof, preamble=(proof.preamble[0] - 1, *proof.preamble[1:])),
        replace(proof, operator=(proof.operator[0] ^ 1, *proof.operator[1:])),
        replace(proof, operator=(*proof.operator[:8], 1)),
        replace(proof, operator_path=proof.operator_path[:-1]),
        replace(proof, operator_path=(*proof.operator_path, other)),
        replace(proof, operator_path=(other, *proof.operator_path[1:])),
        replace(proof, result=replace(result, root=other)),
        replace(proof, result=replace(result, path=(other,))),
        replace(proof, result=replace(result, path=(*result.path, other))),
        replace(proof, result=replace(result, path=result.path[:-1])),
    ]


@pytest.mark.parametrize("op", [0, 2])
def test_show__another_tensor__reverts(game, opened, bob, demand, op):
    demand(opened, op, 0, 0)
    part = shown(opened, op, 0, 0)
    spoilt = spoilt_tensors(part.tensor)
    for tensor in spoilt if op == 0 else spoilt[:-1]:  # nothing is on the path of the output
        assert tensor != part.tensor
        with refuses("OpeningInvalid", opened.id):
            show(game, opened, bob, part, tensor=tensor)


def test_show__output_that_was_not_delivered__reverts(game, opened, bob, demand):
    """The whole of the right output is there, and consistent; it is not the one that was sold."""
    demand(opened, 2, 0, 0)
    right = decisions.answer_node(game.example.honest, 2, TreeNode(0, 0))
    with refuses("OpeningInvalid", opened.id):
        show(game, opened, bob, right)


def test_open__other_nodes_or_path__reverts(game, opened, bob, demand):
    demand(opened, 0, 0, 0)
    part = shown(opened, 0, 0, 0)
    for change in (
        {"nodes": (b"\1" * 32, *part.nodes[1:])},
        {"nodes": (part.nodes[1], part.nodes[0], *part.nodes[2:])},
        {"path": (b"\1" * 32,)},
        {"tensor": shown(opened, 1, 0, 0).tensor},
    ):
        with refuses("OpeningInvalid", opened.id):
            show(game, opened, bob, part, **change)


def test_open__node_near_the_leaves__reverts(game, opened, bob, demand):
    """Five levels or less are revealed as bytes: hashes of leaves would lead nowhere."""
    demand(opened, 0, 1, 1)
    part = shown(opened, 0, 1, 1)
    tree = opened.committed.tree(1)
    nodes = tuple(tree.node(6, 32 + k % 32) for k in range(64))
    with refuses("OpeningInvalid", opened.id):
        show(game, opened, bob, decisions.OpenNodeArguments(part.tensor, nodes, part.path))


def test_open__in_time__shows_64_nodes(game, opened, bob, demand):
    demand(opened, 0, 0, 0)
    transaction = game.show(opened, bob, 0, 0, 0)
    tree = opened.committed.tree(1)
    assert dict(transaction.events["NodeOpened"]) == {
        "requestId": opened.id,
        "challenger": bob,
        "op": 0,
        "level": 0,
        "index": 0,
        "nodes": tuple(hexed(tree.node(6, k)) for k in range(64)),
    }
    found = game.turn(opened, bob)
    assert (found["turn"], found["target"]) == (CHALLENGER, 0)


def test_open__by_anyone__counts(game, opened, bob, rival, demand):
    demand(opened, 0, 0, 0)
    part = shown(opened, 0, 0, 0)
    arguments = (*opened.of, game.record, bob, plain(part.tensor), part.nodes, part.path)
    assert "NodeOpened" in game.contract.openNode(*arguments, {"from": rival}).events


@pytest.mark.parametrize("op", [0, 2])
def test_open__node_below_the_leaves__fails_the_challenge(
    game, contract, opened, bob, operator, demand, op
):
    """A demand that has no answer must not convict who was asked."""
    demand(opened, op, 7, 5)
    part = shown(opened, op, 7, 5)
    with refuses("OpeningInvalid", opened.id):
        show(game, opened, bob, decisions.RevealLeavesArguments(part.tensor, b"", ()))
    for tensor in spoilt_tensors(part.tensor)[:8]:
        with refuses("OpeningInvalid", opened.id):
            show(game, opened, bob, part, tensor=tensor)
    events = show(game, opened, bob, part).events
    assert dict(events["ChallengeFailed"]) == {
        "requestId": opened.id,
        "challenger": bob,
        "toOperator": 5,
        "burned": 5,
    }
    assert game.contract.bondOf(operator) == 5
    assert contract.openDisputesOf(opened.id) == 0


def test_reveal__other_bytes_or_path__reverts(game, opened, bob, demand):
    demand(opened, 0, 4, 9)
    part = shown(opened, 0, 4, 9)
    data = part.data
    for spoilt in (
        {"data": data[:-1]},
        {"data": data + b"\0"},
        {"data": bytes([data[0] ^ 1]) + data[1:]},
        {"data": shown(opened, 0, 4, 8).data},
        {"path": part.path[:-1]},
        {"path": (*part.path, b"\1" * 32)},
    ):
        with refuses("OpeningInvalid", opened.id):
            show(game, opened, bob, part, **spoilt)


def test_reveal__of_a_node_far_above__reverts(game, opened, bob, demand):
    demand(opened, 0, 0, 0)
    tensor, tree = shown(opened, 0, 0, 0).tensor, opened.committed.tree(1)
    with refuses("OpeningInvalid", opened.id):
        show(game, opened, bob, decisions.RevealLeavesArguments(tensor, tree.below(0, 0), ()))


def test_reveal__in_time__shows_the_bytes(game, opened, bob, demand):
    places = ((0, 6, 37), (0, 6, 0), (0, 1, 1), (1, 3, 4), (2, 0, 0), (2, 3, 7))
    for op, level, index in places:
        demand(opened, op, level, index)
        transaction = game.show(opened, bob, op, level, index)
        tree = opened.committed.tree(op + 1)
        assert dict(transaction.events["LeavesRevealed"]) == {
            "requestId": opened.id,
            "challenger": bob,
            "op": op,
            "level": level,
            "index": index,
            "data": hexed(proofs.reveal_leaves(tree, level, index)),
        }
        assert game.turn(opened, bob)["turn"] == CHALLENGER


def test_reveal__absent_rows_and_leaves__are_nobodys_to_show(lone, bob):
    game, lie = lone
    game.challenge(lie, bob)
    game.commit(lie)
    places = ((0, 0), (1, 1), (2, 1), (2, 3), (3, 2), (4, 3), (4, 6), (4, 15))
    for level, index in places:
        game.contract.demandNode(*lie.of, 0, level, index, {"from": bob})
        part = shown(lie, 0, level, index)
        for data in {part.data + b"\0", part.data[:-1]} - {part.data}:
            with refuses("OpeningInvalid", lie.id):
                show(game, lie, bob, part, data=data)
        data = proofs.reveal_leaves(lie.committed.tree(1), level, index)
        assert show(game, lie, bob, part).events["LeavesRevealed"]["data"] == hexed(data)


@pytest.mark.parametrize(("level", "index"), [(0, 0), (2, 1), (4, 6)])
def test_prove__element_of_a_row_of_several_leaves__convicts(lone, bob, level, index):
    game, lie = lone
    game.challenge(lie, bob)
    game.commit(lie)
    game.contract.demandNode(*lie.of, 0, level, index, {"from": bob})
    game.show(lie, bob, 0, level, index)
    assert "Convicted" in game.prove(lie, bob, lie.step(*SINGLE_FAULT)).events


def test_prove__element_of_another_leaf_of_the_row__needs_a_witness(lone, bob):
    game, lie = lone
    game.challenge(lie, bob)
    game.commit(lie)
    game.contract.demandNode(*lie.of, 0, 4, 5, {"from": bob})
    game.show(lie, bob, 0, 4, 5)
    with refuses("WitnessMissing", lie.id, bob):
        game.prove(lie, bob, lie.step(*SINGLE_FAULT))


def test_prove__outside_what_was_revealed__needs_a_witness(game, opened, bob, demand):
    demand(opened, 0, 6, 37)
    game.show(opened, bob, 0, 6, 37)
    for elsewhere in ((0, 36, 51), (0, 38, 0), (1, 37, 51), (2, 0, 0)):
        with refuses("WitnessMissing", opened.id, bob):
            game.prove(opened, bob, opened.step(*elsewhere))


def test_prove__revealed_but_another_spec_is_shown__reverts(game, opened, bob, demand, fault):
    """A step whose words put the element into the revealed leaves is no step of the program."""
    demand(opened, 0, 6, 0)
    game.show(opened, bob, 0, 6, 0)
    step = opened.made(*fault)
    narrow = step.operator[0] & ~(0xFFFFFFFF << 32) | 1 << 32  # one row: depth 0
    step = replace(step, operator=(narrow, *step.operator[1:]))
    with refuses("ProofInvalid", Verbatim("operator")):
        game.prove(opened, bob, plain(step))


def test_prove__revealed_to_somebody_else__needs_a_witness(game, opened, bob, carol, demand, fault):
    game.challenge(opened, carol)
    demand(opened, 0, 6, 37)
    game.show(opened, bob, 0, 6, 37)
    with refuses("WitnessMissing", opened.id, carol):
        game.prove(opened, carol, opened.step(*fault))


def test_prove__revealed_then_asked_for_something_else__needs_a_witness(
    game, opened, bob, demand, fault
):
    demand(opened, 0, 6, 37)
    game.show(opened, bob, 0, 6, 37)
    demand(opened, 0, 0, 0)
    game.show(opened, bob, 0, 0, 0)
    with refuses("WitnessMissing", opened.id, bob):
        game.prove(opened, bob, opened.step(*fault))


def test_prove__element_of_revealed_leaves__convicts(game, opened, bob, demand, fault):
    demand(opened, 0, 1, 1)
    game.show(opened, bob, 0, 1, 1)
    events = game.prove(opened, bob, opened.step(*fault)).events
    assert events["Convicted"]["verdict"] == WRONG_OUTPUT


# ── answerStep ──────────────────────────────────────────────────────────────────────────────────
def answer(game, answer_, bob, step):
    arguments = (*answer_.of, game.record, bob, plain(step))
    return game.contract.answerStep(*arguments, {"from": game.market.operator})


def test_answer__nothing_demanded__reverts(game, opened, bob, fault):
    with refuses("TurnInvalid", opened.id, bob, CHALLENGER):
        game.answer_step(opened, bob, *fault)


def test_answer__another_element__reverts(game, opened, bob, demand_step, fault):
    """Also not one whose numbers only look the same when they are cut to their fields."""
    demand_step(opened, *fault)
    for other in ((1, 37, 51), (0, 36, 51), (0, 37, 50), (0, 37 + 2**64, 51), (2**40, 37, 51)):
        op, row, col = other
        step = replace(opened.made(*fault), op=op, row=row, col=col)
        with refuses("TargetInvalid", *other):
            answer(game, opened, bob, step)


def test_answer__wrong_element__reverts(game, opened, bob, demand_step, fault):
    demand_step(opened, *fault)
    with refuses("StepInconsistent", *fault):
        game.answer_step(opened, bob, *fault)


def test_answer__the_true_element_that_was_not_committed__reverts(
    game, opened, bob, demand_step, fault
):
    demand_step(opened, *fault)
    step = proofs.step(example().constants, example().honest, *fault)
    with refuses("ProofInvalid", Verbatim("result")):
        answer(game, opened, bob, step)


def test_answer__element_said_to_be_outside__reverts(game, opened, bob, demand_step, fault):
    demand_step(opened, *fault)
    step = opened.made(*fault)
    narrow = step.operator[0] & ~0xFFFFFFFF | 51  # 51 columns: there is no column 51
    with refuses("OpeningInvalid", opened.id):
        answer(game, opened, bob, replace(step, operator=(narrow, *step.operator[1:])))


@pytest.mark.parametrize("where", [(0, 64, 0), (0, 0, 100), (2, 8, 0), (1, 2**32 - 1, 2**32 - 1)])
def test_answer__element_outside_the_tensor__fails_the_challenge(
    game, opened, bob, operator, demand_step, where
):
    demand_step(opened, *where)
    assert "ChallengeFailed" in game.answer_step(opened, bob, *where).events
    assert game.contract.bondOf(operator) == 5


@pytest.mark.parametrize("place", [(0, 36, 51), (1, 37, 51), (2, 7, 7)])
def test_answer__consistent_element__fails_the_challenge(
    game, contract, opened, bob, operator, demand_step, place
):
    demand_step(opened, *place)
    at(game.turn(opened, bob)["deadline"] - 1)
    events = game.answer_step(opened, bob, *place).events
    assert dict(events["StepAnswered"]) == {
        "requestId": opened.id,
        "challenger": bob,
        **dict(zip(("op", "row", "col"), place, strict=True)),
    }
    assert dict(events["ChallengeFailed"])["toOperator"] == 5
    assert contract.openDisputesOf(opened.id) == 0
    assert game.contract.firstChallengerOf(opened.id) == "0x" + "00" * 20


def test_answer__reply_of_another_kind__reverts(game, opened, bob, demand, demand_step):
    demand(opened, 0, 0, 0)
    with refuses("TurnInvalid", opened.id, bob, NODE):
        game.answer_step(opened, bob, 0, 0, 0)
    game.show(opened, bob, 0, 0, 0)
    demand_step(opened, 0, 0, 0)
    with refuses("TurnInvalid", opened.id, bob, STEP):
        game.show(opened, bob, 0, 0, 0)


def test_reply__other_record__reverts(game, opened, bob, demand, demand_step, fault):
    other = replace(game, record=(ZERO32, "0x" + "01" * 32, *game.record[2:]))
    demand(opened, 0, 0, 0)
    with refuses("RecordMismatch", 1, 1):
        other.show(opened, bob, 0, 0, 0)
    game.show(opened, bob, 0, 0, 0)
    demand_step(opened, *fault)
    with refuses("RecordMismatch", 1, 1):
        other.answer_step(opened, bob, *fault)
