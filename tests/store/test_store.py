"""Transactions: all or nothing, one writer after the other, readers in peace."""

import multiprocessing
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oracle.errors import Unavailable
from oracle.store import Store
from oracle.store.job import JobState
from tests.store.samples import block, job, log, request_id, word


def test_begin__exception__nothing_is_kept(store: Store) -> None:
    def write_and_fail() -> None:
        with store.begin() as tx:
            tx.set_cursor(1)
            tx.add_blocks([block(1)])
            tx.add_logs([log(1, about="r")])
            tx.put_job(job("r"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()

    with store.read() as tx:
        assert (tx.cursor(), tx.blocks(), tx.logs_above(-1), tx.job(request_id("r"))) == (
            None,
            [],
            [],
            None,
        )


def test_begin__forgettable__only_the_others_wait_for_the_disk(store: Store) -> None:
    def waits(*, forgettable: bool) -> bool:
        with store.begin(forgettable=forgettable) as tx:
            connection = tx.session.connection()
            if connection.dialect.name == "postgresql":
                return connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
            return connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL

    assert [waits(forgettable=it) for it in (False, True, False)] == [True, False, True]


def test_read__write_in_it__refused(store: Store) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only"), store.read() as tx:
        tx.set_cursor(1)

    with store.begin() as tx:  # the same connection writes again
        tx.set_cursor(2)
    with store.read() as tx:
        assert tx.cursor() == 2


def _write_and_die(url: str) -> None:
    opened = Store.open(url)
    with opened.begin() as tx:
        tx.set_cursor(2)
        tx.put_job(job("r"))
        os.kill(os.getpid(), signal.SIGKILL)


def test_begin__killed_in_the_middle__nothing_is_kept_and_nobody_is_locked_out(
    shared_url: str,
) -> None:
    opened = Store.open(shared_url)
    with opened.begin() as tx:
        tx.set_cursor(1)
    child = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(shared_url,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL

    with opened.begin() as tx:
        assert tx.cursor() == 1
        assert tx.job(request_id("r")) is None
        tx.set_cursor(3)
    opened.close()


def test_begin__many_writers_that_read_first__no_update_is_lost(store: Store) -> None:
    with store.begin() as tx:
        tx.set_cursor(0)

    def count(_: int) -> None:
        with store.begin() as tx:
            tx.set_cursor((tx.cursor() or 0) + 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(20)))

    with store.read() as tx:
        assert tx.cursor() == 20


def test_read__beside_a_writer__sees_the_state_before_it_at_once(shared_url: str) -> None:
    opened = Store.open(shared_url)
    with opened.begin() as tx:
        tx.set_cursor(1)
    with opened.begin() as writer:
        writer.set_cursor(2)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_cursor_of, opened).result(timeout=120) == 1
    assert _cursor_of(opened) == 2
    opened.close()


def test_read__writer_commits_meanwhile__one_snapshot_to_the_end(shared_url: str) -> None:
    opened = Store.open(shared_url)
    with opened.begin() as tx:
        tx.set_cursor(1)
    with opened.read() as reader:
        assert reader.cursor() == 1
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_set_cursor, opened, 2).result(timeout=120)
        assert reader.cursor() == 1
    opened.close()


def test_record_answer__while_the_watcher_decides__wakes_the_job_after_it(shared_url: str) -> None:
    opened = Store.open(shared_url)
    name, started = request_id("r"), threading.Event()

    def answer() -> None:
        started.set()
        opened.record_answer(name, word("root"), word("cid"))

    with ThreadPoolExecutor(1) as pool:
        with opened.begin() as tx:
            tx.put_job(job("r"))
            future = pool.submit(answer)
            started.wait(120)
            seen = tx.job(name)
            assert seen is not None
            assert seen.answer is None
            tx.put_job(job("r", state=JobState.QUEUED, wake_at=500))
        future.result(timeout=120)

    with opened.read() as tx:
        found = tx.job(name)
    assert found is not None
    assert (found.wake_at, found.state) == (0, JobState.QUEUED)
    assert found.answer is not None
    opened.close()


def test_close__used_again__reconnects(shared_url: str) -> None:
    opened = Store.open(shared_url)
    opened.close()
    _set_cursor(opened, 4)
    assert _cursor_of(opened) == 4
    opened.close()


def test_begin__file_and_folder_gone__unavailable(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    opened = Store.open(f"sqlite:///{path}")
    opened.close()
    shutil.rmtree(path.parent)

    with pytest.raises(Unavailable), opened.begin():
        pass


def _cursor_of(opened: Store) -> int | None:
    with opened.read() as tx:
        return tx.cursor()


def _set_cursor(opened: Store, number: int) -> None:
    with opened.begin() as tx:
        tx.set_cursor(number)
