"""What the client believes of a responder: what hashes to a root, in time, and bounded."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oracle.chain.anvil import dev_account
from oracle.errors import DigestMismatch, InputInvalid, NotFound, Unavailable
from oracle.exact import files
from oracle.exact.receipt import receipt
from oracle.services.traces import TraceClient, TraceMalformed, TraceOver
from oracle.types import Address, RequestId
from tests.contracts.exact import example

pytestmark = pytest.mark.real

ID = RequestId(b"\5" * 32)
GAME = Address("0x" + "22" * 20)
KEY = dev_account(1)


def body(**changes):
    honest = example().honest
    words = receipt(
        chain_id=31337, game=GAME, request_id=ID, output_root=honest.output_root,
        trace_root=honest.trace_root,
    )  # fmt: skip
    made = {
        "request_id": "0x" + ID.hex(),
        "output_root": "0x" + honest.output_root.hex(),
        "trace_root": "0x" + honest.trace_root.hex(),
        "signature": "0x" + bytes(KEY.sign_typed_data(full_message=words).signature).hex(),
        "leaves": ["0x" + leaf.hex() for leaf in honest.trace_leaves],
    }
    return json.dumps({**made, **changes}).encode()


@contextmanager
def responder(*answers, timeout=60, patience=0):
    """Serve these answers in turn, the last again and again: (status, body) or a function."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            if callable(answer):
                answer(self)
                return
            status, data = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        client = TraceClient(
            f"http://127.0.0.1:{server.server_port}/base/", timeout=timeout, patience=patience
        )
        yield client, asked
    finally:
        server.shutdown()
        server.server_close()


def endless(handler):
    """Send more than anybody asked for."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        pass


def drip(handler):
    """Send a byte now and then."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(2400):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        pass


def broken_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


@pytest.mark.parametrize(
    "endpoint",
    ["", "127.0.0.1:80", "ftp://host", "http://", "http://user@host", "http://h:99999999"],
)
def test_client__endpoint_that_is_none__input_invalid(endpoint):
    with pytest.raises(InputInvalid):
        TraceClient(endpoint)


def test_receipt__nobody_there__unavailable():
    with pytest.raises(Unavailable):
        TraceClient("http://127.0.0.1:1", patience=0).receipt(ID)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, b"{}"), NotFound),
        ((410, b"{}"), TraceOver),
        ((400, b"{}"), TraceMalformed),
        ((302, b""), TraceMalformed),
        ((500, b"{}"), Unavailable),
        ((503, b"{}"), Unavailable),
        ((200, b""), TraceMalformed),
        ((200, b"[]"), TraceMalformed),
        ((200, b"[" * 100_000), TraceMalformed),
        ((200, body(leaves=["0x12"])), TraceMalformed),
        ((200, body(leaves=5)), TraceMalformed),
        ((200, body(signature=None)), TraceMalformed),
        ((200, body(request_id="0x" + "06" * 32)), TraceMalformed),
        ((200, body(leaves=["0x" + "06" * 32])), DigestMismatch),
        ((200, body(trace_root="0x" + "06" * 32)), DigestMismatch),
        (endless, TraceMalformed),
        (drip, Unavailable),
        (broken_off, Unavailable),
    ],
)
def test_receipt__hostile_answer__typed_error(answer, error):
    timeout = 1 if answer is drip else 60
    with responder(answer, timeout=timeout) as (client, _), pytest.raises(error):
        client.receipt(ID)


@pytest.mark.parametrize("signature", ["0x", "0x12", "0x" + "00" * 65, "0x" + "ff" * 65])
def test_signer__no_signature__trace_malformed(signature):
    with responder((200, body(signature=signature))) as (client, _):
        served = client.receipt(ID)
        with pytest.raises(TraceMalformed):
            served.signer(31337, GAME)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"nonsense", TraceMalformed),
        (files.record(1, example().lie_inside.tree(1)), DigestMismatch),
        (files.record(2, example().honest.tree(1)), DigestMismatch),  # as another tensor
        (bytes(100_000), TraceMalformed),
    ],
)
def test_tensor__not_the_one_under_the_leaf__refused(data, error):
    with responder((200, data)) as (client, _), pytest.raises(error):
        client.tensor(ID, 0, example().honest.trace_leaves[0], max_bytes=50_000)


def test_receipt__busy_at_first__asked_again():
    with responder((503, b""), (429, b""), (200, body()), patience=120) as (client, asked):
        served = client.receipt(ID)
    assert asked == [f"/base/traces/0x{ID.hex()}"] * 3
    assert served.leaves == example().honest.trace_leaves
    assert served.signer(31337, GAME) == KEY.address
    assert served.signer(1, GAME) != KEY.address


def test_tensor__true__its_record():
    record = files.record(1, example().honest.tree(1))
    with responder((200, record)) as (client, asked):
        assert client.tensor(ID, 0, example().honest.trace_leaves[0]) == record
    assert asked == [f"/base/traces/0x{ID.hex()}/tensors/0"]
