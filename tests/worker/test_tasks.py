"""From payloads to messages: what is retried here, what is reported, what is dropped."""

import pytest

from oracle.errors import InputInvalid, Unavailable
from oracle.ipfs.port import CidUnresolved
from oracle.queue.messages import DeliverMessage, InferMessage, ReportFailureMessage
from oracle.types import ZERO32, Bytes32, RequestId
from worker.errors import CacheFull, DeviceFull, PickleRefused
from worker.outcomes import Answered, Failed
from worker.tasks import infer

ROOT = Bytes32(b"\2" * 32)


def job(number=1, **changes):
    words = ("manifest_digest", "model_root", "input_root", "input_cid", "params")
    fields = {"model_id": 1, "version": 2, **dict.fromkeys(words, ZERO32), **changes}
    return InferMessage(request_id=RequestId(bytes([number] * 32)), **fields)


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


def run(errors, bodies):
    sent = []
    infer.answer(Pipeline(*errors), bodies, lambda *message: sent.append(message))
    return sent


def test_answer__malformed_message__dropped_and_the_others_answered():
    ((message, _),) = run([None], [{"request_id": "0x12"}, job(1).to_json()])
    assert isinstance(message, DeliverMessage)


def test_answer__success__deliver_message():
    assert run([None], [job(1).to_json()]) == [
        (DeliverMessage(RequestId(b"\1" * 32), ROOT, ZERO32), 0)
    ]


@pytest.mark.parametrize(
    ("error", "permanent"),
    [(PickleRefused("a pickle", hint="convert it"), True), (CidUnresolved("?"), False)],
)
def test_answer__trouble_of_the_request__reported(error, permanent):
    ((report, _),) = run([error], [job(1).to_json()])
    assert isinstance(report, ReportFailureMessage)
    assert report.error == type(error).__name__
    assert report.permanent is permanent
    assert error.hint in report.message


@pytest.mark.parametrize("error", [Unavailable("node"), CacheFull("disk"), DeviceFull("gpu")])
def test_answer__trouble_of_this_machine__tried_again_with_backoff_then_reported(error):
    waiting, delays = job(1), []
    for attempt in range(infer.RETRIES):
        ((waiting, delay),) = run([error], [waiting.to_json()])
        assert waiting == job(1, attempt=attempt + 1)
        delays.append(delay)
    assert delays == [1, 2, 4, 8, 16]
    ((report, _),) = run([error], [waiting.to_json()])
    assert isinstance(report, ReportFailureMessage)
    assert report.permanent is False


def test_failed__long_message__is_cut():
    report = Failed(RequestId(ROOT), InputInvalid("x" * 5000)).message()
    assert ReportFailureMessage.from_json(report.to_json()).message == "x" * 1000
