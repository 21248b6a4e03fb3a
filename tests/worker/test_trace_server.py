"""What the responder serves strangers: its own open deliveries, slowly enough, and nothing else."""

import pytest
import structlog
from starlette.testclient import TestClient

from oracle.errors import ConfigInvalid
from oracle.exact import files
from oracle.rate_limit import Buckets
from oracle.store.job import JobState
from oracle.store.store import Store
from oracle.types import Assurance, Bytes32
from tests.contracts.exact import example
from tests.worker.disputes import ID, delivered
from worker.trace_server import application, serving
from worker.trace_service import ASK_AGAIN, TraceService
from worker.traces import OwnAnswerDiffers, Traced, TracesBusy

PATH = "/traces/0x" + ID.hex()
LOG = structlog.get_logger()


class Traces:
    """Gives the example's trace, or fails."""

    def __init__(self):
        self.fails = None
        self.honest = Traced(example().constants, example().honest)

    def get(self, job, patience):
        if self.fails:
            raise self.fails
        return self.honest


class World:
    """A responder with a submitter that signs when it is told to."""

    def __init__(self):
        self.store = Store.open("sqlite://")
        self.traces = Traces()
        self.sent = []
        self.signs = True
        self.now = 0.0
        self.limit = Buckets(lambda: self.now)
        service = TraceService(
            self.store, self.traces, self.send, patience=1.0,
            clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip
        app = application(service, self.limit, LOG, rate=1.0, burst=50.0)
        self.http = TestClient(app, raise_server_exceptions=True)

    def send(self, message):
        self.sent.append(message.name)
        if self.signs:
            with self.store.begin() as tx:
                tx.state(ID, message.trace_root)
                tx.sign(ID, b"signature")

    def sleep(self, seconds):
        self.now += seconds

    def get(self, path=PATH):
        return self.http.get(path)


@pytest.fixture
def world():
    made = World()
    yield made
    made.store.close()


@pytest.mark.parametrize(
    ("changes", "status", "kind"),
    [
        (None, 404, "not-served"),
        ({"delivery": None, "state": JobState.QUEUED}, 404, "not-served"),
        ({"state": JobState.LOST}, 404, "not-served"),
        ({"assurance": Assurance.COMMITTEE}, 404, "not-served"),
        ({"state": JobState.FINALIZING}, 410, "window-over"),
        ({"state": JobState.SETTLED}, 410, "window-over"),
        ({"state": JobState.FAILED}, 410, "window-over"),
        ({"state": JobState.DELIVERING}, 503, "busy"),
    ],
)
def test_get__not_ours_or_over__problem(world, changes, status, kind):
    if changes is not None:
        delivered(world.store, **changes)
    for path in (PATH, PATH + "/tensors/0"):
        answer = world.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == f"urn:tallystick:problem:{kind}"
    assert world.sent == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/traces/12", 400),
        ("/traces/0x" + "zz" * 32, 400),
        (PATH + "/tensors/-1", 400),
        (PATH + "/tensors/x", 400),
        (PATH + "/tensors/3", 404),
        ("/", 404),
        ("/traces", 404),
    ],
)
def test_get__no_such_place__problem(world, path, status):
    delivered(world.store)
    assert world.get(path).status_code == status


def test_post__anything__not_allowed(world):
    assert world.http.post(PATH).status_code == 405


def test_get__trace_cannot_be_made__says_no_more_than_that(world):
    delivered(world.store)
    world.traces.fails = OwnAnswerDiffers("secret of this machine")
    answer = world.get()
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_get__others_are_served__retry_later(world):
    delivered(world.store)
    world.traces.fails = TracesBusy("busy")
    answer = world.get()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_get__submitter_away__asked_rarely_and_answered_later(world):
    delivered(world.store)
    world.signs = False
    assert world.get().status_code == 503
    assert world.get().status_code == 503
    assert len(world.sent) == 1
    world.now += ASK_AGAIN
    world.signs = True
    assert world.get().status_code == 200
    assert len(world.sent) == 2


def test_get__another_trace_is_stood_by__not_served(world):
    delivered(world.store)
    with world.store.begin() as tx:
        tx.state(ID, Bytes32(b"\7" * 32))
    assert world.get().status_code == 500
    assert world.sent == []


def test_get__too_often__429_for_this_address_alone(world):
    delivered(world.store)
    assert {world.get().status_code for _ in range(50)} == {200}
    assert world.get().status_code == 429
    assert world.limit.take("another", 1.0, 50.0) == 0
    world.now += 1
    assert world.get().status_code == 200


def test_get__delivery__receipt_and_every_tensor(world):
    delivered(world.store)
    honest = example().honest
    body = world.get().json()
    assert body == {
        "request_id": "0x" + ID.hex(),
        "output_root": "0x" + honest.output_root.hex(),
        "trace_root": "0x" + honest.trace_root.hex(),
        "signature": "0x" + b"signature".hex(),
        "leaves": ["0x" + leaf.hex() for leaf in honest.trace_leaves],
    }
    for op in range(len(example().program.ops)):
        record = world.get(f"{PATH}/tensors/{op}").content
        assert record == files.record(op + 1, honest.tree(op + 1))


@pytest.mark.parametrize("listen", ["8790", ":8790", "127.0.0.1:", "127.0.0.1:http"])
def test_serving__not_host_and_port__config_invalid(world, listen):
    with pytest.raises(ConfigInvalid), serving(world.http.app, listen, LOG):
        pass
