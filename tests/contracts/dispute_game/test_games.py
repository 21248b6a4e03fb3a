"""Whole games: the reference's decisions (oracle/exact/game.py) played against the contract."""

import pytest

from oracle.chain.codec import plain
from oracle.exact import game as decisions
from oracle.exact import proofs
from oracle.exact.partial_tensor import DisputedTensors, PartialTensor, TreeNode
from tests.contracts.dispute_game.game import Answer
from tests.contracts.exact import example
from tests.contracts.market import LOCK


def words(value):
    return bytes.fromhex(str(value)[2:])


class Challenger:
    """Knows the honest trace and what the chain logged, and nothing else."""

    def __init__(self, game, account, answer: Answer) -> None:
        self.game, self.account, self.answer = game, account, answer
        self.leaves = None
        self.known: dict[int, PartialTensor] = {}
        self.root = words(answer.delivery[2])

    def move(self):
        return decisions.next_move(example().honest, self.root, self.leaves, self.known)

    def read(self, transaction) -> None:
        """Learn from what the operator logged."""
        program = example().program
        for name in ("TraceCommitted", "NodeOpened", "LeavesRevealed"):
            if name not in transaction.events:
                continue
            for event in transaction.events[name]:
                if name == "TraceCommitted":
                    self.leaves = [words(leaf) for leaf in event["leaves"]]
                    continue
                op, node = event["op"], TreeNode(event["level"], event["index"])
                spec = program.spec_of(program.id_of(op))
                pieces = self.known.setdefault(op, PartialTensor(spec))
                if name == "NodeOpened":
                    pieces.add_nodes(node, [words(hash_) for hash_ in event["nodes"]])
                else:
                    pieces.add_leaves(node, words(event["data"]))

    def proof(self, op, row, col):
        disputed = DisputedTensors(example().honest, self.leaves, self.root, self.known)
        return plain(proofs.step(example().constants, disputed, op, row, col))


def play(game, answer, challenger):
    """Play until somebody is convicted; return all transactions."""
    sent = []
    operator = game.market.operator
    while True:
        match challenger.move():
            case decisions.DemandTrace():
                sent += [game.challenge(answer, challenger.account), game.commit(answer)]
            case decisions.DemandNode(op, node):
                demand = (*answer.of, op, node.level, node.index, {"from": challenger.account})
                sent.append(game.contract.demandNode(*demand))
                sent.append(game.show(answer, challenger.account, op, node.level, node.index))
                assert sent[-1].sender == operator
            case decisions.ProveElement(op, row, col):
                step = challenger.proof(op, row, col)
                return [*sent, game.prove(answer, challenger.account, step)]
            case decisions.NoFault():
                return sent
        challenger.read(sent[-1])


@pytest.mark.life
@pytest.mark.parametrize("lie", ["lie_inside", "lie_at_the_end"])
def test_game__nothing_is_served__convicted_in_seven_transactions(game, contract, bob, lie):
    answer = game.answer(getattr(example(), lie))
    sent = play(game, answer, Challenger(game, bob, answer))
    names = [transaction.fn_name for transaction in sent]
    middle = ["demandNode", "openNode"] if lie == "lie_inside" else []
    expected = ["challenge", "commitTrace", *middle, "demandNode", "revealLeaves", "prove"]
    assert names == expected
    assert "Convicted" in sent[-1].events
    assert contract.balanceOf(bob) == LOCK * 30 // 100


def test_game__honest_operator__there_is_nothing_to_play(game, truth, bob):
    challenger = Challenger(game, bob, truth)
    assert play(game, truth, challenger) == []


def test_game__output_true_but_the_trace_is_not__nobody_is_wronged(game, bob):
    answer = game.answer(example().lie_in_the_trace)
    assert play(game, answer, Challenger(game, bob, answer)) == []


def test_game__two_challengers__share_one_trace(game, contract, lie, bob, carol):
    game.challenge(lie, carol, bond=9)
    challenger = Challenger(game, bob, lie)
    sent = play(game, lie, challenger)
    assert "Convicted" in sent[-1].events
    game.contract.releaseBond(lie.id, carol, {"from": carol})
    assert contract.balanceOf(carol) == contract.balanceOf(bob) == LOCK * 30 // 100 // 2
    assert game.contract.bondOf(carol) == 9


def test_game__proof_of_one_request__convicts_no_other(game, contract, bob, fault):
    """The same wrong answer, delivered twice: a game about one says nothing about the other."""
    first, second = game.answer(example().lie_inside), game.answer(example().lie_inside, lane=1)
    game.challenge(first, bob, *fault)
    game.prove(first, bob, first.step(*fault), game.receipt(first))
    assert contract.openDisputesOf(second.id) == 0
    assert int(str(contract.commitmentOf(game.market.alice, 1)), 16) > 1


def test_game__every_element_demanded_of_an_honest_operator__all_are_answered(game, truth, bob):
    """One element in each corner of each tensor: demanded, answered, and the challenge fails."""
    program = example().program
    game.challenge(truth, bob)
    game.commit(truth)
    for op, operator in enumerate(program.ops):
        rows, cols = operator.result.rows, operator.result.cols
        for row, col in ((0, 0), (rows - 1, cols - 1)):
            game.contract.demandStep(*truth.of, op, row, col, {"from": bob})
            assert "ChallengeFailed" in game.answer_step(truth, bob, op, row, col).events
            game.challenge(truth, bob)
