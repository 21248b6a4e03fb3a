"""The real broker: what is on it, what it forgets, and what happens when it is not there."""

import base64
import json
from pathlib import Path

import pytest
from redis import Redis

from oracle.config import Settings
from oracle.devnet import redis as redis_server
from oracle.devnet.supervisor import Supervisor
from oracle.errors import Unavailable
from oracle.ports import free_port
from oracle.queue.broker import CeleryQueue
from oracle.queue.messages import ClaimMessage
from oracle.store.job import JobState, JobStep
from oracle.types import ZERO32

pytestmark = pytest.mark.real
MESSAGE = ClaimMessage(ZERO32)
DOCS = Path(__file__).parents[2] / "docs" / "operator.md"


def open_queue(url, operator="op"):
    return CeleryQueue(Settings(Path(), redis_url=url, operator=operator))


@pytest.fixture
def url(tmp_path):
    port = free_port()
    spec = redis_server.spec(redis_server.find_server(), tmp_path, port, tmp_path / "log")
    with Supervisor([spec]) as redis:
        redis.start()
        yield redis_server.url_of(port)


def test_send__nobody_listens__is_unavailable():
    queue = open_queue(redis_server.url_of(free_port()))

    with pytest.raises(Unavailable):
        queue.generation()
    with pytest.raises(Unavailable):
        queue.send(MESSAGE, "claim:0x00:1")
    queue.close()


def test_send__redis_there__holds_the_call_as_json_under_the_operators_name(url):
    queue = open_queue(url)
    queue.send(MESSAGE, "claim:0x00:1")
    with Redis.from_url(url) as client:
        raw = json.loads(client.lindex("op.submit", 0))
    queue.close()

    args, kwargs, _ = json.loads(base64.b64decode(raw["body"]))
    assert (raw["headers"]["task"], raw["headers"]["id"]) == ("tallystick.claim", "claim:0x00:1")
    assert (args, kwargs) == ([], {"request_id": "0x" + "00" * 32})


def test_generation__messages_forgotten__is_another_word(url):
    queue, again, other = open_queue(url), open_queue(url), open_queue(url, "bob")
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
