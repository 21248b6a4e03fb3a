"""TrainingJobs: a job from its opening to its end, and the way on when somebody vanishes."""

from typing import Any

import pytest

from oracle.exact.builder import ProgramBuilder
from oracle.exact.dtypes import DType, Spec
from oracle.training.exact_job import StepRecord
from oracle.training.job_game import history_tree
from oracle.types import Bytes32
from tests.contracts.data_credits.play import (
    BOB,
    CHALLENGER,
    DAVE,
    DEAD,
    OWNER,
    RIVAL,
    refuses,
)
from tests.contracts.training_jobs.play import (
    BOND_NEEDED,
    CLAIM,
    CLAIMED,
    CONVICTED,
    DELIVERED,
    MAX_PERIOD,
    MIN_GAS_PRICE,
    OPEN,
    OPENER,
    PRICE,
    REPLY,
    SETTLED,
    STAKE,
    TRAIN,
    TRAINER,
    VOID,
    WINDOW,
    Histories,
    Jobs,
)
from tests.support.evm import Reverted

ROOT = Bytes32(b"\x11" * 32)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def delivered(jobs: Jobs) -> Jobs:
    jobs.deliver(jobs.histories.records)
    return jobs


# ── Deployment ──────────────────────────────────────────────────────────────────────────────────


def test_constructor__what_cannot_work__reverts(jobs: Jobs) -> None:
    market, programs, verifier, reply, period = jobs.config
    for config in (
        (market, BOB, verifier, reply, period),
        (market, programs, BOB, reply, period),
        (market, programs, verifier, 0, period),
        (market, programs, verifier, reply, 0),
    ):
        with refuses("ConfigInvalid"):
            jobs.world.deploy(OWNER, "TrainingJobs", config)


def test_config__says_what_was_fixed(jobs: Jobs) -> None:
    addresses = tuple(place.lower() for place in jobs.config[:3])
    assert jobs.do(BOB, "config") == (*addresses, REPLY, MAX_PERIOD)
    assert jobs.do(BOB, "token") == jobs.world.places["TestDollar"].lower()
    assert jobs.do(BOB, "burnAddress") == DEAD
    assert jobs.do(BOB, "bondNeeded") == 2 * 150_000 * MIN_GAS_PRICE


# ── Open ────────────────────────────────────────────────────────────────────────────────────────


def test_open__terms__are_kept_and_paid_for(jobs: Jobs) -> None:
    before, start = jobs.money(OPENER), jobs.world.time
    assert jobs.open() == 1

    state = jobs.state
    assert state["stage"] == OPEN
    assert state["opener"] == OPENER
    assert state["operators"] == len(jobs.job.program.ops)
    assert state["until"] == start + CLAIM
    assert jobs.do(BOB, "termsOf", 1) == jobs.terms()
    assert jobs.do(BOB, "jobCount") == 1
    assert before - jobs.money(OPENER) == PRICE


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("batches", [0, 2**20 + 1]),
        ("steps", [0, 2**20 + 1]),
        ("claimPeriod", [0, MAX_PERIOD + 1]),
        ("trainPeriod", [0, MAX_PERIOD + 1]),
        ("challengePeriod", [0, MAX_PERIOD + 1]),
        ("price", [0]),
        ("bond", [0]),
    ],
)
def test_open__terms_that_cannot_work__are_refused(
    jobs: Jobs, field: str, values: list[int]
) -> None:
    for value in values:
        with refuses("JobTermsInvalid"):
            jobs.open(**{field: value})


def test_open__what_is_no_program_of_a_step__is_refused(jobs: Jobs) -> None:
    last = len(jobs.job.program.ops) - 1
    preamble, output, path = jobs.histories.operator(last)
    with refuses("StepProgramInvalid"):
        jobs.open(program=ROOT)
    for wrong in (
        (preamble[:-1], output, path),
        (preamble, output, path[:-1]),
        (preamble, jobs.histories.operator(last - 1)[1], path),
        ((preamble[0], preamble[2], preamble[1], preamble[3]), output, path),
    ):
        with refuses("StepProgramInvalid"):
            jobs.open(wrong)


@pytest.mark.parametrize(
    ("shapes", "part"),
    [
        ((8, (2, 3), (1, 2), 8), None),
        ((8, (2, 3), (1, 2), 4), "state"),
        ((8, (3, 3), (1, 3), 8), "samples"),
        ((8, (2, 3), (2, 1), 8), "labels"),
        ((8, (2, 3), (1, 3), 8), "labels"),
    ],
)
def test_open__program_of_other_shapes__is_refused(
    jobs: Jobs, shapes: tuple[Any, ...], part: str | None
) -> None:
    program, output = views(*shapes)
    jobs.world.call(OWNER, "ProgramRegistry", "registerProgram", list(program.words))
    if part is None:
        assert jobs.open(output, program=program.model_root) == 1
        return
    with pytest.raises(Reverted, match=f"StepProgramInvalid: {part}"):
        jobs.open(output, program=program.model_root)


def views(state: int, samples: tuple[int, int], labels: tuple[int, int], out: int) -> Any:
    """Return a program with these inputs whose one operator copies a part of the state."""
    builder = ProgramBuilder()
    first = builder.input(Spec(DType.I32, 1, state))
    builder.input(Spec(DType.U8, *samples))
    builder.input(Spec(DType.U16, *labels))
    builder.view(first, 1, out, sizes=(1, out), strides=(out, 1))
    program, _ = builder.build()
    return program, (program.preamble, program.ops[0].words(), program.operator_path(0))


# ── Claim and deliver ───────────────────────────────────────────────────────────────────────────


def test_claim__takes_the_bond_and_begins_the_time(jobs: Jobs) -> None:
    jobs.open()
    before, start = jobs.money(TRAINER), jobs.world.time
    jobs.do(TRAINER, "claim", 1)

    assert before - jobs.money(TRAINER) == STAKE
    state = jobs.state
    assert (state["stage"], state["trainer"], state["until"]) == (CLAIMED, TRAINER, start + TRAIN)
    with refuses("JobStageInvalid"):
        jobs.do(RIVAL, "claim", 1)


def test_claim__too_late_or_of_nothing__is_refused(jobs: Jobs) -> None:
    with refuses("JobStageInvalid"):
        jobs.do(TRAINER, "claim", 1)
    jobs.open()
    jobs.until()
    with refuses("JobPeriodOver"):
        jobs.do(TRAINER, "claim", 1)


def test_cancel__opener_at_once_and_anyone_in_the_end__gives_the_price_back(jobs: Jobs) -> None:
    jobs.open()
    with refuses("JobPeriodOpen"):
        jobs.do(BOB, "cancel", 1)
    before = jobs.world.revm.snapshot()
    jobs.do(OPENER, "cancel", 1)
    assert (jobs.state["stage"], jobs.balance(OPENER)) == (VOID, PRICE)
    with refuses("JobStageInvalid"):
        jobs.do(OPENER, "cancel", 1)
    jobs.world.revm.revert(before)
    jobs.until()
    jobs.do(BOB, "cancel", 1)
    assert (jobs.state["stage"], jobs.balance(OPENER)) == (VOID, PRICE)


def test_deliver__history__is_kept_and_opens_the_window(jobs: Jobs) -> None:
    start = jobs.world.time
    delivery = jobs.deliver(jobs.histories.records)

    state = jobs.state
    assert state["stage"] == DELIVERED
    assert state["until"] == start + WINDOW
    assert state["lastState"] == delivery.last_state == jobs.histories.records[-1].state


def test_deliver__by_another_or_too_late__is_refused(jobs: Jobs) -> None:
    jobs.claim()
    delivery = jobs.delivery(jobs.histories.records)
    with refuses("CallerNotTrainer"):
        jobs.do(RIVAL, "deliver", 1, delivery)
    jobs.until()
    with refuses("JobPeriodOver"):
        jobs.do(TRAINER, "deliver", 1, delivery)


@pytest.mark.parametrize("steps", [2, 70])
def test_deliver__history_of_another_job__is_refused(steps: int) -> None:
    jobs = Jobs(Histories("regression", steps))
    jobs.claim()
    records = jobs.histories.records
    other = StepRecord(ROOT, ROOT)
    for told in ((other, *records[1:]), (*records[:-1], other), records[:-1], (*records, other)):
        with refuses("HistoryInvalid"):
            jobs.do(TRAINER, "deliver", 1, jobs.delivery(told))
    jobs.do(TRAINER, "deliver", 1, jobs.delivery(records))


def test_lapse__trainer_that_vanished__loses_half_to_the_opener(jobs: Jobs) -> None:
    jobs.claim()
    with refuses("JobPeriodOpen"):
        jobs.do(BOB, "lapse", 1)
    jobs.until()
    jobs.do(BOB, "lapse", 1)
    assert jobs.state["stage"] == VOID
    assert jobs.balance(OPENER) == PRICE + STAKE // 2
    assert jobs.balance(DEAD) == STAKE - STAKE // 2
    with refuses("JobStageInvalid"):
        jobs.do(BOB, "lapse", 1)


# ── End ─────────────────────────────────────────────────────────────────────────────────────────


def test_settle__unchallenged__pays_price_and_bond(delivered: Jobs) -> None:
    with refuses("JobPeriodOpen"):
        delivered.do(BOB, "settle", 1)
    delivered.until()
    delivered.do(BOB, "settle", 1)
    assert delivered.state["stage"] == SETTLED
    before = delivered.money(TRAINER)
    delivered.do(TRAINER, "withdraw")
    assert delivered.money(TRAINER) - before == PRICE + STAKE
    assert delivered.money(delivered.address) == 0
    with refuses("JobStageInvalid"):
        delivered.do(BOB, "settle", 1)


# ── Demands ─────────────────────────────────────────────────────────────────────────────────────


def demand_trace(jobs: Jobs, step: int = 0, by: str = CHALLENGER, bond: int = BOND_NEEDED) -> None:
    jobs.do(by, "demandTrace", 1, step, value=bond)


def show_trace(jobs: Jobs, step: int = 0, by: str = CHALLENGER) -> None:
    records, trace = jobs.histories.records, jobs.histories.traces[step]
    path = history_tree(records).path(2, step)
    jobs.do(DAVE, "showTrace", 1, by, records[step].state, trace.trace_leaves, path)


def test_demand__in_the_wrong_stage_or_time_or_too_cheap__is_refused(jobs: Jobs) -> None:
    jobs.claim()
    with refuses("JobStageInvalid"):
        demand_trace(jobs)
    jobs.do(TRAINER, "deliver", 1, jobs.delivery(jobs.histories.records))
    with refuses("BondTooLow"):
        demand_trace(jobs, bond=BOND_NEEDED - 1)
    with refuses("BondTooLow"):
        demand_trace(jobs, bond=2**64)
    jobs.until()
    with refuses("JobPeriodOver"):
        demand_trace(jobs)


def test_demand__of_what_is_not_there__is_refused(delivered: Jobs) -> None:
    with refuses("JobTargetInvalid"):
        demand_trace(delivered, step=2)
    for level, index in ((2, 0), (1, 2), (300, 0)):
        with refuses("JobTargetInvalid"):
            delivered.do(CHALLENGER, "demandHistory", 1, level, index, value=BOND_NEEDED)
    operator = delivered.histories.operator(0)
    for step, level, index in ((2, 0, 0), (0, 5, 0), (0, 0, 1), (0, 2**40, 0)):
        with refuses("JobTargetInvalid"):
            delivered.do(
                CHALLENGER, "demandTensor", 1, step, 0, level, index, operator, value=BOND_NEEDED
            )
    with refuses("JobOpeningInvalid"):
        delivered.do(CHALLENGER, "demandTensor", 1, 0, 1, 0, 0, operator, value=BOND_NEEDED)


def test_demand__out_of_turn__is_refused(delivered: Jobs) -> None:
    demand_trace(delivered)
    with refuses("JobTurnInvalid"):
        demand_trace(delivered)
    show_trace(delivered)
    with refuses("JobTurnInvalid"):
        show_trace(delivered)
    delivered.wait(REPLY)
    with refuses("JobTurnOver"):
        demand_trace(delivered)


def test_demand__more_than_32__is_refused(delivered: Jobs) -> None:
    for _ in range(32):
        demand_trace(delivered)
        show_trace(delivered)
    with refuses("JobDemandsExhausted"):
        demand_trace(delivered)


def test_answer__that_is_another_or_late__is_refused(delivered: Jobs) -> None:
    demand_trace(delivered)
    with refuses("JobOpeningInvalid"):
        delivered.do(DAVE, "openHistory", 1, CHALLENGER, [ROOT] * 4, [])
    with refuses("JobOpeningInvalid"):
        show_trace(delivered, step=1)
    delivered.wait(REPLY)
    with refuses("JobTurnOver"):
        show_trace(delivered)


def test_open_history__nodes_of_another_place__are_refused(delivered: Jobs) -> None:
    tree = history_tree(delivered.histories.records)
    delivered.do(CHALLENGER, "demandHistory", 1, 1, 1, value=BOND_NEEDED)
    path, right = tree.path(1, 1), [tree.node(2, 2), tree.node(2, 3)]
    wrong = [tree.node(2, 0), tree.node(2, 1)]
    for nodes, way in ((wrong, path), (right, []), (right[:1], path), ([*right, ROOT], path)):
        with refuses("JobOpeningInvalid"):
            delivered.do(DAVE, "openHistory", 1, CHALLENGER, nodes, way)
    delivered.do(DAVE, "openHistory", 1, CHALLENGER, right, path)


def test_convict_silent__trainer_that_shows_nothing__is_convicted(delivered: Jobs) -> None:
    demand_trace(delivered)
    demand_trace(delivered, by=BOB)
    with refuses("JobTurnOpen"):
        delivered.do(DAVE, "convictSilent", 1, CHALLENGER)
    delivered.wait(REPLY)
    with refuses("JobTurnInvalid"):
        delivered.do(DAVE, "lapseDemand", 1, CHALLENGER)
    delivered.do(DAVE, "convictSilent", 1, CHALLENGER)

    assert delivered.state["stage"] == CONVICTED
    assert delivered.balance(CHALLENGER) == STAKE // 2
    assert delivered.bond(CHALLENGER) == BOND_NEEDED
    delivered.do(DAVE, "releaseBond", 1, BOB)
    assert delivered.bond(BOB) == BOND_NEEDED
    with refuses("JobTurnInvalid"):
        delivered.do(DAVE, "releaseBond", 1, BOB)
    delivered.do(BOB, "withdrawBond")
    with refuses("AmountZero"):
        delivered.do(BOB, "withdrawBond")


def test_lapse_demand__challenger_that_goes_on_no_more__pays_half_to_the_trainer(
    delivered: Jobs,
) -> None:
    demand_trace(delivered)
    show_trace(delivered)
    delivered.until()
    with refuses("JobChallengesOpen"):
        delivered.do(BOB, "settle", 1)
    with refuses("JobTurnInvalid"):
        delivered.do(BOB, "convictSilent", 1, CHALLENGER)
    with refuses("JobTurnInvalid"):
        delivered.do(BOB, "releaseBond", 1, CHALLENGER)
    delivered.do(BOB, "lapseDemand", 1, CHALLENGER)
    assert delivered.bond(TRAINER) == delivered.bond(DEAD) == BOND_NEEDED // 2
    delivered.do(BOB, "settle", 1)
    assert delivered.demanded()[0] == 0


def test_lapse_demand__before_the_turn_is_over__is_refused(delivered: Jobs) -> None:
    demand_trace(delivered)
    show_trace(delivered)
    with refuses("JobTurnOpen"):
        delivered.do(BOB, "lapseDemand", 1, CHALLENGER)
    delivered.wait(REPLY)
    delivered.do(BOB, "lapseDemand", 1, CHALLENGER)
