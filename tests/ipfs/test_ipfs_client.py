"""The client against nodes that lie, stall, break off or never end: typed errors, nothing kept."""

import hashlib
import json
import threading
from pathlib import Path

import pytest

from oracle.errors import ConfigInvalid, DigestMismatch, InputInvalid, TallystickError, Unavailable
from oracle.ipfs.client import IpfsClient
from oracle.ipfs.port import CidUnresolved
from oracle.ipfs.unixfs import file_cid
from oracle.types import Bytes32, Cid
from tests.ipfs.conftest import sample
from tests.ipfs.liar import (
    Script,
    dripping,
    endless,
    hangs_up,
    lying,
    says,
    says_chunked,
    serves,
    silent,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real  # a server on loopback

DATA = sample(300_000)
CID = file_cid(DATA).text()
SHA256 = Bytes32(hashlib.sha256(DATA).digest())
MISSING = b'{"Message":"block was not found locally (offline): ipld: could not find x","Code":0}'


def client(url: str, timeout: float = 2.0) -> IpfsClient:
    return IpfsClient(url, timeout, attempts=3, backoff=0.01)


def fetch(url: str, target: Path, timeout: float = 2.0) -> None:
    client(url, timeout).fetch_file(CID, target, SHA256, len(DATA))


@pytest.mark.parametrize(
    "script",
    [
        says(DATA + b"!"),
        says(DATA[:-1]),
        says(b""),
        says(DATA[:-1] + b"?"),
        says(bytes(len(DATA))),
        says_chunked(DATA, b"!"),
        says_chunked(),
        says_chunked(DATA, announced=len(DATA) + 1),
        says_chunked(bytes(len(DATA))),
        endless,
    ],
    ids=[
        *("longer", "shorter", "empty", "last-byte", "zeros", "chunked-longer", "chunked-empty"),
        *("announces-longer", "chunked-zeros", "endless"),
    ],
)
def test_fetch_file__other_bytes__is_a_mismatch_and_keeps_nothing(
    script: Script, tmp_path: Path
) -> None:
    with lying(script) as node, pytest.raises(DigestMismatch, match=SHA256.hex()):
        fetch(node.url, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_fetch_file__endless__never_writes_more_than_the_size(tmp_path: Path) -> None:
    seen: list[int] = []
    part = tmp_path / "out.part"
    with lying(endless) as node, pytest.raises(DigestMismatch):
        client(node.url).fetch_file(
            CID, tmp_path / "out", SHA256, len(DATA), lambda *_: seen.append(part.stat().st_size)
        )
    assert max(seen, default=0) <= len(DATA)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (says(b"<html>", status="502 Bad Gateway"), Unavailable),
        (says(b"404 page not found", status="404 Not Found"), Unavailable),
        (says(b"not json", status="500 Oops"), Unavailable),
        (says(b"[" * 100_000, status="500 Oops"), Unavailable),
        (says(b'["a list"]', status="500 Oops"), Unavailable),
        (says(bytes(3 << 20), status="500 Oops"), Unavailable),
        (lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH\r\n"), Unavailable),
        (
            lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 9999),
            Unavailable,
        ),
        (hangs_up, Unavailable),
        (serves(DATA, cut=1000), Unavailable),
        (says_chunked(DATA[:1000], end=False), Unavailable),
        (says_chunked(DATA[:1000]), Unavailable),
        (says(MISSING, status="500 Internal Server Error"), CidUnresolved),
        (says(b'{"Message":"context deadline exceeded"}', status="500 x"), CidUnresolved),
        (
            says(b'{"Message":"block in storage has different hash"}', status="500 x"),
            DigestMismatch,
        ),
        (says(b'{"Message":"this dag node is a directory"}', status="500 x"), InputInvalid),
    ],
    ids=[
        *("502", "404", "no-json", "deep-json", "list", "long-error", "not-http", "many-headers"),
        *("hangs-up", "truncated", "chunked-truncated", "chunked-short"),
        *("missing", "deadline", "damaged", "folder"),
    ],
)
def test_fetch_file__node_is_at_fault__says_how(
    script: Script, error: type[Exception], tmp_path: Path
) -> None:
    with lying(script) as node, pytest.raises(TallystickError) as got:
        fetch(node.url, tmp_path / "out")
    assert isinstance(got.value, error)
    assert not (tmp_path / "out").exists()


def test_fetch_file__silence__is_unresolved_in_time(tmp_path: Path) -> None:
    with lying(silent) as node:
        with pytest.raises(CidUnresolved, match=r"within 0\.3 s"):
            fetch(node.url, tmp_path / "out", timeout=0.3)
        wait_until(lambda: node.requests, "its only request")
    assert len(node.requests) == 1


def test_fetch_file__a_byte_now_and_then__is_given_up_in_time(tmp_path: Path) -> None:
    with lying(dripping(len(DATA))) as node, pytest.raises(Unavailable, match=r"bytes in 2 s"):
        fetch(node.url, tmp_path / "out", timeout=2.0)
    assert len(node.requests) == 1


@pytest.mark.parametrize("had", [0, 1000])
def test_fetch__kubo_tells_an_error_in_the_trailer__is_that_error(tmp_path: Path, had: int) -> None:
    told = says_chunked(DATA[:had], announced=len(DATA), trailer="ipld: could not find bafk")
    with lying(told) as node:
        with pytest.raises(CidUnresolved, match="could not find bafk"):
            fetch(node.url, tmp_path / "out")
        with pytest.raises(CidUnresolved, match="could not find bafk"):
            client(node.url).fetch_bytes(CID, len(DATA))
    assert (tmp_path / "out.part").stat().st_size == had


def test_fetch_file__kubo_ends_before_what_it_announced__is_interrupted(tmp_path: Path) -> None:
    with (
        lying(says_chunked(announced=len(DATA))) as node,
        pytest.raises(Unavailable, match="early"),
    ):
        fetch(node.url, tmp_path / "out")


def test_fetch_bytes__a_byte_now_and_then__is_given_up_in_time() -> None:
    with lying(dripping(1000)) as node, pytest.raises(Unavailable, match=r"bytes in 2 s"):
        client(node.url, 2.0).fetch_bytes(CID, len(DATA))


@pytest.mark.parametrize("script", [endless, says(DATA + b"!")])
def test_fetch_bytes__more_than_allowed__is_invalid(script: Script) -> None:
    with lying(script) as node, pytest.raises(InputInvalid, match="more than the 300000 bytes"):
        client(node.url).fetch_bytes(CID, len(DATA))


def test_fetch_bytes__other_bytes__is_a_mismatch() -> None:
    with lying(says(bytes(10))) as node, pytest.raises(DigestMismatch, match="are not those of"):
        client(node.url).fetch_bytes(CID, len(DATA))


def test_fetch_bytes__error_after_the_first_block__is_tried_again() -> None:
    with lying(says(DATA[:9], length=len(DATA)), says(DATA)) as node:
        assert client(node.url).fetch_bytes(CID, len(DATA)) == DATA


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (says(b'{"Hash":"' + file_cid(b"other").text().encode() + b'"}'), DigestMismatch),
        (says(b'{"Hash":7}'), DigestMismatch),
        (says(b'{"Name":"x"}'), Unavailable),
        (says(b""), Unavailable),
        (says(b"{"), Unavailable),
        (says(b"\xff\xfe"), Unavailable),
        (says(b"3"), Unavailable),
        (endless, Unavailable),
        (silent, Unavailable),
        (hangs_up, Unavailable),
        (says(b'{"Message":"no space left on device"}', status="500 x"), Unavailable),
        (says(b'{"Message":"invalid chunker"}', status="400 x"), InputInvalid),
    ],
    ids=[
        *("other-cid", "number", "no-hash", "empty", "half-json", "not-text", "scalar", "endless"),
        *("silent", "hangs-up", "disk-full", "bad-option"),
    ],
)
def test_publish__answer_does_not_fit__is_refused(
    script: Script, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "in"
    path.write_bytes(DATA)
    with lying(script) as node:
        with pytest.raises(TallystickError) as got:
            client(node.url, 0.5).publish_file(path)
        assert isinstance(got.value, error)
        with pytest.raises(error):
            client(node.url, 0.5).publish_bytes(DATA)


def test_publish_file__node_refuses_at_once__tells_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(64 << 20))  # more than the sockets hold
    answer = says(b'{"Message":"no space left on device"}', status="500 x")
    with lying(answer, read_body=False) as node, pytest.raises(Unavailable):
        client(node.url).publish_file(path)


def test_publish_file__node_takes_nothing__is_given_up_in_time(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(64 << 20))
    given_up = threading.Event()
    with lying(lambda *_: given_up.wait(), read_body=False) as node:
        with pytest.raises(Unavailable, match="silent"):
            client(node.url, 0.3).publish_file(path)
        given_up.set()


@pytest.mark.parametrize("change", [-1, +1])
def test_publish_file__changes_while_read__is_invalid(tmp_path: Path, change: int) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(12 << 20))

    def tamper(done: int, total: int) -> None:
        with path.open("r+b") as file:
            file.truncate(total + change)

    answer = says(json.dumps({"Hash": "x"}).encode())
    with lying(answer) as node, pytest.raises(InputInvalid, match="while it was read"):
        client(node.url).publish_file(path, tamper)


def test_publish_file__blocks_collected_before_the_pin__is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(3 << 20))
    version = says(b'{"Version":"0.1.0","System":"embedded"}')
    gone = says(MISSING, status="500 Internal Server Error")
    pinned = says(json.dumps({"Pins": [file_cid(bytes(3 << 20)).text()]}).encode())
    with lying(version, says(b""), gone, version, says(b""), pinned) as node:
        published = client(node.url).publish_file(path)
        paths = [request.path.removeprefix("/api/v0/") for request in node.requests]
    assert published.cid == file_cid(bytes(3 << 20)).text()
    assert paths == ["version", "dag/import", "pin/add"] * 2


def test_publish_file__node_says_embedded_and_takes_no_blocks__says_so(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(3 << 20))
    refused = says(b'{"Message":"command not found: dag/import"}', status="500 x")
    with (
        lying(says(b'{"System":"embedded"}'), refused) as node,
        pytest.raises(TallystickError, match="dag/import"),
    ):
        client(node.url).publish_file(path)


def test_publish__breaks_off_once__is_tried_again() -> None:
    good = says(json.dumps({"Hash": CID}).encode())
    with lying(hangs_up, good) as node:
        assert client(node.url).publish_bytes(DATA).cid == CID
        assert len(node.requests) == 2


@pytest.mark.parametrize(
    "script", [says(b"{}"), says(b"[]"), says(b"x"), says(b""), hangs_up, silent]
)
def test_version__not_a_node__is_unavailable(script: Script) -> None:
    with lying(script) as node, pytest.raises(Unavailable):
        client(node.url, 0.3).version()


def test_version__nobody_there__says_what_to_do() -> None:
    with lying(hangs_up) as node:
        pass
    for call in (client(node.url).version, lambda: client(node.url).fetch_bytes(CID, 1)):
        with pytest.raises(Unavailable) as got:
            call()
        assert "tallystick up" in got.value.hint


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:5001", "ftp://x", "http://", "http://x:port", "/ip4/1"]
)
def test_client__not_a_url__is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="IPFS API"):
        IpfsClient(url)


def test_client__url_with_password__authenticates_and_never_shows_it() -> None:
    with lying(says(b'{"Version":"0.1","AgentVersion":"x/1"}')) as node:
        secret = node.url.replace("http://", "http://ann:s%40fe@") + "/prefix"
        assert client(secret).version() == "x/1"
        assert {r.path for r in node.requests} == {"/prefix/api/v0/version", "/prefix/api/v0/id"}
        with pytest.raises(DigestMismatch) as got:
            client(secret).fetch_bytes(CID, 100)
        assert {r.headers["authorization"] for r in node.requests} == {"Basic YW5uOnNAZmU="}
    assert "s@fe" not in str(got.value)
    assert "s%40fe" not in str(got.value)


def test_client__proxy_in_the_environment__is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with lying(says(b'{"Version":"0.1","AgentVersion":"x/1"}')) as node:
        assert client(node.url).version() == "x/1"


@pytest.mark.parametrize(
    "script", [says(DATA), says_chunked(DATA[:7], DATA[7:]), says_chunked(DATA)]
)
def test_fetch_file__answer_of_any_form__arrives(script: Script, tmp_path: Path) -> None:
    with lying(script) as node:
        fetch(node.url, tmp_path / "out")
        assert node.requests[0].options == {
            "arg": CID,
            "offset": "0",
            "length": "300001",
            "hash-on-read": "false",
            "stream-channels": "true",  # of the library, with every call
        }
    assert (tmp_path / "out").read_bytes() == DATA


def test_fetch_file__is_there_already__asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(DATA)
    with lying(hangs_up) as node:
        fetch(node.url, tmp_path / "out")
        assert node.requests == []


def test_fetch_file__malformed_cid__asks_nobody(tmp_path: Path) -> None:
    with lying(hangs_up) as node:
        with pytest.raises(InputInvalid):
            client(node.url).fetch_file(Cid("bafk?arg=x"), tmp_path / "out", SHA256, 1)
        assert node.requests == []
