"""The unchanged ipfshttpclient against the embedded node: each row of the table in docs/ipfs.md."""

import inspect
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipfshttpclient
import pytest

from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.cid import parse
from oracle.ipfs.node import Server
from tests.ipfs import ipfs_nodes as nodes
from tests.ipfs.conftest import sample

pytestmark = [
    pytest.mark.real,  # nodes on loopback
    pytest.mark.filterwarnings("ignore:The 'strict' parameter"),  # the library's own
]

DOCUMENT = Path(__file__).parents[2] / "docs" / "ipfs.md"
EMPTY_FOLDER = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"  # Kubo's
DATA = sample(600_000)  # three chunks of Kubo's default
SECTIONS = [
    "bitswap",
    "block",
    "bootstrap",
    "config",
    "dag",
    "dht",
    "files",
    "key",
    "name",
    "object",
    "pin",
    "pubsub",
    "repo",
    "swarm",
]
NO_CALL = {"close", "apply_workarounds"}


def add(client: Any, folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(DATA)
    assert client.add(path)["Name"] == "file"
    assert client.add(str(path), only_hash=True)["Hash"] == client.add(path)["Hash"]
    tree = folder / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "a").write_bytes(b"a")
    (tree / "deep" / "b").write_bytes(DATA)
    answers = {item["Name"]: item["Hash"] for item in client.add(str(tree), recursive=True)}
    assert list(answers)[-1] == "tree"
    assert set(answers) == {"tree", "tree/a", "tree/deep", "tree/deep/b"}
    assert client.cat(f"{answers['tree']}/deep/b") == DATA
    assert answers["tree"] in client.pin.ls()["Keys"]
    client.repo.gc()
    assert client.cat(f"/ipfs/{answers['tree']}/deep/b") == DATA
    wrapped = client.add(str(tree / "a"), wrap_with_directory=True)
    assert [item["Name"] for item in wrapped] == ["a", ""]
    assert client.cat(f"{wrapped[-1]['Hash']}/a") == b"a"
    assert len(client.add(str(path), str(tree / "a"))) == 2


def add_bytes(client: Any, _: Path) -> None:
    # as in the documentation of the library
    cid = client.add_bytes(b"Mary had a little lamb")
    assert cid == "QmZfF6C9j4VtoCsTp4KSrhYH47QMd3DNXVZBKaxJdhaPab"


def add_str(client: Any, _: Path) -> None:
    cid = client.add_str("Mary had a little lamb")
    assert cid == "QmZfF6C9j4VtoCsTp4KSrhYH47QMd3DNXVZBKaxJdhaPab"


def add_json(client: Any, _: Path) -> None:
    cid = client.add_json({"one": 1, "two": 2, "three": 3})
    assert client.cat(cid) == b'{"one":1,"three":3,"two":2}'


def get_json(client: Any, _: Path) -> None:
    assert client.get_json(client.add_json({"one": [1, 2]})) == {"one": [1, 2]}


def get(client: Any, folder: Path) -> None:
    tree = folder / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "b").write_bytes(DATA)
    (tree / "empty").write_bytes(b"")
    cid = client.add(str(tree), recursive=True)[-1]["Hash"]
    client.get(cid, target=folder / "out")
    assert (folder / "out" / cid / "deep" / "b").read_bytes() == DATA
    assert (folder / "out" / cid / "empty").read_bytes() == b""
    client.get(client.add_bytes(DATA), target=folder / "one")
    assert [path.read_bytes() for path in (folder / "one").iterdir()] == [DATA]


def ls(client: Any, folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "a").write_bytes(DATA)
    cid = client.add(str(folder), recursive=True)[-1]["Hash"]
    links = client.ls(cid)["Objects"][0]["Links"]
    told = [(link["Name"], link["Size"], link["Type"]) for link in links]
    assert told == [("a", len(DATA), 2), ("deep", 0, 1)]


def cat(client: Any, _: Path) -> None:
    cid = client.add_bytes(DATA)
    assert client.cat(cid) == DATA
    assert client.cat(cid, offset=262_000, length=1000) == DATA[262_000:263_000]
    assert b"".join(client.cat(cid, stream=True)) == DATA


def resolve(client: Any, folder: Path) -> None:
    (folder / "a").write_bytes(b"a")
    cid = client.add(str(folder), recursive=True)[-1]["Hash"]
    assert client.resolve(f"/ipfs/{cid}/a")["Path"] == f"/ipfs/{client.add_bytes(b'a')}"


def identity(client: Any, _: Path) -> None:
    assert client.id()["AgentVersion"].startswith("tallystick-embedded/")


def version(client: Any, _: Path) -> None:
    ipfshttpclient.assert_version(client.version()["Version"])


def pin_add(client: Any, _: Path) -> None:
    cids = [client.add_bytes(data, opts={"pin": False}) for data in (b"one", DATA)]
    assert client.pin.add(*cids)["Pins"] == cids
    client.repo.gc()
    assert client.cat(cids[1]) == DATA


def pin_ls(client: Any, _: Path) -> None:
    cid = client.add_bytes(DATA)
    assert client.pin.ls()["Keys"] == {cid: {"Type": "recursive"}}
    assert len(client.pin.ls(type="indirect")["Keys"]) == 3
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="is not pinned"):
        client.pin.ls(EMPTY_FOLDER)


def pin_rm(client: Any, _: Path) -> None:
    cid = client.add_bytes(b"gone")
    assert client.pin.rm(cid)["Pins"] == [cid]
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="not pinned"):
        client.pin.rm(cid)


def pin_update(client: Any, _: Path) -> None:
    old, new = client.add_bytes(b"old"), client.add_bytes(b"new", opts={"pin": False})
    assert client.pin.update(old, new)["Pins"] == [old, new]
    assert list(client.pin.ls()["Keys"]) == [new]


def pin_verify(client: Any, _: Path) -> None:
    cid = client.add_bytes(b"sound")
    with client.pin.verify(cid, verbose=True) as found:
        assert [item.as_json() for item in found] == [{"Cid": cid, "Ok": True}]


def block_put(client: Any, _: Path) -> None:
    assert client.block.put(io.BytesIO(b"raw"))["Key"].startswith("bafk")
    # as in the documentation of the library, whose Kubo had another default
    put = client.block.put(io.BytesIO(b"Mary had a little lamb"), opts={"format": "v0"})
    assert put["Key"] == "QmeV6C6XVt1wf7V7as7Yak3mxPma8jzpqyhtRtCvpKcfBb"


def block_get(client: Any, _: Path) -> None:
    assert client.block.get(client.block.put(io.BytesIO(b"raw"))["Key"]) == b"raw"


def block_stat(client: Any, _: Path) -> None:
    assert client.block.stat(client.block.put(io.BytesIO(b"raw"))["Key"])["Size"] == 3


def dag_put(client: Any, _: Path) -> None:
    inner = client.dag.put(io.BytesIO(b'{"deep": [1, "two", null, 1.5]}'))["Cid"]["/"]
    outer = json.dumps({"link": {"/": inner}, "bytes": {"/": {"bytes": "AAE"}}}).encode()
    cid = client.dag.put(io.BytesIO(outer))["Cid"]["/"]
    assert cid.startswith("bafyrei")
    assert client.dag.get(cid)["link"] == {"/": inner}
    client.pin.add(cid)
    client.repo.gc()
    assert client.dag.get(f"{cid}/link").as_json() == {"deep": [1, "two", None, 1.5]}


def dag_get(client: Any, _: Path) -> None:
    root = client.dag.get(client.add_bytes(DATA))
    assert [link["Tsize"] for link in root["Links"]] == [262158, 262158, 75726]


def dag_resolve(client: Any, _: Path) -> None:
    cid = client.dag.put(io.BytesIO(b'{"a": {"b": 1}}'))["Cid"]["/"]
    assert client.dag.resolve(f"{cid}/a/b").as_json() == {"Cid": {"/": cid}, "RemPath": "a/b"}


def dag_export(client: Any, _: Path) -> None:
    assert DATA[:200_000] in client.dag.export(client.add_bytes(DATA))


def dag_import(client: Any, _: Path) -> None:
    cid = client.add_bytes(DATA)
    stream = client.dag.export(cid)
    client.pin.rm(cid)
    client.repo.gc()
    assert client.dag.imprt(io.BytesIO(stream))["Root"]["Cid"]["/"] == cid
    client.repo.gc()
    assert client.cat(cid) == DATA


def object_new(client: Any, _: Path) -> None:
    assert client.object.new()["Hash"] == "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"  # Kubo's
    assert client.object.new("unixfs-dir")["Hash"] == EMPTY_FOLDER


def object_get(client: Any, _: Path) -> None:
    assert len(client.object.get(client.add_bytes(DATA))["Links"]) == 3


def object_data(client: Any, _: Path) -> None:
    assert client.object.data(client.object.new("unixfs-dir")["Hash"]) == b"\x08\x01"


def object_links(client: Any, _: Path) -> None:
    links = client.object.links(client.add_bytes(DATA))["Links"]
    assert [link["Size"] for link in links] == [262158, 262158, 75726]


def object_stat(client: Any, _: Path) -> None:
    assert client.object.stat(client.add_bytes(DATA))["NumLinks"] == 3


def object_put(client: Any, _: Path) -> None:
    put = client.object.put(io.BytesIO(b'{"Data": "another", "Links": []}'))
    assert client.object.data(put["Hash"]) == b"another"


def patched(client: Any) -> str:
    return client.object.new("unixfs-dir")["Hash"]


def patch_add_link(client: Any, _: Path) -> None:
    cid = client.object.patch.add_link(patched(client), "a", client.add_bytes(b"a"))["Hash"]
    assert client.cat(f"{cid}/a") == b"a"


def patch_rm_link(client: Any, _: Path) -> None:
    cid = client.object.patch.add_link(patched(client), "a", client.add_bytes(b"a"))["Hash"]
    assert client.object.patch.rm_link(cid, "a")["Hash"] == EMPTY_FOLDER


def patch_set_data(client: Any, _: Path) -> None:
    cid = client.object.patch.set_data(client.object.new()["Hash"], io.BytesIO(b"new"))["Hash"]
    assert client.object.data(cid) == b"new"


def patch_append_data(client: Any, _: Path) -> None:
    cid = client.object.patch.set_data(client.object.new()["Hash"], io.BytesIO(b"new"))["Hash"]
    cid = client.object.patch.append_data(cid, io.BytesIO(b"er"))["Hash"]
    assert client.object.data(cid) == b"newer"


def files_mkdir(client: Any, _: Path) -> None:
    client.files.mkdir("/a/b", parents=True)
    client.files.mkdir("/a/b", parents=True)
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="already exists"):
        client.files.mkdir("/a")


def files_write(client: Any, _: Path) -> None:
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="does not exist"):
        client.files.write("/file", io.BytesIO(b"x"))
    client.files.write("/file", io.BytesIO(DATA), create=True)
    client.files.write("/file", io.BytesIO(b"over"), offset=300_000)
    assert client.files.read("/file") == DATA[:300_000] + b"over" + DATA[300_004:]
    client.files.write("/file", io.BytesIO(b"short"), truncate=True)
    client.files.write("/file", io.BytesIO(b"er, only two"), offset=5, count=2)
    assert client.files.read("/file") == b"shorter"


def files_read(client: Any, _: Path) -> None:
    client.files.write("/file", io.BytesIO(DATA), create=True)
    assert client.files.read("/file", offset=262_000, count=1000) == DATA[262_000:263_000]


def files_ls(client: Any, _: Path) -> None:
    client.files.write("/b", io.BytesIO(b"abc"), create=True)
    client.files.mkdir("/a")
    assert [entry["Name"] for entry in client.files.ls("/")["Entries"]] == ["a", "b"]
    long = client.files.ls("/", opts={"long": True})["Entries"]
    assert [(entry["Type"], entry["Size"]) for entry in long] == [(1, 0), (0, 3)]


def files_stat(client: Any, _: Path) -> None:
    assert client.files.stat("/")["Hash"] == EMPTY_FOLDER
    client.files.write("/file", io.BytesIO(DATA), create=True)
    told = client.files.stat("/file")
    assert (told["Size"], told["Type"], told["Blocks"]) == (len(DATA), "file", 3)
    assert told["Hash"] == client.add_bytes(DATA)


def files_cp(client: Any, _: Path) -> None:
    client.files.cp(f"/ipfs/{client.add_bytes(DATA, opts={'pin': False})}", "/file")
    client.files.cp("/file", "/copy")
    client.repo.gc()
    assert client.files.read("/copy") == DATA


def files_mv(client: Any, _: Path) -> None:
    client.files.write("/file", io.BytesIO(b"x"), create=True)
    client.files.mkdir("/a")
    client.files.mv("/file", "/a/")
    assert client.files.read("/a/file") == b"x"
    assert [entry["Name"] for entry in client.files.ls("/")["Entries"]] == ["a"]
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="into itself"):
        client.files.mv("/a", "/a/b")


def files_rm(client: Any, _: Path) -> None:
    client.files.mkdir("/a/b", parents=True)
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="is a directory"):
        client.files.rm("/a")
    client.files.rm("/a", recursive=True)
    assert client.files.stat("/")["Hash"] == EMPTY_FOLDER


def repo_stat(client: Any, _: Path) -> None:
    client.add_bytes(b"x")
    assert client.repo.stat()["NumObjects"] == 1


def repo_gc(client: Any, _: Path) -> None:
    client.add_bytes(b"lost", opts={"pin": False})
    assert len(client.repo.gc()) == 1
    assert client.repo.gc(quiet=True) is None


WORKS: dict[str, Callable[[Any, Path], None]] = {
    **{f.__name__: f for f in (add, add_bytes, add_str, add_json, get_json, get, ls, cat, resolve)},
    "id": identity,
    "version": version,
    **{f"pin.{f.__name__[4:]}": f for f in (pin_add, pin_ls, pin_rm, pin_update, pin_verify)},
    **{f"block.{f.__name__[6:]}": f for f in (block_put, block_get, block_stat)},
    **{f"dag.{f.__name__[4:]}": f for f in (dag_put, dag_get, dag_resolve, dag_export)},
    "dag.imprt": dag_import,
    **{f"object.{f.__name__[7:]}": f for f in (object_new, object_get, object_data)},
    **{f"object.{f.__name__[7:]}": f for f in (object_links, object_stat, object_put)},
    "object.patch.add_link": patch_add_link,
    "object.patch.rm_link": patch_rm_link,
    "object.patch.set_data": patch_set_data,
    "object.patch.append_data": patch_append_data,
    **{f"files.{f.__name__[6:]}": f for f in (files_mkdir, files_write, files_read, files_ls)},
    **{f"files.{f.__name__[6:]}": f for f in (files_stat, files_cp, files_mv, files_rm)},
    **{f"repo.{f.__name__[5:]}": f for f in (repo_stat, repo_gc)},
}


@pytest.fixture
def client(embedded: Server) -> Iterator[Any]:
    """The library, connected as its users connect it, to a node of its own."""
    with ipfshttpclient.connect(f"/ip4/127.0.0.1/tcp/{embedded.port}") as connected:
        yield connected


def documented() -> dict[str, bool]:
    """Return the table: each call, and whether it works."""
    rows = re.findall(r"^\| (`.+?`) \| (yes|no)\b", DOCUMENT.read_text(), re.MULTILINE)
    return {name: told == "yes" for names, told in rows for name in re.findall(r"`(.+?)`", names)}


def calls_of_the_library() -> set[str]:
    """Return every call that the library has, those of sections with a dot."""
    places: dict[str, Any] = {"": ipfshttpclient.Client}
    places |= {f"{name}.": getattr(ipfshttpclient.Client, name)(None) for name in SECTIONS}
    places["object.patch."] = places["object."].patch
    found = set()
    for prefix, place in places.items():
        for name, value in inspect.getmembers(place if not prefix else type(place)):
            if inspect.isfunction(value) and name[0] != "_" and name not in NO_CALL:
                found.add(prefix + name)
    return found


def test_table__names_every_call_of_the_library() -> None:
    assert set(documented()) == calls_of_the_library()


def test_table__what_works__is_what_is_tested_here() -> None:
    assert {name for name, works in documented().items() if works} == set(WORKS)


@pytest.mark.parametrize("name", WORKS)
def test_call__that_the_table_says_works__works(name: str, client: Any, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    WORKS[name](client, folder)


def test_calls__that_the_table_says_do_not__are_refused_with_a_reason(client: Any) -> None:
    for name in (name for name, works in documented().items() if not works):
        call: Any = client
        for part in name.split("."):
            call = getattr(call, part)
        needed = [
            parameter
            for parameter in inspect.signature(call).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="command not found"):
            list(call(*["x"] * len(needed)) or ())


def test_mutable_files__node_is_killed__are_there_again(tmp_path: Path) -> None:
    for step in range(3):
        node = nodes.embedded(tmp_path / "repo")
        address = f"/ip4/127.0.0.1/tcp/{node.url.rpartition(':')[2]}"
        with ipfshttpclient.connect(address) as client:
            assert len(client.files.ls("/")["Entries"]) == step
            client.files.write(f"/{step}", io.BytesIO(DATA), create=True)
            client.repo.gc()
        node.kill()
    store = BlockStore(tmp_path / "repo")
    assert len(list(store.walk(parse(store.mutable_root())))) == 1 + 1 + 3
    store.close()


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "a/./b", "a/" * 129 + "b"])
def test_add__path_that_leads_out_or_is_too_deep__is_refused(client: Any, name: str) -> None:
    body = (
        f'--x\r\nContent-Disposition: form-data; filename="{name}"\r\n\r\ndata\r\n--x--\r\n'
    ).encode()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="invalid path"):
        client._client.request("/add", data=body, headers=headers, decoder="json")
    with pytest.raises(ipfshttpclient.exceptions.ErrorResponse, match="invalid path"):
        client.files.write(f"/{name}", io.BytesIO(b"data"), create=True)
