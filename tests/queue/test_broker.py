"""The real broker: what is on it, what it forgets, and what happens when it is not there."""

import base64
import json
from pathlib import Path

import pytest
from redis import Redis

from oracle.config import Settings
from oracle.devnet import redis as redis_server
from oracle.errors import Unavailable
from oracle.ports import free_port
from oracle.queue.broker import CeleryQueue
from oracle.queue.messages import ClaimMessage
from oracle.store.job import JobState, JobStep
from oracle.types import ZERO32

pytestmark = pytest.mark.real
MESSAGE = ClaimMessage(ZERO32)
DOCS = Path(__file__).parents[2] / "docs" / "operator.md"


def open_queue(url, home, operator="op"):
    return CeleryQueue(Settings(home, redis_url=url, operator=operator))


def test_send__nobody_listens__is_unavailable(tmp_path):
    queue = open_queue(redis_server.url_of(free_port()), tmp_path)

    with pytest.raises(Unavailable):
        queue.generation()
    with pytest.raises(Unavailable):
        queue.send(MESSAGE, "claim:0x00:1")
    queue.close()


def test_send__redis_there__holds_the_call_as_json_under_the_operators_name(url, tmp_path):
    queue = open_queue(url, tmp_path)
    queue.send(MESSAGE, "claim:0x00:1")
    with Redis.from_url(url) as client:
        raw = json.loads(client.lindex("op.submit", 0))
    queue.close()

    args, kwargs, _ = json.loads(base64.b64decode(raw["body"]))
    assert (raw["headers"]["task"], raw["headers"]["id"]) == ("tallystick.claim", "claim:0x00:1")
    assert len(kwargs.pop("seal")) == 64
    assert (args, kwargs) == ([], {"request_id": "0x" + "00" * 32})


def test_generation__messages_forgotten__is_another_word(url, tmp_path):
    queue, again = open_queue(url, tmp_path), open_queue(url, tmp_path)
    other = open_queue(url, tmp_path, "bob")
    first = queue.generation()
    assert again.generation() == first != other.generation()
    with Redis.from_url(url) as client:
        client.flushall()
    second = queue.generation()

    assert second != first
    for each in (queue, again, other):
        each.close()


def test_docs__every_state_and_message__is_described():
    text = DOCS.read_text()

    assert [state for state in JobState if f"`{state}`" not in text] == []
    assert [step for step in JobStep if step and f"`{step}`" not in text] == []
