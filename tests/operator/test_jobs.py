"""The operator's behaviour, case by case: what a fact makes of a job and what is then sent."""

from dataclasses import replace

import pytest

from oracle.chain.bindings.inference_market import ClaimForfeited, DisputeClosed, OutputPosted
from oracle.operator.jobs import (
    Clock,
    Operator,
    advance,
    from_events,
    refold,
    sent,
    state_of,
)
from oracle.operator.request_life import learn
from oracle.store.job import NEVER, Job, JobState, JobStep
from oracle.types import NO_CLAIM, ZERO_ADDRESS, Amount, Timestamp
from tests.operator.builders import (
    ANNULLED,
    ANSWER,
    APPEASED,
    CANCELLED,
    DISPUTED,
    ID,
    ME,
    OPERATOR,
    OTHER,
    POSTED,
    PRIORITY,
    claimed,
    clock,
    convicted,
    delivered,
    demanded,
    finalized,
    requested,
)


def tick(
    job: Job, at: Clock, operator: Operator = OPERATOR, authorised: bool = True
) -> tuple[Job, list[JobStep]]:
    """Conclude, and let the queue take what is sent."""
    job, send = advance(job, at, operator, authorised)
    return (sent(job, at.generation), [job.step]) if send else (job, [])


STATES = [
    # preferred: me
    ("priority opens", [requested()], None, 1000, JobState.QUEUED),
    ("last second of priority", [requested()], None, 1029, JobState.QUEUED),
    ("priority passed", [requested()], None, 1030, JobState.COMPUTING),
    ("answered in priority", [requested()], ANSWER, 1029, JobState.DELIVERING),
    ("answered too late", [requested()], ANSWER, 1030, JobState.CLAIMING),
    # preferred: another
    ("others' priority", [requested(OTHER)], None, 1029, JobState.WAITING),
    ("others' priority passed", [requested(OTHER)], None, 1030, JobState.COMPUTING),
    ("open to all", [requested(ZERO_ADDRESS)], None, 1000, JobState.COMPUTING),
    ("too close to expiry", [requested(OTHER)], None, 1298, JobState.WAITING),
    ("just before the margin", [requested(OTHER)], None, 1297, JobState.COMPUTING),
    ("last second", [requested(OTHER)], None, 1299, JobState.WAITING),
    ("expired", [requested(OTHER)], None, 1300, JobState.LOST),
    ("expired with my answer", [requested()], ANSWER, 1300, JobState.LOST),
    # claims
    ("my claim", [requested(OTHER), claimed(ME)], None, 1059, JobState.QUEUED),
    ("my claim, answered", [requested(OTHER), claimed(ME)], ANSWER, 1059, JobState.DELIVERING),
    ("my claim lapsed", [requested(OTHER), claimed(ME)], None, 1060, JobState.COMPUTING),
    ("my claim lapsed, answered", [requested(OTHER), claimed(ME)], ANSWER, 1060, JobState.CLAIMING),
    ("another's claim", [requested(), claimed(OTHER)], ANSWER, 1059, JobState.WAITING),
    ("another's claim lapsed", [requested(), claimed(OTHER)], None, 1060, JobState.COMPUTING),
    (
        "claim after claim",
        [requested(), claimed(OTHER), claimed(ME, 1090)],
        None,
        1089,
        JobState.QUEUED,
    ),
    # deliveries
    ("window open", [requested(), delivered(ME)], ANSWER, 1139, JobState.DELIVERED),
    ("window passed", [requested(), delivered(ME)], ANSWER, 1140, JobState.FINALIZING),
    ("delivered by another", [requested(), delivered(OTHER)], ANSWER, 1041, JobState.LOST),
    ("disputed", [requested(), delivered(ME), DISPUTED], ANSWER, 2000, JobState.DELIVERED),
    (
        "appeased",
        [requested(), delivered(ME), DISPUTED, APPEASED],
        ANSWER,
        2000,
        JobState.FINALIZING,
    ),
    ("demanded", [requested(), delivered(ME), demanded(1100)], ANSWER, 1099, JobState.DEMANDED),
    (
        "demand missed",
        [requested(), delivered(ME), demanded(1100)],
        ANSWER,
        1100,
        JobState.DELIVERED,
    ),
    (
        "shown",
        [requested(), delivered(ME), demanded(1100), POSTED],
        ANSWER,
        2000,
        JobState.FINALIZING,
    ),
    (
        "shown late: it can still be challenged",
        [requested(), delivered(ME), demanded(1190), OutputPosted(ID, ME, b"", Timestamp(1240))],
        ANSWER,
        1239,
        JobState.DELIVERED,
    ),
    (
        "shown late, and nobody challenged",
        [requested(), delivered(ME), demanded(1190), OutputPosted(ID, ME, b"", Timestamp(1240))],
        ANSWER,
        1240,
        JobState.FINALIZING,
    ),
    (
        "a dispute closes while a demand is open, which the market counts, then it is shown",
        [requested(), delivered(ME), DISPUTED, demanded(1100), DisputeClosed(ID, OTHER, 1), POSTED],
        ANSWER,
        2000,
        JobState.FINALIZING,
    ),
    # ends
    ("settled", [requested(), delivered(ME), finalized(ME)], ANSWER, 2000, JobState.SETTLED),
    (
        "settled for another",
        [requested(), delivered(OTHER), finalized(OTHER)],
        None,
        1,
        JobState.LOST,
    ),
    ("convicted", [requested(), delivered(ME), convicted(ME)], ANSWER, 2000, JobState.FAILED),
    (
        "annulled",
        [requested(), delivered(ME), DISPUTED, ANNULLED],
        ANSWER,
        2000,
        JobState.CANCELLED,
    ),
    ("cancelled", [requested(), CANCELLED], ANSWER, 1000, JobState.CANCELLED),
    (
        "cancelled in my claim",
        [requested(), claimed(ME), CANCELLED],
        None,
        1301,
        JobState.CANCELLED,
    ),
]


@pytest.mark.parametrize(
    ("events", "answer", "now", "expected"),
    [pytest.param(*case[1:], id=case[0]) for case in STATES],
)
def test_state_of__each_situation__is_what_the_contract_allows(events, answer, now, expected):
    job = replace(from_events(events[0], events[1:]), answer=answer)

    assert state_of(job, Timestamp(now), OPERATOR, authorised=True) is expected


def test_state_of__not_authorised__waits_but_keeps_what_is_delivered():
    undelivered = from_events(requested())
    mine = from_events(requested(), [delivered(ME)])

    assert state_of(undelivered, Timestamp(1000), OPERATOR, False) is JobState.WAITING
    assert state_of(mine, Timestamp(1140), OPERATOR, False) is JobState.FINALIZING


def test_state_of__operator_that_does_not_claim__leaves_what_others_left():
    job = from_events(requested(OTHER))

    assert state_of(job, Timestamp(1100), replace(OPERATOR, claims=False), True) is JobState.WAITING


@pytest.mark.parametrize(("failures", "permanent"), [(3, False), (0, True)])
def test_state_of__given_up__fails(failures, permanent):
    job = replace(from_events(requested()), failures=failures, permanent=permanent)

    assert state_of(job, Timestamp(1000), OPERATOR, True) is JobState.FAILED


def test_state_of__failures_before_an_answer__do_not_spoil_it():
    job = replace(from_events(requested()), failures=3, answer=ANSWER)

    assert state_of(job, Timestamp(1000), OPERATOR, True) is JobState.DELIVERING


def test_learn__same_event_twice__is_as_good_as_once():
    once = learn(from_events(requested()), delivered(ME))

    assert learn(once, delivered(ME)) == once


def test_learn__event_of_no_consequence__changes_nothing():
    job = from_events(requested(), [claimed(OTHER)])

    assert learn(job, ClaimForfeited(ID, OTHER, Amount(1))) == job


def test_advance__same_clock_twice__sends_one_message():
    job, first = tick(from_events(requested()), clock(1000))
    job, second = tick(job, clock(1001, 5001.0))

    assert (first, second) == ([JobStep.INFER], [])


def test_advance__message_not_taken__is_sent_again_at_once():
    job, first = advance(from_events(requested()), clock(1000), OPERATOR, True)
    job, second = advance(job, clock(1000), OPERATOR, True)

    assert (first, second, job.attempt) == (True, True, 2)


def test_advance__queue_lost_its_memory__sends_again_at_once():
    job, _ = tick(from_events(requested()), clock(1000))
    job, again = tick(job, clock(1001, generation="g2"))
    job, then = tick(job, clock(1001, generation="g2"))

    assert (again, then, job.attempt) == ([JobStep.INFER], [], 2)


def test_advance__no_progress__repeats_after_longer_and_longer():
    job, _ = tick(from_events(requested()), clock(1000, 0.0))
    times = []
    for wall in range(1, 500):
        job, steps = tick(job, clock(1001, float(wall)))
        times += [wall] * len(steps)

    assert times == [60, 180, 420]


def test_advance__demand_not_answered__repeats_while_there_is_time():
    job = learn(from_events(requested(), [delivered(ME, 1010)]), demanded(1060))
    times = []
    for second in range(60):
        job, steps = tick(job, clock(1020 + second, float(second)))
        times += [second] * len(steps)

    assert times == [0, 10, 18, 24, 28, 31, 34, 36, 37, 38, 39]


def test_advance__delivery_lost_in_a_short_priority_window__repeats_within_it():
    job, _ = tick(from_events(requested()), clock(1000, 0.0))
    job, _ = tick(replace(job, answer=ANSWER), clock(1002, 2.0))
    job, early = tick(job, clock(1008, 8.0))
    job, steps = tick(job, clock(1009, 9.0))

    assert (early, steps) == ([], [JobStep.DELIVER])


def test_advance__reported_failure__repeats_soon_and_once():
    job, _ = tick(from_events(requested()), clock(1000, 0.0))
    job = replace(job, failures=1)
    times = []
    for tenth in range(10, 100):
        job, steps = tick(job, clock(1001, tenth / 10))
        times += [tenth / 10] * len(steps)

    assert times == [3.0]


def test_advance__answer_recorded_in_time__leaves_delivery_to_the_submitter():
    job, _ = tick(from_events(requested()), clock(1000))
    job, steps = tick(replace(job, answer=ANSWER), clock(1001))
    job, later = tick(job, clock(1001, 5100.0))

    assert (job.state, steps, later) == (JobState.DELIVERING, [], [JobStep.DELIVER])


def test_advance__claimed_with_the_answer_in_hand__delivers_without_a_second_inference():
    job, _ = tick(from_events(requested()), clock(1000))
    job, claims = tick(replace(job, answer=ANSWER), clock(1030))
    job = learn(job, claimed(ME))
    job, steps = tick(job, clock(1031))

    assert (claims, steps) == ([JobStep.CLAIM], [JobStep.DELIVER])


def test_advance__request_that_nobody_can_answer__is_never_claimed():
    """Its requester would farm what a lapsed claim forfeits."""
    job, steps = tick(from_events(requested(OTHER)), clock(1030))
    job, more = tick(replace(job, permanent=True), clock(1031))

    assert (steps, more, job.state) == ([JobStep.INFER], [], JobState.FAILED)


def test_advance__whole_life_of_a_taken_over_request__sends_each_step_once():
    job = from_events(requested(OTHER))
    steps = []
    for event, now in [
        (None, 1001),
        (None, 1030),
        ("answer", 1031),
        (claimed(ME), 1032),
        (delivered(ME, 1033), 1033),
        (demanded(1100), 1090),
        (POSTED, 1095),
        (None, 1134),
        (finalized(ME), 1140),
    ]:
        if event == "answer":
            job = replace(job, answer=ANSWER)
        elif event:
            job = learn(job, event)
        job, more = tick(job, clock(now))
        steps += more

    answering = [JobStep.INFER, JobStep.CLAIM, JobStep.DELIVER]
    assert steps == [*answering, JobStep.POST_OUTPUT, JobStep.FINALIZE]
    assert (job.state, job.wake_at) == (JobState.SETTLED, NEVER)


def test_advance__late_news_of_a_delivery__ends_a_job_that_failed_here():
    job, _ = tick(replace(from_events(requested()), permanent=True), clock(1000))
    job = learn(job, delivered(OTHER))
    job, steps = tick(job, clock(1041))

    assert (job.state, steps) == (JobState.LOST, [])


def test_refold__delivery_removed_by_a_reorg__reopens_the_job_with_its_answer():
    job = from_events(requested())
    job, _ = tick(job, clock(1000))
    job = replace(job, answer=ANSWER)
    job = learn(job, delivered(ME))
    job, _ = tick(job, clock(1041))
    job, steps = tick(refold(job, requested(), []), clock(1029))

    assert (job.state, job.delivery, job.claim) == (JobState.DELIVERING, None, NO_CLAIM)
    assert steps == [JobStep.DELIVER]


def test_wake_at__own_priority__is_its_end():
    job, _ = tick(from_events(requested()), clock(1000))

    assert job.wake_at == PRIORITY


@pytest.mark.parametrize("jump", [-7 * 86_400, -3600, 3600])
def test_advance__clock_jumped_since_the_message_went_out__sent_again(jump):
    """A clock an hour ahead, corrected: a lost message waited for an hour."""
    job, _ = tick(from_events(requested()), clock(1000, 10.0**7))
    job, steps = tick(job, clock(1001, 10.0**7 + jump))

    assert steps == [JobStep.INFER]


@pytest.mark.parametrize("jump", [-59, 0, 59])
def test_advance__clock_corrected_by_seconds__not_sent_again(jump):
    job, _ = tick(from_events(requested()), clock(1000, 10.0**7))

    assert tick(job, clock(1001, 10.0**7 + jump))[1] == []
