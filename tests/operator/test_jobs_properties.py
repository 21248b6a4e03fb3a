"""What holds for every job, whatever was told in whatever order."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.operator.jobs import Clock, advance, from_events, refold, sent, state_of
from oracle.operator.request_life import learn
from oracle.store.job import FINAL_STATES, NEVER, Job, JobState, JobStep
from oracle.types import ZERO32, ZERO_ADDRESS, OperatorAnswer, Timestamp
from tests.operator.builders import (
    ANNULLED,
    APPEASED,
    CANCELLED,
    DISPUTED,
    ME,
    OPERATOR,
    OTHER,
    POSTED,
    ROOT,
    claimed,
    convicted,
    delivered,
    demanded,
    finalized,
    requested,
)

times = st.integers(990, 1500)
who = st.sampled_from([ME, OTHER])
events = st.one_of(
    st.builds(claimed, who, times),
    st.builds(delivered, who, times),
    st.builds(finalized, who),
    st.builds(convicted, who),
    st.builds(demanded, times),
    st.sampled_from([POSTED, CANCELLED, ANNULLED, DISPUTED, APPEASED]),
)
histories = st.lists(events, max_size=8)
preferred = st.sampled_from([ME, OTHER, ZERO_ADDRESS])
answers = st.sampled_from([None, OperatorAnswer(ROOT, ZERO32)])
clocks = st.builds(
    Clock,
    st.builds(Timestamp, times),
    st.floats(0, 10_000),
    st.sampled_from(["g1", "g2"]),
)

STEPS = {
    JobState.COMPUTING: JobStep.INFER,
    JobState.CLAIMING: JobStep.CLAIM,
    JobState.QUEUED: JobStep.INFER,
    JobState.DELIVERING: JobStep.DELIVER,
    JobState.DEMANDED: JobStep.POST_OUTPUT,
    JobState.FINALIZING: JobStep.FINALIZE,
}


def fold(operator, history, answer) -> Job:
    return replace(from_events(requested(operator), history), answer=answer)


@settings(max_examples=300, deadline=None)
@given(preferred, answers, st.lists(st.one_of(events, clocks), max_size=12), st.booleans())
def test_advance__any_news_in_any_order__only_sends_the_step_of_its_state(
    operator, answer, news, authorised
):
    job = fold(operator, [], answer)
    for item in news:
        if not isinstance(item, Clock):
            job = learn(job, item)
            continue
        job, send = advance(job, item, OPERATOR, authorised)
        assert job.step is not JobStep.NONE or not send
        assert job.step is STEPS.get(job.state, JobStep.NONE)
        assert job.wake_at == NEVER if job.state in FINAL_STATES else job.wake_at > item.chain


@settings(max_examples=300, deadline=None)
@given(preferred, answers, histories, times, st.booleans())
def test_wake_at__any_job__never_sleeps_through_a_change(
    operator, answer, history, now, authorised
):
    job = fold(operator, history, answer)
    job, _ = advance(job, Clock(Timestamp(now), 0.0, "g"), OPERATOR, authorised)
    if job.state in FINAL_STATES:
        return

    for later in range(now, min(job.wake_at, 1700)):
        assert state_of(job, Timestamp(later), OPERATOR, authorised) is job.state


@settings(max_examples=200, deadline=None)
@given(preferred, answers, st.lists(st.one_of(events, clocks), max_size=12), clocks)
def test_advance__clocks_in_between__do_not_change_the_conclusion(operator, answer, news, at):
    job = fold(operator, [], answer)
    for item in news:
        if isinstance(item, Clock):
            job, _ = advance(job, item, OPERATOR, True)
        else:
            job = learn(job, item)
    job, _ = advance(job, at, OPERATOR, True)
    heard = [item for item in news if not isinstance(item, Clock)]

    assert job.state is state_of(fold(operator, heard, answer), at.chain, OPERATOR, True)


@settings(max_examples=200, deadline=None)
@given(preferred, answers, histories, histories, histories, clocks)
def test_refold__reorg__is_as_if_the_removed_events_were_never_told(
    operator, answer, common, removed, instead, at
):
    job = fold(operator, common, answer)
    for event in removed:
        job = learn(job, event)
    job, _ = advance(job, at, OPERATOR, True)
    job = refold(job, requested(operator), common + instead)
    job, _ = advance(job, at, OPERATOR, True)
    straight, _ = advance(fold(operator, common + instead, answer), at, OPERATOR, True)

    assert (job.state, job.phase, job.claim, job.delivery, job.disputes, job.wake_at) == (
        straight.state,
        straight.phase,
        straight.claim,
        straight.delivery,
        straight.disputes,
        straight.wake_at,
    )


@settings(max_examples=200, deadline=None)
@given(preferred, histories, times, st.integers(1, 50))
def test_advance__any_number_of_looks__sends_a_step_once(operator, history, now, looks):
    job = fold(operator, history, None)
    messages = 0
    for look in range(looks):
        job, send = advance(job, Clock(Timestamp(now), look / 100, "g"), OPERATOR, True)
        messages += send
        job = sent(job, "g") if send else job

    assert messages == (1 if job.state in STEPS else 0)
