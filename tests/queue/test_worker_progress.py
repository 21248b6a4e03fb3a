"""What workers say of their progress, heard over a real Redis."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from oracle.config import PROGRESS_CHANNEL, Settings
from oracle.gateway import worker_progress
from oracle.ports import free_port
from oracle.types import RequestId
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

ONE = RequestId(b"\1" * 32)


def test_listening__said_at_once__is_heard(url: str) -> None:
    """A worker that failed before the command had subscribed left it waiting for ten minutes."""
    said = {"step": "failed", "operator": "alpha", "at": 1, "ids": [ONE.hex()], "reason": "no"}
    with Redis.from_url(url) as redis:
        for _ in range(5):
            settings = replace(Settings(Path()), redis_url=url)
            with worker_progress.listening(settings) as heard:
                redis.publish(PROGRESS_CHANNEL, json.dumps(said))
                wait_until(lambda: heard.reason(ONE) == "operator alpha: no", "the report")


def test_listening__no_broker__waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks from another machine has no queue, and must not wait for one."""
    monkeypatch.setattr(worker_progress, "_PAUSE", 1e6)
    settings = replace(Settings(Path()), redis_url=f"redis://127.0.0.1:{free_port()}")
    with worker_progress.listening(settings) as heard:
        assert heard.reason(ONE) is None
