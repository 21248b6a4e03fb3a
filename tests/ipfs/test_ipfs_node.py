"""The embedded node's RPC over HTTP: Kubo's answers, and refusals of what Kubo would refuse."""

import http.client
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import ipfshttpclient
import pytest

from oracle.errors import DigestMismatch, Unavailable
from oracle.ipfs import car
from oracle.ipfs.cid import Link
from oracle.ipfs.client import IpfsClient
from oracle.ipfs.node import Server
from oracle.ipfs.unixfs import KUBO_DEFAULT, file_cid
from tests.ipfs.conftest import frame, sample

pytestmark = pytest.mark.real  # a server on loopback

V1 = {"cid-version": "1", "raw-leaves": "true", "chunker": "size-1000"}


class Session:
    """Speaks to a node as a test wants to, on one connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)

    def post(
        self, path: str, *contents: bytes, headers: dict[str, str] | None = None, **options: str
    ) -> tuple[int, bytes]:
        mark = frame("xyz")
        body = b"".join(mark.head + content + b"\r\n" for content in contents) + b"--xyz--\r\n"
        query = urlencode({key.replace("_", "-"): value for key, value in options.items()})
        kind = {"Content-Type": mark.content_type} if contents else {}
        self.http.request(
            "POST",
            f"/api/v0/{path}?{query}",
            body=body if contents else None,
            headers={**kind, **(headers or {})},
        )
        response = self.http.getresponse()
        return response.status, response.read()

    def json(self, path: str, *contents: bytes, **options: str) -> dict[str, str]:
        status, text = self.post(path, *contents, **options)
        assert status == 200, text
        return json.loads(text.splitlines()[-1])

    def refusal(self, path: str, *contents: bytes, **options: str) -> str:
        status, text = self.post(path, *contents, **options)
        assert status in (400, 500)
        assert json.loads(text)["Type"] == "error"
        return json.loads(text)["Message"]


@pytest.fixture
def node(embedded: Server) -> Iterator[Session]:
    session = Session(embedded)
    yield session
    session.http.close()


def block_file(node: Session, data: bytes) -> Path:
    blocks = node.server.commands.store.root / "blocks"
    (path,) = [path for path in blocks.rglob("*.data") if path.read_bytes() == data]
    return path


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_node__other_methods__are_refused(node: Session, method: str) -> None:
    node.http.request(method, "/api/v0/version")
    response = node.http.getresponse()
    assert (response.status, response.getheader("Allow")) == (405, "POST")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Referer": "https://evil.example/page"},
        {"Host": "evil.example"},
        {"Host": "evil.example:5001"},
        {"Host": "127.0.0.1.evil.example:5001"},
    ],
)
def test_node__call_that_a_page_could_make__is_forbidden(
    node: Session, headers: dict[str, str]
) -> None:
    assert node.post("version", headers=headers)[0] == 403


def test_node__its_own_origin__is_allowed(node: Session) -> None:
    assert node.post("version", headers={"Origin": node.server.url})[0] == 200


def test_node__other_paths__are_not_found(node: Session) -> None:
    node.http.request("POST", "/webui")
    assert node.http.getresponse().status == 404
    assert "command not found" in node.refusal("swarm/peers")


@pytest.mark.parametrize(
    ("path", "options", "complaint"),
    [
        ("add", {"trickle": "true"}, "trickle"),
        ("add", {"chunker": "rabin"}, "rabin"),
        ("add", {"chunker": "size-0"}, "size-0"),
        ("add", {"chunker": "size-2000000"}, "size-2000000"),
        ("add", {"cid-version": "2"}, "cid-version=2"),
        ("add", {"cid-version": "-1"}, "not a number"),
        ("add", {"hash": "blake3"}, "sha2-256"),
        ("add", {"nocopy": "true"}, "nocopy"),
        ("add", {"pin": "perhaps"}, "not true or false"),
        ("block/put", {"cid-codec": "git-raw"}, "raw and dag-pb"),
        ("block/put", {"mhtype": "sha3-256"}, "sha2-256"),
    ],
)
def test_node__option_it_does_not_do__is_refused_not_ignored(
    node: Session, path: str, options: dict[str, str], complaint: str
) -> None:
    options = {key.replace("-", "_"): value for key, value in options.items()}
    assert complaint in node.refusal(path, b"data", **options)
    assert node.json("repo/stat")["NumObjects"] == 0


@pytest.mark.parametrize("path", ["cat", "block/get", "block/stat", "pin/add", "pin/rm"])
@pytest.mark.parametrize("arg", [None, "", "x", "../../../etc/passwd", "/ipfs/x"])
def test_node__argument_missing_or_malformed__is_refused(
    node: Session, path: str, arg: str | None
) -> None:
    message = node.refusal(path) if arg is None else node.refusal(path, arg=arg)
    assert "required" in message or "invalid cid" in message


@pytest.mark.parametrize("path", ["cat", "block/get", "block/stat", "pin/add"])
def test_node__unknown_cid__says_what_kubo_says_offline(node: Session, path: str) -> None:
    cid = file_cid(b"nobody has this").text()
    expected = f"block was not found locally (offline): ipld: could not find {cid}"
    assert node.refusal(path, arg=cid) == expected


@pytest.mark.parametrize("path", ["add", "block/put"])
def test_node__no_file__is_refused(node: Session, path: str) -> None:
    assert "required" in node.refusal(path)


def test_add__body_cut_off__stores_no_pin(node: Session) -> None:
    mark = frame("xyz")
    node.http.request(
        "POST",
        "/api/v0/add?cid-version=1",
        body=mark.head + b"half of it",
        headers={"Content-Type": mark.content_type},
    )
    assert node.http.getresponse().status == 400
    assert node.json("pin/ls")["Keys"] == {}


def test_block_put__over_two_megabytes__is_refused(node: Session) -> None:
    assert "over 2097152" in node.refusal("block/put", bytes((2 << 20) + 1))


def test_cat__first_block_damaged__is_an_error(node: Session) -> None:
    cid = node.json("add", b"fine bytes", **V1)["Hash"]
    block_file(node, b"fine bytes").write_bytes(b"evil bytes")
    assert "different hash" in node.refusal("cat", arg=cid)
    assert "different hash" in node.refusal("block/get", arg=cid)


def test_cat__later_block_damaged__is_never_served(node: Session, tmp_path: Path) -> None:
    client = IpfsClient(node.server.url, 5, attempts=2, backoff=0.01)
    data = sample(5 << 20)
    path = tmp_path / "in"
    path.write_bytes(data)
    published = client.publish_file(path)
    leaf = data[3 << 20 : 4 << 20]
    block_file(node, leaf).write_bytes(leaf[:-1] + b"!")
    with pytest.raises(DigestMismatch, match="different hash than requested"):
        client.fetch_file(published.cid, tmp_path / "out", published.sha256, published.size)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.part").read_bytes() == data[: 3 << 20]
    client.publish_file(path)
    client.fetch_file(published.cid, tmp_path / "out", published.sha256, published.size)
    assert (tmp_path / "out").read_bytes() == data


def test_cat__by_a_reader_who_checks__is_not_hashed_here(node: Session) -> None:
    cid = node.json("add", b"fine bytes", **V1)["Hash"]
    block_file(node, b"fine bytes").write_bytes(b"evil bytes")
    assert node.post("cat", arg=cid, hash_on_read="false") == (200, b"evil bytes")
    assert "different hash" in node.refusal("cat", arg=cid, hash_on_read="true")


def test_cat__torn_block_by_a_reader_who_checks__is_an_error(node: Session) -> None:
    data = sample(2500)
    cid = node.json("add", data, **V1)["Hash"]
    block_file(node, data[:1000]).write_bytes(data[:999])
    assert "different hash" in node.refusal("cat", arg=cid, hash_on_read="false")


def test_cat__inner_node_damaged__is_an_error_for_everyone(node: Session) -> None:
    cid = node.json("add", sample(2500), **V1)["Hash"]
    root = node.post("block/get", arg=cid)[1]
    block_file(node, root).write_bytes(root[:-1] + b"?")
    assert "different hash" in node.refusal("cat", arg=cid, hash_on_read="false")


def test_add__disk_takes_no_more__is_unavailable_and_leaves_nothing(node: Session) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(Unavailable, match="the node cannot go on"):
            IpfsClient(node.server.url, 5, attempts=1).publish_bytes(sample(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    root = node.server.commands.store.root
    assert [path for path in root.rglob("*") if path.is_file()] == [root / "lock"]


def section(data: bytes, link: Link | None = None) -> bytes:
    return car.prefix(link or file_cid(data), len(data)) + data


def test_dag_import__of_blocks__stores_and_counts_them(node: Session) -> None:
    content = car.HEADER + section(b"one") + section(b"three")
    answer = node.json("dag/import", content, pin_roots="false", stats="true")
    assert answer == {"Stats": {"BlockCount": 2, "BlockBytesCount": 8}}
    assert node.post("block/get", arg=file_cid(b"three").text()) == (200, b"three")


def test_dag_import__without_a_word_about_pins__is_refused(node: Session) -> None:
    assert "pin-roots=false" in node.refusal("dag/import", car.HEADER)


def test_dag_import__bytes_of_another_cid__are_never_served(node: Session) -> None:
    content = car.HEADER + section(b"evil", file_cid(b"good"))
    assert node.post("dag/import", content, pin_roots="false")[0] == 200
    cid = file_cid(b"good").text()
    assert "different hash" in node.refusal("cat", arg=cid)
    assert node.json("add", b"good", **V1)["Hash"] == cid
    assert "not the bytes of" in node.refusal("dag/import", content, pin_roots="false")
    assert node.post("cat", arg=cid) == (200, b"good")


def test_dag_import__cut_off__is_refused(node: Session) -> None:
    content = car.HEADER + section(bytes(5000))
    assert "inside a block" in node.refusal("dag/import", content[:-1500], pin_roots="false")


def test_publish_file__to_an_embedded_node__sends_blocks_that_it_need_not_hash(
    node: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    run = node.server.commands.run
    monkeypatch.setattr(
        node.server.commands, "run", lambda call: commands.append(call.command) or run(call)
    )
    data = sample((2 << 20) + 1)
    (tmp_path / "in").write_bytes(data)
    published = IpfsClient(node.server.url, 5).publish_file(tmp_path / "in")
    assert commands == ["version", "dag/import", "pin/add"]
    assert published.cid == file_cid(data).text()
    assert node.post("cat", arg=published.cid) == (200, data)
    assert list(node.json("pin/ls")["Keys"]) == [published.cid]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, slice(None)),
        ({"offset": "999"}, slice(999, None)),
        ({"offset": "1000", "length": "1"}, slice(1000, 1001)),
        ({"length": "0"}, slice(0, 0)),
        ({"offset": "4999", "length": "99"}, slice(4999, None)),
        ({"offset": "9999"}, slice(9999, None)),
    ],
)
def test_cat__of_a_range__is_that_range(
    node: Session, options: dict[str, str], expected: slice
) -> None:
    data = sample(5000)
    cid = node.json("add", data, **V1)["Hash"]
    assert node.post("cat", arg=cid, **options) == (200, data[expected])


def test_add__kubos_defaults__give_kubos_cid(node: Session) -> None:
    data = sample(262145)
    cid = node.json("add", data)["Hash"]
    assert cid == file_cid(data, KUBO_DEFAULT).text()
    assert cid.startswith("Qm")
    assert node.post("cat", arg=f"/ipfs/{cid}") == (200, data)


def test_add__several_files_chunked__answers_each(node: Session) -> None:
    mark = frame("xyz")
    body = mark.head + b"one\r\n" + mark.head + b"two" + mark.tail
    node.http.request(
        "POST",
        "/api/v0/add?cid-version=1",
        body=iter([body[:50], body[50:51], body[51:]]),
        headers={"Content-Type": mark.content_type},
        encode_chunked=True,
    )
    lines = node.http.getresponse().read().splitlines()
    assert [json.loads(line)["Hash"] for line in lines] == [
        file_cid(b"one").text(),
        file_cid(b"two").text(),
    ]


def test_add__only_hash__stores_nothing(node: Session) -> None:
    answer = node.json("add", b"data", only_hash="true", **V1)
    assert answer["Hash"] == file_cid(b"data").text()
    assert node.json("repo/stat")["NumObjects"] == 0


def test_block_put__then_get_and_stat__is_the_block(node: Session) -> None:
    put = node.json("block/put", b"\x00block\xff")
    assert put == {"Key": file_cid(b"\x00block\xff").text(), "Size": 7}
    assert node.post("block/get", arg=put["Key"]) == (200, b"\x00block\xff")
    assert node.json("block/stat", arg=put["Key"]) == put


def test_gc__drops_what_is_not_pinned(node: Session) -> None:
    kept, lost = node.json("add", b"kept", **V1), node.json("add", b"lost", pin="false", **V1)
    gone = node.json("repo/gc")
    assert set(gone) == {"Key"}
    assert node.json("pin/ls")["Keys"] == {kept["Hash"]: {"Type": "recursive"}}
    assert node.post("cat", arg=kept["Hash"]) == (200, b"kept")
    assert "could not find" in node.refusal("cat", arg=lost["Hash"])


def test_pin_ls__of_one__tells_whether_it_is_pinned(node: Session) -> None:
    cid = node.json("add", b"kept", **V1)["Hash"]
    assert cid in node.json("pin/ls", arg=cid)["Keys"]
    node.json("pin/rm", arg=cid)
    assert "is not pinned" in node.refusal("pin/ls", arg=cid)
    assert node.refusal("pin/rm", arg=cid) == "not pinned or pinned indirectly"


@pytest.mark.filterwarnings("ignore:The 'strict' parameter")  # the library's own
def test_node__spoken_to_by_ipfshttpclient__answers_it(node: Session) -> None:
    port = node.server.port
    library = ipfshttpclient.Client(f"/ip4/127.0.0.1/tcp/{port}/http")
    data = sample(3000)
    cid = library.add_bytes(
        data, opts={"cid-version": "1", "raw-leaves": "true", "chunker": "size-1000"}
    )
    assert library.cat(cid) == data
    assert library.cat(cid, offset=10, length=5) == data[10:15]
    assert library.block.stat(cid)["Key"] == cid
    assert cid in library.pin.ls()["Keys"]
    assert library.repo.stat()["NumObjects"] == 4
    assert library.version()["Version"]
