"""Jobs, answers, failures: each with one writer."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from oracle.store import Store
from oracle.store.job import NEVER, Job, JobState, JobStep, SlotPhase
from oracle.types import Claim, Delivery, OperatorAnswer, Stamp, Timestamp
from tests.store.samples import ALICE, BOB, job, request, request_id, word

FULL = job(
    "r",
    phase=SlotPhase.DELIVERED,
    claim=Claim(BOB, Timestamp(2**40 - 1)),
    delivery=Delivery(ALICE, Stamp(Timestamp(150)), word("root")),
    output_cid=word("cid"),
    disputes=2,
    demand_until=Timestamp(2**40 - 1),
    challenge_until=Timestamp(2**40 - 2),
    state=JobState.DEMANDED,
    step=JobStep.POST_OUTPUT,
    attempt=3,
    failures_seen=1,
    retry_at=1234.5678,
    generation="abcdef",
    wake_at=NEVER,
)


def test_job__unknown__none(store: Store) -> None:
    with store.read() as tx:
        assert tx.job(request_id("r")) is None
        assert tx.answer(request_id("r")) is None
        assert tx.failures(request_id("r")) == (0, False)
        assert tx.failures_of(request_id("r")) == []


def test_jobs_of__some_unknown__the_others(store: Store) -> None:
    with store.begin() as tx:
        tx.put_jobs([FULL, job("last"), job("nobody asked for")])
        asked = [request_id("r"), *(request_id(str(n)) for n in range(600)), request_id("last")]
        found = tx.jobs_of(asked)

    assert found == {request_id("r"): FULL, request_id("last"): job("last")}


@pytest.mark.parametrize("written", [FULL, job("r")], ids=["full", "fresh"])
def test_put_job__read_back__equal(store: Store, written: Job) -> None:
    with store.begin() as tx:
        tx.put_job(written)
        assert tx.job(written.request_id) == written
    with store.read() as tx:
        assert tx.job(written.request_id) == written


def test_put_job__again_in_one_transaction__the_last_is_read(store: Store) -> None:
    with store.begin() as tx:
        tx.put_job(FULL)
        assert tx.job(FULL.request_id) == FULL
        tx.put_job(job("r"))
        assert tx.job(FULL.request_id) == job("r")


def test_put_job__with_answer_and_failures_of_its_own__those_recorded_stay(store: Store) -> None:
    with store.begin() as tx:
        tx.record_answer(request_id("r"), OperatorAnswer(word("root"), word("cid")))
        tx.record_failure(request_id("r"), "Unavailable", "m", permanent=False)
        tx.put_job(job("r", answer=None, failures=9, permanent=True))
        found = tx.job(request_id("r"))

    assert found is not None
    assert found.answer == OperatorAnswer(word("root"), word("cid"))
    assert (found.failures, found.permanent) == (1, False)


def test_put_jobs__many__all_there(store: Store) -> None:
    jobs = [job(f"{number}") for number in range(300)]
    with store.begin() as tx:
        tx.put_jobs([])
        tx.put_jobs(jobs)
        assert {found.request_id for found in tx.open_jobs()} == {one.request_id for one in jobs}


def test_delete_job__answer_and_failures__stay(store: Store) -> None:
    name = request_id("r")
    with store.begin() as tx:
        tx.put_job(job("r"))
        tx.record_answer(name, OperatorAnswer(word("root"), word("cid")))
        tx.record_failure(name, "InputInvalid", "m", permanent=True)
        tx.delete_job(name)
        assert tx.job(name) is None
        assert tx.answer(name) == OperatorAnswer(word("root"), word("cid"))
        tx.put_job(job("r"))
        found = tx.job(name)
        assert found is not None
        assert found.permanent
        assert found.answer is not None


def test_record_answer__second_one__the_first_stands(store: Store) -> None:
    first = store.record_answer(request_id("r"), word("root"), word("cid"))
    second = store.record_answer(request_id("r"), word("other"), word("other"))

    assert first == second == OperatorAnswer(word("root"), word("cid"))


def test_record_answer__again__does_not_wake_the_job(store: Store) -> None:
    store.record_answer(request_id("r"), word("root"), word("cid"))
    with store.begin() as tx:
        tx.put_job(job("r", wake_at=NEVER))
    store.record_answer(request_id("r"), word("root"), word("cid"))
    with store.read() as tx:
        assert tx.due(Timestamp(0), 0.0, "") == []


def test_record_failure__same_report_twice__counts_once(store: Store) -> None:
    name = request_id("r")
    for report in ("infer:1", "infer:1", "infer:2", None, None):
        store.record_failure(name, "Unavailable", "no answer", permanent=False, report=report)
    store.record_failure(name, "InputInvalid", "x" * 3000, permanent=True)

    with store.read() as tx:
        assert tx.failures(name) == (4, True)
        last = tx.failures_of(name)[-1]
    assert (last.error, len(last.message), last.permanent) == ("InputInvalid", 2000, True)
    assert last.recorded_at == 1000.0


@pytest.mark.parametrize("news", ["answer", "failure", "wake"])
def test_news__about_a_sleeping_job__makes_it_due(store: Store, news: str) -> None:
    with store.begin() as tx:
        tx.put_job(job("r", wake_at=NEVER))
        tx.put_job(job("other", wake_at=NEVER))
        assert tx.due(Timestamp(10**9), 0.0, "") == []
        if news == "answer":
            tx.record_answer(request_id("r"), OperatorAnswer(word("root"), word("cid")))
        elif news == "failure":
            tx.record_failure(request_id("r"), "E", "m", permanent=False)
        else:
            tx.wake(request_id("r"))
        assert [found.request_id for found in tx.due(Timestamp(0), 0.0, "")] == [request_id("r")]


@pytest.mark.parametrize(
    ("one", "is_due"),
    [
        (job("r", wake_at=100), True),
        (job("r", wake_at=101), False),
        (job("r", wake_at=100, state=JobState.SETTLED), False),
        (job("r", wake_at=NEVER, step=JobStep.INFER, retry_at=50.0, generation="g"), True),
        (job("r", wake_at=NEVER, step=JobStep.INFER, retry_at=50.1, generation="g"), False),
        (job("r", wake_at=NEVER, step=JobStep.INFER, retry_at=50.1, generation="lost"), True),
        (job("r", wake_at=NEVER, step=JobStep.NONE, retry_at=0.0, generation="lost"), False),
        (
            job("r", wake_at=NEVER, step=JobStep.INFER, retry_at=0.0, state=JobState.FAILED),
            False,
        ),
    ],
)
def test_due__chain_time_100_wall_50_generation_g(store: Store, one: Job, is_due: bool) -> None:
    with store.begin() as tx:
        tx.put_job(one)
        assert bool(tx.due(Timestamp(100), 50.0, "g")) == is_due


@pytest.mark.parametrize(("retry_at", "is_due"), [(110.0, False), (110.1, True), (3650.0, True)])
def test_due__retry_further_away_than_any_pause__a_clock_was_wrong(
    store: Store, retry_at: float, is_due: bool
) -> None:
    with store.begin() as tx:
        waiting = job("r", wake_at=NEVER, step=JobStep.INFER, retry_at=retry_at, generation="g")
        tx.put_job(waiting)
        assert bool(tx.due(Timestamp(100), 50.0, "g", longest_pause=60.0)) == is_due


def test_due__more_than_the_limit__those_that_woke_first(store: Store) -> None:
    with store.begin() as tx:
        tx.put_jobs([job(f"{at}", wake_at=at) for at in (3, 1, 2)])
        found = tx.due(Timestamp(9), 0.0, "", limit=2)

    assert [one.wake_at for one in found] == [1, 2]


def test_open_jobs__by_model__final_ones_are_left_out(store: Store) -> None:
    other = replace(job("other"), request=request(model_id=8))
    with store.begin() as tx:
        tx.put_jobs([job("a"), job("b", state=JobState.LOST), other])

        assert {one.request_id for one in tx.open_jobs()} == {request_id("a"), request_id("other")}
        assert tx.open_jobs(8) == [other]


def test_jobs__for_a_person__latest_first_and_counted(store: Store) -> None:
    early = replace(job("a", state=JobState.LOST), request=request(expires_at=1))
    late = replace(job("b"), request=request(expires_at=2))
    with store.begin() as tx:
        tx.put_jobs([early, late])

        assert tx.jobs() == [late, early]
        assert tx.jobs(JobState.LOST) == [early]
        assert tx.jobs(limit=1) == [late]
        assert tx.job_counts() == {JobState.LOST: 1, JobState.WAITING: 1}


def test_under_way__some_sent_some_not__counts_what_was_sent(store: Store) -> None:
    with store.begin() as tx:
        tx.put_job(job("a", step=JobStep.CLAIM, attempt=2))
        tx.put_job(job("b", step=JobStep.CLAIM, attempt=0))
        tx.put_job(job("c", step=JobStep.INFER, attempt=1))
        assert (tx.under_way(JobStep.CLAIM), tx.under_way(JobStep.INFER)) == (1, 1)
        assert tx.under_way(JobStep.DELIVER) == 0


def test_due__sqlite__reads_the_index_of_open_jobs_and_no_settled_row() -> None:
    store = Store.open("sqlite://")
    asked: list[tuple[str, tuple[object, ...]]] = []
    event.listen(
        store._engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3]))
    )
    with store.read() as tx:
        tx.due(Timestamp(5), 0.0, "g")
        query, values = asked[-1]
        plan = tx.session.connection().exec_driver_sql("EXPLAIN QUERY PLAN " + query, values)
        assert "SCAN jobs USING INDEX ix_jobs_open" in [row[3] for row in plan]
    store.close()
