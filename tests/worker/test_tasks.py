"""From payloads to messages: what is retried here, what is reported, what is dropped."""

import pytest

from oracle.errors import InputInvalid, Unavailable
from oracle.ipfs.port import CidUnresolved
from oracle.queue import messages
from oracle.queue.messages import Answered, Failed, InferJob
from oracle.types import ZERO32, Bytes32, RequestId
from worker.errors import CacheFull, DeviceFull, PickleRefused
from worker.tasks import infer

ROOT = Bytes32(b"\2" * 32)


def payload(number=1, **changes):
    digests = ("manifest_digest", "model_root", "input_root", "input_cid", "params")
    return {
        "request_id": "0x" + bytes([number] * 32).hex(), "model_id": 1, "version": 2,
        **dict.fromkeys(digests, "0x" + "00" * 32),
        "claim": {"operator": "0x0", "until": 0}, **changes,
    }  # fmt: skip


class Pipeline:
    """Answers each job with what was laid down for it."""

    def __init__(self, *errors):
        self.errors = errors

    def run(self, jobs):
        return [
            Answered(job.request_id, ROOT, ZERO32)
            if error is None
            else Failed(job.request_id, error)
            for job, error in zip(jobs, self.errors, strict=True)
        ]


def run(errors, payloads):
    sent = []
    infer.answer(Pipeline(*errors), payloads, lambda *message: sent.append(message))
    return sent


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": None},
        {"request_id": "0x" + "1" * 63},
        {"request_id": "11" * 33},
        {"model_id": "one"},
        {"params": "0x" + "zz" * 32},
        {"input_root": 5},
    ],
)
def test_parse__malformed_payload__input_invalid(changes):
    with pytest.raises(InputInvalid):
        InferJob.parse(payload(**changes))


def test_answer__malformed_message__dropped_and_the_others_answered():
    sent = run([None], [{"request_id": "0x12"}, payload(1)])
    assert [name for name, _, _ in sent] == [messages.DELIVER]


def test_answer__success__deliver_message():
    ((name, body, delay),) = run([None], [payload(1)])
    assert (name, delay) == ("tallystick.deliver", 0)
    assert body == {
        "request_id": "0x" + "01" * 32, "output_root": "0x" + "02" * 32,
        "output_cid": "0x" + "00" * 32,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "permanent"),
    [(PickleRefused("a pickle", hint="convert it"), True), (CidUnresolved("?"), False)],
)
def test_answer__trouble_of_the_request__reported(error, permanent):
    ((name, body, _),) = run([error], [payload(1)])
    assert name == "tallystick.report_failure"
    assert body["error"] == type(error).__name__
    assert body["permanent"] is permanent
    assert error.hint in body["message"]


@pytest.mark.parametrize("error", [Unavailable("node"), CacheFull("disk"), DeviceFull("gpu")])
def test_answer__trouble_of_this_machine__tried_again_with_backoff_then_reported(error):
    waiting, delays = payload(1), []
    for _ in range(infer.RETRIES):
        ((name, waiting, delay),) = run([error], [waiting])
        assert name == "tallystick.infer"
        delays.append(delay)
    assert delays == [1, 2, 4, 8, 16]
    ((name, body, _),) = run([error], [waiting])
    assert name == "tallystick.report_failure"
    assert body["permanent"] is False


def test_failed__long_message__is_cut():
    body = Failed(RequestId(ROOT), InputInvalid("x" * 5000)).payload()
    assert len(body["message"]) == 1000
