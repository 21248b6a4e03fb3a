"""The commands of the embedded node: Kubo's RPC subset, from parsed arguments to an answer.

Knows nothing of HTTP. Names, options and answers are Kubo's (docs.ipfs.tech/reference/kubo/rpc);
an option that would change the result and is not spoken here is refused, never ignored. This file
has files, pins and the repository; `dag_commands.py` blocks, DAGs and objects, `mfs_commands.py`
the mutable files.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from python_multipart.multipart import parse_options_header

from oracle.errors import DigestMismatch, InputInvalid, NotFound
from oracle.ipfs import dag_commands, files, mfs_commands
from oracle.ipfs.archive import tar
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.call import Answer, ApiCall, Bytes
from oracle.ipfs.cid import RAW, Link
from oracle.ipfs.folders import FolderTree, Item, read_folder, resolve
from oracle.ipfs.mfs import MutableFiles
from oracle.ipfs.unixfs import Layout

NODE_VERSION = "0.1.0"
AGENT = f"tallystick-embedded/{NODE_VERSION}"
# The last Kubo that ipfshttpclient 0.7.0 connects to (below 0.8), whose answers these are
KUBO_VERSION = "0.7.0"
_MAX_CHUNK = 1 << 20  # bytes, as Kubo's

# What a command listens to; `_NEUTRAL` is heard everywhere and changes nothing here
_OPTIONS = {
    "add": {
        *("cid-version", "raw-leaves", "chunker", "pin", "only-hash", "hash", "max-file-links"),
        "wrap-with-directory",
    },
    "cat": {"offset", "length", "hash-on-read"},
    "get": {"archive", "compress", "compression-level"},
    "pin/update": {"unpin"},
    "pin/verify": {"verbose"},
    "block/put": {"cid-codec", "format", "mhtype", "pin"},
    "dag/import": {"pin-roots", "stats"},
    "dag/put": {"format", "store-codec", "input-enc", "input-codec", "pin", "hash"},
    "object/put": {"inputenc", "pin"},
    "object/patch/add-link": {"create"},
    "files/ls": {"long", "U"},
    "files/mkdir": {"parents", "flush"},
    "files/cp": {"parents", "flush"},
    "files/mv": {"flush"},
    "files/rm": {"force"},
    "files/read": {"offset", "count"},
    "files/write": {"offset", "create", "truncate", "count", "parents", "flush"},
}
_NEUTRAL = {
    *("arg", "stream-channels", "encoding", "offline", "progress", "quiet", "quieter", "silent"),
    *("stream", "timeout", "type", "size-only", "human", "recursive"),
}
_ONLY_FALSE = {"trickle", "nocopy", "fscache", "inline"}


class Commands:
    """What the node does, by command path."""

    def __init__(self, store: BlockStore) -> None:
        self.store, self.mutable = store, MutableFiles(store)

    def run(self, call: ApiCall) -> Answer:
        """Run one command.

        Raises:
            NotFound: no such command, block or pin.
            InputInvalid: an argument or option does not fit.
            DigestMismatch: a block is damaged.
        """
        path = call.command
        run = self._command(path)
        known = _NEUTRAL | _OPTIONS.get(path, set())
        for name, value in call.options.items():
            if name not in known and not (name in _ONLY_FALSE and value.lower() == "false"):
                raise InputInvalid(
                    f"the embedded node does not do {name[:40]}={value[:40]} in {path}"
                )
        return run(call)

    def _command(self, path: str) -> Callable[[ApiCall], Answer]:
        if path in _TABLE:
            return lambda call: _TABLE[path](self, call)
        if path in dag_commands.TABLE:
            return lambda call: dag_commands.TABLE[path](self.store, call)
        if path in mfs_commands.TABLE:
            return lambda call: mfs_commands.TABLE[path](self.mutable, call)
        raise NotFound(f"command not found: {path[:80]}", hint="see docs/ipfs.md")

    def _add(self, call: ApiCall) -> Answer:
        layout = _layout(call)
        pin, keep = call.flag("pin", True), not call.flag("only-hash", False)
        answers: list[dict[str, Any]] = []
        tree, wrap = FolderTree(), call.flag("wrap-with-directory", False)
        with self.store.writing():
            for part in call.parts():
                path, is_folder = _path_of(part.headers)
                if is_folder:
                    tree.put(path, None)
                    continue
                alone = pin and not wrap and len(path) < 2
                root = files.add(self.store, part.read_into, layout, pin=alone, keep=keep)
                item = Item(root.link, root.total)
                tree.put(path or [root.link.text()], item)
                answers.append(_added("/".join(path) or root.link.text(), item))
            version, below = layout.cid_version, tree.entries.items()
            tops = [("", tree)] if wrap else [(n, e) for n, e in below if isinstance(e, FolderTree)]
            for name, top in tops:
                for at, item in top.store(self.store, version, keep=keep, path=name):
                    answers.append(_added(at, item))
                if pin and keep:
                    self.store.pin(item.link)
        return answers

    def _cat(self, call: ApiCall) -> Answer:
        link = resolve(self.store, call.arg())
        size = files.size(self.store, link)
        start = min(call.number("offset", 0), size)
        stop = min(size, start + call.number("length", size))
        check = call.flag("hash-on-read", True)  # ours; Kubo has a setting of that name
        return Bytes(stop - start, files.read(self.store, link, start, stop, check=check))

    def _get(self, call: ApiCall) -> Answer:
        name = call.arg().rstrip("/").rpartition("/")[2]
        link = resolve(self.store, call.arg())
        pieces = tar(self.store, link, name, compress=call.flag("compress", False))
        return Bytes(-1, pieces, "application/x-tar")

    def _ls(self, call: ApiCall) -> Answer:
        objects = []
        for arg in call.args or (call.arg(),):
            items = read_folder(self.store, resolve(self.store, arg)) or {}
            links = [self._entry(name, item) for name, item in items.items()]
            objects.append({"Hash": arg, "Links": links})
        return [{"Objects": objects}]

    def _entry(self, name: str, item: Item) -> dict[str, Any]:
        folder = read_folder(self.store, item.link) is not None
        size = 0 if folder else files.size(self.store, item.link)
        told = {"Name": name, "Hash": item.link.text(), "Size": size, "Type": 1 if folder else 2}
        return {**told, "Target": ""}

    def _resolve(self, call: ApiCall) -> Answer:
        return [{"Path": f"/ipfs/{resolve(self.store, call.arg()).text()}"}]

    def _pin_add(self, call: ApiCall) -> Answer:
        links = self._links(call)
        for link in links:
            if link.codec != RAW and not call.flag("recursive", True):
                raise InputInvalid("the embedded node does not do recursive=false in pin/add")
            self.store.pin(link)
        return [{"Pins": [link.text() for link in links]}]

    def _pin_rm(self, call: ApiCall) -> Answer:
        links = self._links(call)
        for link in links:
            if not self.store.unpin(link):
                raise NotFound("not pinned or pinned indirectly")
        return [{"Pins": [link.text() for link in links]}]

    def _pin_ls(self, call: ApiCall) -> Answer:
        pins, kind = self.store.pins(), call.options.get("type", "all")
        if kind not in ("all", "recursive", "direct", "indirect"):
            raise InputInvalid(f"invalid type {kind[:40]!r}: recursive, direct, indirect or all")
        shown = {link.text(): "recursive" for link in pins if kind in ("all", "recursive")}
        if kind == "indirect":
            below = {link.text(): kind for pin in pins for link in self.store.walk(pin)}
            shown = {cid: kind for cid in below if cid not in {pin.text() for pin in pins}}
        if call.args:
            asked = [link.text() for link in self._links(call)]
            for cid in asked:
                if cid not in shown:
                    raise NotFound(f"path '{cid}' is not pinned")
            shown = {cid: shown[cid] for cid in asked}
        return [{"Keys": {cid: {"Type": value} for cid, value in shown.items()}}]

    def _pin_update(self, call: ApiCall) -> Answer:
        old, new = resolve(self.store, call.arg()), resolve(self.store, call.arg(1))
        if old not in self.store.pins():
            raise NotFound("'from' cid was not recursively pinned already")
        self.store.pin(new)
        if call.flag("unpin", True) and old != new:
            self.store.unpin(old)
        return [{"Pins": [old.text(), new.text()]}]

    def _pin_verify(self, call: ApiCall) -> Answer:
        answers: list[dict[str, Any]] = []
        for pin in self._links(call) if call.args else self.store.pins():
            try:
                for link in self.store.walk(pin):
                    self.store.get(link)  # hashes the leaves, too
            except (NotFound, DigestMismatch) as error:
                bad = {"Cid": pin.text(), "Err": str(error)}
                answers.append({"Cid": pin.text(), "Ok": False, "BadNodes": [bad]})
            else:
                if call.flag("verbose", False):
                    answers.append({"Cid": pin.text(), "Ok": True})
        return answers

    def _links(self, call: ApiCall) -> list[Link]:
        return [resolve(self.store, arg) for arg in (call.args or (call.arg(),))]

    def _repo_stat(self, _: ApiCall) -> Answer:
        count, size = self.store.stat()
        told = {"NumObjects": count, "RepoSize": size, "RepoPath": str(self.store.root)}
        return [{**told, "StorageMax": 0, "Version": "fs-repo@10"}]

    def _repo_gc(self, _: ApiCall) -> Answer:
        return [{"Key": {"/": key}} for key in self.store.collect()]

    def _version(self, _: ApiCall) -> Answer:
        return [{"Version": KUBO_VERSION, "Commit": "", "Repo": "10", "System": "embedded"}]

    def _id(self, call: ApiCall) -> Answer:
        if call.args:
            raise InputInvalid("the embedded node does not do id of another node")
        told = {"ID": "embedded", "PublicKey": "", "Addresses": [], "AgentVersion": AGENT}
        return [{**told, "ProtocolVersion": ""}]


_TABLE: dict[str, Callable[[Commands, ApiCall], Answer]] = {
    "add": Commands._add,
    "cat": Commands._cat,
    "get": Commands._get,
    "ls": Commands._ls,
    "resolve": Commands._resolve,
    "pin/add": Commands._pin_add,
    "pin/rm": Commands._pin_rm,
    "pin/ls": Commands._pin_ls,
    "pin/update": Commands._pin_update,
    "pin/verify": Commands._pin_verify,
    "repo/stat": Commands._repo_stat,
    "repo/gc": Commands._repo_gc,
    "version": Commands._version,
    "id": Commands._id,
}


def _added(name: str, item: Item) -> dict[str, Any]:
    return {"Name": name, "Hash": item.link.text(), "Size": str(item.total)}


def _path_of(headers: dict[str, str]) -> tuple[list[str], bool]:
    """Return where a part belongs, and whether it is a folder."""
    _, options = parse_options_header(headers.get("content-disposition", ""))
    name = unquote(options.get(b"filename", b"").decode(errors="replace"))
    path = [piece for piece in name.split("/") if piece]
    return path, headers.get("content-type", "").startswith("application/x-directory")


def _layout(call: ApiCall) -> Layout:
    version, chunker = call.number("cid-version", 0), call.options.get("chunker", "size-262144")
    chunk = int(chunker[5:]) if chunker.startswith("size-") and chunker[5:].isdigit() else 0
    if version > 1 or not 0 < chunk <= _MAX_CHUNK:
        raise InputInvalid(f"the embedded node does not do cid-version={version} chunker={chunker}")
    if (
        call.options.get("hash", "sha2-256") != "sha2-256"
        or call.options.get("max-file-links", "174") != "174"
    ):
        raise InputInvalid("the embedded node does sha2-256 and 174 links per node, nothing else")
    return Layout(version, call.flag("raw-leaves", version == 1), chunk)
