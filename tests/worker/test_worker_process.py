"""What a process opens, and how wide it is: by its roles, without a broker."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

import worker.__main__ as command
from oracle.config import Settings
from oracle.errors import ConfigInvalid
from oracle.operator import submit_process
from oracle.queue import celery_app
from oracle.queue.message import Message
from oracle.queue.messages import ClaimMessage, DeliverMessage
from oracle.types import ZERO32, Bytes32, RequestId
from worker import app as application
from worker import infer_process
from worker.process import WorkerProcess

ID = RequestId(b"\1" * 32)
ANSWER = DeliverMessage(ID, Bytes32(b"\2" * 32), ZERO32)
Sent = list[tuple[Message, str | None, float]]


@pytest.fixture
def process(tmp_path: Path) -> WorkerProcess:
    """Return a process that takes from the queue `infer`, and could open a key."""
    made = WorkerProcess(lambda: Settings(home=tmp_path, key="me", password_file="secret"))
    made.roles = ("infer",)
    return made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    kept: Sent = []

    def send(app: Celery, message: Message, task_id: str | None = None, delay: float = 0) -> None:
        kept.append((message, task_id, delay))

    monkeypatch.setattr(celery_app, "send", send)
    return kept


@pytest.mark.parametrize(("processes", "wide"), [("0", 3), ("2", 2)])
def test_main__processes__what_fits_unless_given(
    process: WorkerProcess, monkeypatch: pytest.MonkeyPatch, processes: str, wide: int
) -> None:
    found = []

    def worker(*, concurrency: int | None, **_: Any) -> Any:
        found.append(process.app.either("worker_concurrency", concurrency))  # as Celery's does
        return SimpleNamespace(start=lambda: None, exitcode=0)

    monkeypatch.setattr(infer_process, "processes", lambda: 3)
    monkeypatch.setattr(application, "app", SimpleNamespace(Worker=worker))
    monkeypatch.setenv("TALLYSTICK_HOME", str(process.settings.home))

    assert command.main(["--role", "infer", "--processes", processes]) == 0
    assert found == [wide]


def test_key__not_of_the_queue_submit__refused_and_no_keystore_opened(
    process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Settings] = []
    monkeypatch.setattr(submit_process, "open_key", opened.append)

    with pytest.raises(ConfigInvalid, match="holds no key"):
        process.key  # noqa: B018 - a property that raises

    assert opened == []


def test_submit_task__process_without_the_key__message_put_back(
    process: WorkerProcess, sent: Sent
) -> None:
    submit_process.register(process.app, lambda: process.key)
    asked = ClaimMessage(ID)

    sealed = process.app.tallystick_seal().close
    claim = process.app.tasks[ClaimMessage.name]
    claim.apply(kwargs=sealed(asked, "claim:1"), task_id="claim:1").get()
    answer = SimpleNamespace(id="deliver:1", kwargs=sealed(ANSWER, "deliver:1"))
    process.app.tasks[DeliverMessage.name].run([answer])

    again = submit_process.RETRY_AFTER
    assert sent == [(asked, "claim:1", again), (ANSWER, None, again)]
