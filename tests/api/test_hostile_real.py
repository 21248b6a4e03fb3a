"""Everything a script can send wrong: 4xx with a sentence, never 500, never a hang."""

import gzip
import json
import socket
import time

import numpy as np
import pytest

from tests.api.test_kserve_real import IMAGE

pytestmark = pytest.mark.real

INFER = "/v2/models/digits/infer"
GIVEN = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [IMAGE]}
PIXELS = np.zeros(64, np.float32).tobytes()


def binary(size, shape=(1, 1, 8, 8), datatype="FP32", tail=PIXELS, length=None):
    """A body of the binary tensor extension that may say other things than it has."""
    given = {
        "name": "image", "shape": list(shape), "datatype": datatype,
        "parameters": {"binary_data_size": size},
    }  # fmt: skip
    head = json.dumps({"inputs": [given]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    return {"content": head + tail, "headers": headers}


def assert_refused(answered, status=400):
    """A problem document with a sentence in it."""
    assert answered.status_code == status, answered.text
    found = answered.json()
    assert found["status"] == status
    assert len(found["detail"]) > 10
    assert found["error"] == found["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"NaN", b"[" * 100_000,
        b'{"inputs": [' + b"[" * 5_000, b"\x00" * 64, "{\"inputs\": \"\u2603\"}".encode(),
        b'{"inputs": [], "x": 1e999}', b'{"inputs": [' + b"9" * 5_000 + b"]}",
    ],
)  # fmt: skip
def test_infer__no_such_json__is_refused(client, body):
    assert_refused(client.post(INFER, content=body))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [1, 1, 8]}, {"shape": [2, 1, 8, 8]}, {"shape": [1, 1, -8, -8]}, {"shape": "8"},
        {"shape": [0, 1, 8, 8]}, {"shape": [2**62, 2**62]}, {"shape": [True, 1, 8, 8]},
        {"shape": [1] * 64}, {"shape": None}, {"datatype": "FP64"}, {"datatype": "BYTES"},
        {"datatype": 5}, {"name": "picture"}, {"name": None}, {"name": "🖼" * 1000},
        {"data": [[1, [2]]]}, {"data": "AAAA"}, {"data": {}}, {"data": None}, {"data": [1, 2]},
        {"data": [1e300] * 64}, {"data": [10**400] * 64}, {"data": [None] * 64},
        {"data": ["0"] * 64}, {"data": [True] * 64}, {"data": []},
        {"parameters": 3}, {"parameters": {"binary_data_size": 256}},
        {"parameters": {"binary_data_size": -1}}, {"parameters": {"binary_data_size": 1e9}},
    ],
    ids=lambda changes: str(changes)[:40],
)  # fmt: skip
def test_infer__input_that_lies__is_refused(client, changes):
    assert_refused(client.post(INFER, json={"inputs": [{**GIVEN, **changes}]}))


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [GIVEN, GIVEN]}, {"inputs": {"image": 1}}, {"inputs": [None]},
        {"inputs": [GIVEN], "outputs": 5}, {"inputs": [GIVEN], "outputs": [{"name": "secrets"}]},
        {"inputs": [GIVEN], "parameters": []}, {"inputs": [GIVEN], "parameters": {"heat": 1}},
        {"inputs": [GIVEN], "id": 7},
    ],
    ids=lambda document: str(document)[-40:],
)  # fmt: skip
def test_infer__document_that_does_not_fit__is_refused(client, document):
    assert_refused(client.post(INFER, json=document))


@pytest.mark.parametrize(
    "options",
    [
        binary(256, tail=PIXELS[:-1]), binary(256, tail=PIXELS + b"x"), binary(255),
        binary(512), binary(2**70), binary(0, tail=b""), binary(256, shape=(1, 1, 8, 9)),
        binary(256, datatype="INT32"), binary(256, length=0), binary(256, length=10**9),
        binary(256, length=-1), binary(256, length="x"), binary(256, length=7),
        binary(256, tail=np.full(64, np.nan, np.float32).tobytes()),
    ],
)  # fmt: skip
def test_infer__binary_tensor_that_lies__is_refused(client, options):
    assert_refused(client.post(INFER, **options))


def test_infer__compressed_bomb__is_unpacked_up_to_the_limit_of_plain_bodies(client):
    bomb = gzip.compress(b"\0" * 10**8)
    for coding, status in (("gzip", 413), ("deflate", 413), ("br", 415), ("zstd", 415)):
        answered = client.post(INFER, content=bomb, headers={"Content-Encoding": coding})
        assert_refused(answered, status)


def test_infer__compressed_body_damaged__is_refused(client):
    packed = gzip.compress(json.dumps({"inputs": [GIVEN]}).encode())
    for content in (packed[:-9], packed[:9], packed + b"x", b"no gzip", b""):
        answered = client.post(INFER, content=content, headers={"Content-Encoding": "gzip"})
        assert_refused(answered, 400)


@pytest.mark.parametrize("name", ["nobody", "☃", "a%2Fb", "..%2f..", "1@9", "9" * 400, "@", "%00"])
def test_model__strange_name__is_not_found(client, name):
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/ready", f"/api/models/{name}"):
        answered = client.get(path)
        assert answered.status_code in (400, 404), (path, answered.text)
        assert answered.json()["detail"]


@pytest.mark.parametrize(
    "secret", ["tsk_" + "A" * 43, "x", "tsk_\u2603".encode(), "a b", "x" * 8000]
)
def test_infer__forged_key__is_refused(door, secret):
    value = b"Bearer " + secret if isinstance(secret, bytes) else f"Bearer {secret}"
    with door.client(secret="") as stranger:
        answered = stranger.post(INFER, json={"inputs": [GIVEN]}, headers={"Authorization": value})
    assert_refused(answered, 401)


def test_infer__other_methods_and_types__are_refused(client):
    assert client.get(INFER).status_code == 405
    assert client.get("/v3/nothing").json()["status"] == 404
    assert_refused(client.post(INFER, content=b"<svg/>", headers={"Content-Type": "image/svg+xml"}))
    assert_refused(client.post(INFER, files={"file": ("x.zip", b"PK\3\4")}))


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", {"model": "digits"}, {"input": "x"}, {"model": 5, "input": "x"},
        {"model": "digits", "input": []}, {"model": "digits", "input": [[]]},
        {"model": "digits", "input": ["x", 5]}, {"model": "digits", "input": {"a": 1}},
        {"model": "digits", "input": "x", "encoding_format": "hex"},
        {"model": "digits", "input": [2**80]}, b'{"model": "digits", "input": "\\ud800"}',
        {"model": "\u0000", "input": "x"}, {"model": "x" * 81, "input": "x"},
    ],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
def test_embeddings__body_that_does_not_fit__is_refused_in_openais_shape(client, body):
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    answered = client.post("/v1/embeddings", **sent)
    assert 400 <= answered.status_code < 500, answered.text
    assert answered.json()["error"]["message"]


# ── Sockets ─────────────────────────────────────────────────────────────────────────────────────
def connected(door, head, timeout=300.0):
    host, _, port = door.url.removeprefix("http://").partition(":")
    opened = socket.create_connection((host, int(port)), timeout=timeout)
    opened.sendall(head)
    return opened


def head_of(door, *fields):
    lines = (
        f"POST {INFER} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {door.secret}",
        *fields,
    )
    return "\r\n".join((*lines, "", "")).encode()


def test_body__a_gigabyte_announced__is_refused_before_it_comes(door):
    with connected(door, head_of(door, f"Content-Length: {10**9}")) as opened:
        assert b" 413 " in opened.recv(4096)


def test_body__a_gigabyte_streamed__is_refused_on_the_way(door):
    sent = 0
    piece = b"10000\r\n" + b"\0" * 0x10000 + b"\r\n"
    with connected(door, head_of(door, "Transfer-Encoding: chunked")) as opened:
        try:
            while sent < 10**9:
                opened.sendall(piece)
                sent += 0x10000
        except OSError:
            pass  # it hung up, as it should
        try:
            found = opened.recv(4096)
        except OSError:
            found = b" 413 "  # the refusal was swept away with the connection
    assert b" 413 " in found
    assert sent < 10**8


@pytest.mark.parametrize(
    "junk",
    [b"\0" * 1000,
     b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
     b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
     b"Content-Length: 6\r\n\r\n12345"],
)  # fmt: skip
def test_connection__not_http__is_answered_400_or_closed(door, junk):
    found = answer_to(door, junk)
    assert found == b"" or b" 4" in found


@pytest.mark.parametrize(
    ("start", "more"),
    [(b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"A: b\r\n" * 100), (b"GET /", b"a" * 1000)],
    ids=["headers", "line"],
)
def test_connection__headers_without_end__answered_431_or_closed(door, start, more):
    assert answer_to(door, start + more * 1000) in (
        b"",
        b"HTTP/1.1 431 Request Header Fields Too Large",
    )


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost"], ids=["nothing", "half"])
def test_connection__never_says_what_it_wants__answered_408(door, begun):
    assert answer_to(door, begun) == b"HTTP/1.1 408 Request Timeout"


def test_connection__next_headers_begin_right_behind_a_large_body__are_waited_for(door):
    body = b"[" * 200_000
    head = head_of(door, f"Content-Length: {len(body)}")
    with connected(
        door, head + body + b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"
    ) as opened:
        found = opened.recv(65536)
        assert found.startswith(b"HTTP/1.1 400 ")
        opened.sendall(b"\r\n")
        while b"HTTP/1.1 200 " not in found:
            more = opened.recv(65536)
            assert more, found  # else it hung up
            found += more


def answer_to(door, sent):
    """Return the status line that something is answered with, empty when the server hangs up."""
    with connected(door, b"") as opened:
        try:
            opened.sendall(sent)
            return opened.recv(4096).partition(b"\r\n")[0]
        except TimeoutError:
            raise  # neither answered nor closed
        except OSError:
            return b""


def test_connection__closed_while_the_answer_is_made__loses_nothing(door, client):
    body = json.dumps({"inputs": [{**GIVEN, "data": [0.25] * 64}]}).encode()
    head = head_of(door, f"Content-Length: {len(body)}", "Idempotency-Key: hung-up")
    with connected(door, head + body):
        time.sleep(0.3)
    again = client.post(INFER, content=body, headers={"Idempotency-Key": "hung-up"})
    assert again.status_code == 200, again.text
    assert client.get("/v2/health/ready").status_code == 200
