"""Items that are no messages: kombu's transport ended the process at each of these."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from kombu import Queue
from redis import Redis

from oracle.config import Settings
from oracle.queue import celery_app
from oracle.queue.broker import CeleryQueue
from oracle.queue.dead import KEPT, counts, put_aside
from oracle.queue.messages import ClaimMessage
from oracle.queue.redis_transport import MAX_BODY
from oracle.types import ZERO32

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
QUEUE = "op.submit"


def envelope(**changes: Any) -> dict[str, Any]:
    """Return a message as Celery writes it, with something wrong."""
    properties = {
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "delivery_tag": "tag",
        "body_encoding": "base64",
    }
    return {
        "body": base64.b64encode(b"[[], {}, {}]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": ClaimMessage.name, "id": "1"},
        "properties": properties,
    } | changes


BROKEN = [
    b"",
    b"not JSON",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[]",
    b"{}",
    b"7",
    b"null",
    b'"text"',
    json.dumps(envelope(properties=None)).encode(),
    json.dumps(envelope(properties={})).encode(),
    json.dumps(envelope(properties={"delivery_tag": 7, "delivery_info": {}})).encode(),
    json.dumps(envelope(properties={"delivery_tag": "t", "delivery_info": []})).encode(),
    json.dumps(envelope(headers=None)).encode(),
    json.dumps(envelope(headers=[])).encode(),
    json.dumps(envelope(body="not base64")).encode(),
    json.dumps(envelope(body=7)).encode(),
    json.dumps(envelope(body="A" * (MAX_BODY + 4))).encode(),
]


def test_consume__items_that_are_no_messages__put_aside_and_the_next_one_is_taken(
    url: str, tmp_path: Path
) -> None:
    settings = Settings(tmp_path, redis_url=url, operator="op")
    app = celery_app.create(lambda: settings)
    taken: list[Any] = []

    def take(body: Any, message: Any) -> None:
        taken.append(body)
        message.ack()

    with Redis.from_url(url) as redis, app.connection() as connection:
        for item in BROKEN:
            redis.lpush(QUEUE, item)
        celery_app.send(app, ClaimMessage(ZERO32))
        with connection.Consumer([Queue(QUEUE)], callbacks=[take], accept=["json"]):
            while not taken:
                connection.drain_events(timeout=20)
        ((args, kwargs, _),) = taken
        assert (args, kwargs["request_id"]) == ([], "0x" + "00" * 32)
        assert redis.llen(f"{QUEUE}.dead") == len(BROKEN)
        assert all(len(item) <= 4_096 for item in redis.lrange(f"{QUEUE}.dead", 0, -1))
    queue = CeleryQueue(settings)
    assert queue.dead()[QUEUE] == len(BROKEN)
    queue.close()


def test_put_aside__more_than_are_kept__newest_stay_and_all_are_counted(url: str) -> None:
    with Redis.from_url(url) as redis:
        for number in range(KEPT + 5):
            put_aside(redis, QUEUE, [number])
        assert redis.llen(f"{QUEUE}.dead") == KEPT
        assert redis.lindex(f"{QUEUE}.dead", 0) == b"[%d]" % (KEPT + 4)
        assert counts(redis, [QUEUE, "other"]) == {QUEUE: KEPT + 5, "other": 0}
