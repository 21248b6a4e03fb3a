"""Seals: what an attacker at the broker cannot make, change or move to another place."""

import os
from pathlib import Path
from typing import Any

import pytest

from oracle.config import Settings
from oracle.errors import ConfigInvalid
from oracle.queue import celery_app
from oracle.queue.messages import MESSAGES, ClaimMessage, DeliverMessage
from oracle.queue.seal import MessageForged, Seal
from oracle.types import ZERO32, Bytes32, RequestId

ROOT = Bytes32(b"\2" * 32)
ANSWER = DeliverMessage(RequestId(b"\1" * 32), ROOT, ZERO32)
TASK = DeliverMessage.name


def test_open__own_message__its_arguments() -> None:
    seal = Seal(b"k" * 32, "op")
    assert DeliverMessage.from_json(seal.open(TASK, "id", seal.close(ANSWER, "id"))) == ANSWER


@pytest.mark.parametrize(
    ("task", "task_id", "change"),
    [
        (TASK, "id", {"output_root": "0x" + "66" * 32}),
        (TASK, "id", {"request_id": "0x" + "66" * 32}),
        (TASK, "id", {"attempt": 1}),
        (TASK, "id", {"more": 1}),
        (TASK, "another id", {}),
        (ClaimMessage.name, "id", {}),
        (TASK, "id", {"seal": ""}),
        (TASK, "id", {"seal": "é" * 64}),
        (TASK, "id", {"seal": None}),
        (TASK, "id", {"seal": ["0"]}),
    ],
)
def test_open__anything_changed__forged(task: str, task_id: str, change: dict[str, Any]) -> None:
    seal = Seal(b"k" * 32, "op")
    body = seal.close(ANSWER, "id") | change
    with pytest.raises(MessageForged):
        seal.open(task, task_id, body)


@pytest.mark.parametrize("body", [None, [], "x", 7, {}, {"seal": "00"}])
def test_open__no_sealed_message__forged(body: Any) -> None:
    with pytest.raises(MessageForged):
        Seal(b"k" * 32, "op").open(TASK, "id", body)


@pytest.mark.parametrize("other", [Seal(b"x" * 32, "op"), Seal(b"k" * 32, "another")])
def test_open__key_or_operator_differs__forged(other: Seal) -> None:
    with pytest.raises(MessageForged, match=r"no seal of operator 'op'"):
        Seal(b"k" * 32, "op").open(TASK, "id", other.close(ANSWER, "id"))


def test_of__no_key_yet__made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(tmp_path, operator="op")
    before = os.umask(0)
    try:
        first, second = Seal.of(settings), Seal.of(settings)
    finally:
        os.umask(before)
    assert second.open(TASK, "id", first.close(ANSWER, "id"))
    assert settings.queue_key().stat().st_mode & 0o777 == 0o600
    assert settings.queue_key().parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "no hex", "00", "00" * 33])
def test_of__no_key_in_the_file__config_invalid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match="queue's key"):
        Seal.of(Settings(tmp_path, queue_key_file=str(path)))


@pytest.mark.parametrize("kind", MESSAGES)
def test_opened__as_another_task__none(tmp_path: Path, kind: Any, monkeypatch: Any) -> None:
    app = celery_app.create(lambda: Settings(tmp_path, operator="op", redis_url="memory://"))
    sent: dict[str, Any] = {}
    monkeypatch.setattr(app, "send_task", lambda name, **more: sent.update(more, name=name))
    celery_app.send(app, ANSWER)
    body = celery_app.opened(app, kind, sent["task_id"], sent["kwargs"])
    assert body == (ANSWER.to_json() if kind is DeliverMessage else None)
