"""TrainingJobs: every wrong step is convicted, served or withheld; an honest one never."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from examples.exact.training import NETWORKS
from oracle.exact import proofs
from oracle.exact.game import NoFault
from oracle.exact.partial_tensor import TreeNode
from oracle.training import exact_job
from oracle.training.job_game import DemandTensor
from oracle.types import Bytes32
from tests.contracts.data_credits.play import BOB, CHALLENGER, DEAD, refuses
from tests.contracts.training_jobs.play import (
    BOND_NEEDED,
    CONVICTED,
    DELIVERED,
    OPENER,
    PRICE,
    SALT,
    STAKE,
    TRAINER,
    Histories,
    Jobs,
    Withheld,
    ruled,
)
from worker.exact.training.run import WrongStep

OTHER = Bytes32(b"\x01" * 32)


def lie(jobs: Jobs, op: int = 0, row: int = 0, col: int = 0) -> exact_job.StepFault:
    """Deliver a history whose second step is wrong in one element, and return the proof."""
    histories = jobs.histories
    claimed, served = histories.tell(1, op, row, col)
    jobs.deliver(claimed)
    return histories.training.prove(claimed, WrongStep(1, histories.traces[1]), served)


# ── Served ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("network", NETWORKS)
def test_prove__wrong_in_any_operator__convicts_and_honest_never(network: str) -> None:
    histories, random = Histories(network), np.random.default_rng(0)
    jobs = Jobs(histories)
    jobs.claim()
    before = jobs.world.revm.snapshot()

    for op, operator in enumerate(histories.program.ops):
        row, col = (int(random.integers(n)) for n in (operator.result.rows, operator.result.cols))
        claimed, served = histories.tell(1, op, row, col)
        jobs.do(TRAINER, "deliver", 1, jobs.delivery(claimed))
        fault = histories.training.prove(claimed, WrongStep(1, histories.traces[1]), served)
        assert jobs.outcome(fault) is True, operator.opcode
        jobs.world.revm.revert(before)
        before = jobs.world.revm.snapshot()

        jobs.do(TRAINER, "deliver", 1, jobs.delivery(histories.records))
        element = proofs.step(histories.digits.step.constants, histories.traces[1], op, row, col)
        assert jobs.outcome(histories.show(histories.records, 1, element)) is False, operator.opcode
        jobs.world.revm.revert(before)
        before = jobs.world.revm.snapshot()


def test_prove__half_the_bond__is_the_challengers_and_half_is_burned() -> None:
    jobs = Jobs()
    fault = lie(jobs)
    jobs.announce(fault)
    jobs.prove(fault)

    assert jobs.state["stage"] == CONVICTED
    assert jobs.balance(CHALLENGER) == STAKE // 2
    assert jobs.balance(DEAD) == STAKE - STAKE // 2
    assert jobs.balance(OPENER) == PRICE
    assert jobs.balance(TRAINER) == 0
    before = jobs.money(CHALLENGER)
    jobs.do(CHALLENGER, "withdraw")
    assert jobs.money(CHALLENGER) - before == STAKE // 2
    with refuses("AmountZero"):
        jobs.do(CHALLENGER, "withdraw")
    with refuses("JobStageInvalid"):
        jobs.prove(fault)


def test_prove__not_announced_or_by_another__is_refused() -> None:
    jobs = Jobs()
    fault = lie(jobs)
    with refuses("WitnessUnknown"):
        jobs.prove(fault)
    jobs.do(CHALLENGER, "announce", jobs.witness(fault))
    with refuses("WitnessTooYoung"):
        jobs.prove(fault)
    with refuses("WitnessKnown"):
        jobs.do(BOB, "announce", jobs.witness(fault))
    jobs.wait()
    with refuses("WitnessUnknown"):
        jobs.prove(fault, by=BOB)
    with refuses("WitnessUnknown"):
        jobs.do(CHALLENGER, "prove", 1, bytes(32), fault)
    jobs.prove(fault)


def test_prove__after_the_window__is_refused_unless_a_challenge_is_open() -> None:
    jobs = Jobs()
    fault = lie(jobs)
    jobs.announce(fault)
    window = jobs.state["until"]
    before = jobs.world.revm.snapshot()
    jobs.at(window)
    with refuses("JobPeriodOver"):
        jobs.prove(fault)
    jobs.world.revm.revert(before)
    jobs.at(window - 1)
    jobs.do(BOB, "demandTrace", 1, 0, value=BOND_NEEDED)
    jobs.at(window)
    jobs.prove(fault)
    assert jobs.state["stage"] == CONVICTED
    jobs.do(BOB, "releaseBond", 1, BOB)
    assert jobs.bond(BOB) == BOND_NEEDED


def changes(fault: exact_job.StepFault) -> dict[str, dict[str, Any]]:
    return {
        "step": {"step": 2},
        "record": {"before": replace(fault.before, trace=OTHER)},
        "next record": {"after_path": fault.after_path[:-1]},
        "samples": {"samples": replace(fault.samples, node=OTHER)},
        "labels": {"labels": replace(fault.labels, path=())},
        "preamble": {"element": replace(fault.element, preamble=fault.element.preamble[:-1])},
        "element": {"element": replace(fault.element, element=fault.element.slices[0])},
    }


def test_prove__what_does_not_hang_from_the_job__is_refused_part_by_part() -> None:
    jobs = Jobs()
    fault = lie(jobs, len(jobs.job.program.ops) - 1, 0, 5)
    history = Bytes32(jobs.state["historyRoot"])

    for part, change in changes(fault).items():
        broken = replace(fault, **change)
        assert jobs.outcome(broken) == ruled(jobs.job, history, broken) == part
    early = lie_elsewhere(jobs)
    assert jobs.outcome(early) == ruled(jobs.job, history, early) == "record"


def lie_elsewhere(jobs: Jobs) -> exact_job.StepFault:
    """Return a proof about a history that was not delivered."""
    histories = jobs.histories
    claimed, served = histories.tell(1, 3, 0, 0)
    return histories.training.prove(claimed, WrongStep(1, histories.traces[1]), served)


def test_prove__random_broken_proofs__contract_and_judge_say_the_same() -> None:
    jobs, random = Jobs(), np.random.default_rng(1)
    jobs.claim()
    histories = jobs.histories
    before, said = jobs.world.revm.snapshot(), set()
    for case in range(60):
        op = int(random.integers(len(histories.program.ops)))
        claimed, served = histories.tell(1, op, 0, 0)
        jobs.do(TRAINER, "deliver", 1, jobs.delivery(claimed))
        fault = histories.training.prove(claimed, WrongStep(1, histories.traces[1]), served)
        broken = broken_at_random(fault, random) if case % 4 else fault
        history = Bytes32(jobs.state["historyRoot"])
        told = jobs.outcome(broken)
        assert told == ruled(jobs.job, history, broken), (case, op)
        said.add(told)
        jobs.world.revm.revert(before)
        before = jobs.world.revm.snapshot()
    assert {True, "step", "record", "samples", "labels"} <= said


def broken_at_random(fault: exact_job.StepFault, random: Any) -> exact_job.StepFault:
    """Return a proof with one part, or some, replaced."""
    element = fault.element
    kinds: list[dict[str, Any]] = [
        {"step": int(random.integers(2, 5))},
        {"step": 0},
        {"before": replace(fault.before, state=OTHER)},
        {"before_path": (*fault.before_path, OTHER)},
        {"after": replace(fault.after, state=OTHER)},
        {"after_path": (OTHER,)},
        {"samples": replace(fault.samples, path=fault.samples.path[1:])},
        {"labels": replace(fault.labels, node=OTHER)},
        {"element": replace(element, slices=element.slices[:-1])},
        {"element": replace(element, result=replace(element.result, root=OTHER))},
        {"element": replace(element, preamble=(*element.preamble, 0))},
        {"element": replace(element, operator_path=())},
        {"element": replace(element, input_leaves=(OTHER,) * 3)},
    ]
    chosen = random.choice(len(kinds), size=int(random.integers(1, 3)), replace=False)
    for kind in chosen:
        fault = replace(fault, **kinds[int(kind)])
    return fault


# ── Withheld ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("steps", [1, 3, 70])
def test_demand__history_that_nobody_serves__convicts_in_nine_transactions(steps: int) -> None:
    histories = Histories("regression", steps)
    for op in (0, 11, len(histories.program.ops) - 1):  # of which 11 is the deepest
        for step in sorted({0, steps // 2, steps - 1}):
            jobs = Jobs(histories)
            result = histories.program.ops[op].result
            claimed, served = histories.tell(step, op, result.rows - 1, result.cols - 1)
            jobs.deliver(claimed)
            game = Withheld(jobs, claimed, step, served)
            game.play()
            assert jobs.state["stage"] == CONVICTED, (steps, op, step)
            assert len(game.gas) <= 9
            assert jobs.bond(CHALLENGER) == BOND_NEEDED * sum(
                name.startswith("demand") for name, _ in game.gas
            )


def test_demand__honest_history__shows_every_tensor_and_stays() -> None:
    jobs = Jobs()
    histories = jobs.histories
    jobs.deliver(histories.records)
    game = Withheld(jobs, histories.records, 0, histories.traces[0])

    assert game.search.next_move() == NoFault()
    for op in range(len(histories.program.ops)):
        depth = histories.traces[0].tree(histories.program.id_of(op)).depth
        for node in (TreeNode(0, 0), TreeNode(depth, 0))[: 2 if op < 12 else 1]:
            game.demand(DemandTensor(0, op, node))
            game.show(0, op, node)
    assert jobs.state["stage"] == DELIVERED


def test_prove__revealed_to_another__needs_a_witness() -> None:
    jobs = Jobs()
    histories = jobs.histories
    claimed, served = histories.tell(1, 0, 0, 0)
    fault = histories.training.prove(claimed, WrongStep(1, histories.traces[1]), served)
    jobs.deliver(claimed)
    operator = histories.operator(0)
    jobs.do(CHALLENGER, "demandTensor", 1, 1, 0, 0, 0, operator, value=BOND_NEEDED)
    with refuses("WitnessUnknown"):
        jobs.prove(fault)
    Withheld(jobs, claimed, 1, served).show(1, 0, TreeNode(0, 0))
    with refuses("WitnessUnknown"):
        jobs.do(BOB, "prove", 1, SALT, fault)
    jobs.prove(fault)
    assert jobs.state["stage"] == CONVICTED
