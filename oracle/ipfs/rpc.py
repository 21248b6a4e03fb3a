"""The commands of the embedded node: Kubo's RPC subset, from parsed arguments to an answer.

Knows nothing of HTTP. Names, options and answers are Kubo's (docs.ipfs.tech/reference/kubo/rpc);
an option that would change the result and is not spoken here is refused, never ignored.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oracle.errors import InputInvalid, NotFound
from oracle.ipfs import car, files
from oracle.ipfs.blockstore import MAX_STORED, BlockStore
from oracle.ipfs.cid import DAG_PB, RAW, Link, parse
from oracle.ipfs.multipart import Reader
from oracle.ipfs.unixfs import Layout, leaf_entry

NODE_VERSION = "0.1.0"
AGENT = f"tallystick-embedded/{NODE_VERSION}"
_MAX_CHUNK = 1 << 20  # bytes, as Kubo's

# What a command listens to; `_NEUTRAL` is heard everywhere and changes nothing here
_OPTIONS = {
    "add": {"cid-version", "raw-leaves", "chunker", "pin", "only-hash", "hash", "max-file-links"},
    "cat": {"offset", "length", "hash-on-read"},
    "block/put": {"cid-codec", "mhtype", "pin"},
    "dag/import": {"pin-roots", "stats"},
}
_NEUTRAL = {
    *("arg", "stream-channels", "encoding", "offline", "progress", "quiet", "quieter", "silent"),
    *("stream", "timeout", "type", "size-only", "human", "recursive"),
}
_ONLY_FALSE = {"trickle", "wrap-with-directory", "nocopy", "fscache", "inline"}


@dataclass(frozen=True, slots=True)
class Bytes:
    """An answer of `size` bytes, streamed."""

    size: int
    pieces: Iterator[bytes]


Answer = list[dict[str, Any]] | Bytes
Options = Mapping[str, str]
Command = Callable[["Commands", Options, Reader | None], Answer]


class Commands:
    """What the node does, by command path."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store

    def run(self, path: str, options: Options, body: Reader | None) -> Answer:
        """Run one command.

        Raises:
            NotFound: no such command, block or pin.
            InputInvalid: an argument or option does not fit.
            DigestMismatch: a block is damaged.
        """
        command = _TABLE.get(path)
        if command is None:
            raise NotFound(f"command not found: {path[:80]}", hint="see docs/ipfs.md")
        known = _NEUTRAL | _OPTIONS.get(path, set())
        for name, value in options.items():
            if name not in known and not (name in _ONLY_FALSE and value == "false"):
                raise InputInvalid(
                    f"the embedded node does not do {name[:40]}={value[:40]} in {path}"
                )
        return command(self, options, body)

    def _add(self, options: Options, body: Reader | None) -> Answer:
        layout = _layout(options)
        pin, keep = _flag(options, "pin", True), not _flag(options, "only-hash", False)
        answers: list[dict[str, Any]] = []
        reader = _need(body)
        while reader.next_part():
            root = files.add(self._store, reader.read_into, layout, pin=pin, keep=keep)
            cid = root.link.text()
            answers.append({"Name": cid, "Hash": cid, "Size": str(root.total)})
        if not answers:
            raise InputInvalid("file argument 'path' is required")
        return answers

    def _cat(self, options: Options, _: Reader | None) -> Answer:
        link = _argument(options)
        size = files.size(self._store, link)
        start = min(_number(options, "offset", 0), size)
        stop = min(size, start + _number(options, "length", size))
        check = _flag(options, "hash-on-read", True)  # ours; Kubo has a setting of that name
        return Bytes(stop - start, files.read(self._store, link, start, stop, check=check))

    def _block_get(self, options: Options, _: Reader | None) -> Answer:
        data = self._store.get(_argument(options))
        return Bytes(len(data), iter((data,)))

    def _block_put(self, options: Options, body: Reader | None) -> Answer:
        codec = {"raw": RAW, "dag-pb": DAG_PB}.get(options.get("cid-codec", "raw"))
        if codec is None or options.get("mhtype", "sha2-256") != "sha2-256":
            raise InputInvalid("the embedded node puts raw and dag-pb blocks with sha2-256")
        answers: list[dict[str, Any]] = []
        reader = _need(body)
        while reader.next_part():
            buffer = bytearray(MAX_STORED + 1)
            count = reader.read_into(buffer)
            if count > MAX_STORED:
                raise InputInvalid(f"produced block is over {MAX_STORED} bytes")
            data = memoryview(buffer)[:count]
            link = Link(codec, leaf_entry(data, Layout()).link.digest)
            with self._store.writing():
                self._store.put(link, data)
                if _flag(options, "pin", False):
                    self._store.pin(link)
            answers.append({"Key": link.text(), "Size": count})
        if not answers:
            raise InputInvalid("file argument 'data' is required")
        return answers

    def _block_stat(self, options: Options, _: Reader | None) -> Answer:
        link = _argument(options)
        return [{"Key": link.text(), "Size": self._store.size(link)}]

    def _dag_import(self, options: Options, body: Reader | None) -> Answer:
        if _flag(options, "pin-roots", True):
            raise InputInvalid("the embedded node pins with pin/add: say pin-roots=false")
        reader, blocks, size = _need(body), 0, 0
        while reader.next_part():
            found = files.take(self._store, car.Reader(reader))
            blocks, size = blocks + found[0], size + found[1]
        stats = {"BlockCount": blocks, "BlockBytesCount": size}
        return [{"Stats": stats}] if _flag(options, "stats", False) else []

    def _pin_add(self, options: Options, _: Reader | None) -> Answer:
        link = _argument(options)
        self._store.pin(link)
        return [{"Pins": [link.text()]}]

    def _pin_rm(self, options: Options, _: Reader | None) -> Answer:
        link = _argument(options)
        if not self._store.unpin(link):
            raise NotFound("not pinned or pinned indirectly")
        return [{"Pins": [link.text()]}]

    def _pin_ls(self, options: Options, _: Reader | None) -> Answer:
        pins = self._store.pins()
        if options.get("arg"):
            link = _argument(options)
            if link not in pins:
                raise NotFound(f"path '{link.text()}' is not pinned")
            pins = [link]
        return [{"Keys": {link.text(): {"Type": "recursive"} for link in pins}}]

    def _repo_stat(self, _: Options, __: Reader | None) -> Answer:
        count, size = self._store.stat()
        return [{"NumObjects": count, "RepoSize": size, "RepoPath": str(self._store.root)}]

    def _repo_gc(self, _: Options, __: Reader | None) -> Answer:
        return [{"Key": {"/": key}} for key in self._store.collect()]

    def _version(self, _: Options, __: Reader | None) -> Answer:
        return [{"Version": NODE_VERSION, "Commit": "", "Repo": "14", "System": "embedded"}]

    def _id(self, _: Options, __: Reader | None) -> Answer:
        return [{"ID": "embedded", "Addresses": [], "AgentVersion": AGENT, "ProtocolVersion": ""}]


_TABLE: dict[str, Command] = {
    "add": Commands._add,
    "cat": Commands._cat,
    "block/get": Commands._block_get,
    "block/put": Commands._block_put,
    "block/stat": Commands._block_stat,
    "dag/import": Commands._dag_import,
    "pin/add": Commands._pin_add,
    "pin/rm": Commands._pin_rm,
    "pin/ls": Commands._pin_ls,
    "repo/stat": Commands._repo_stat,
    "repo/gc": Commands._repo_gc,
    "version": Commands._version,
    "id": Commands._id,
}


def encode(answer: list[dict[str, Any]]) -> bytes:
    """Return the lines of JSON that Kubo would send."""
    return b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in answer)


def _layout(options: Options) -> Layout:
    version = _number(options, "cid-version", 0)
    chunker = options.get("chunker", "size-262144")
    chunk = int(chunker[5:]) if chunker.startswith("size-") and chunker[5:].isdigit() else 0
    if version > 1 or not 0 < chunk <= _MAX_CHUNK:
        raise InputInvalid(f"the embedded node does not do cid-version={version} chunker={chunker}")
    if (
        options.get("hash", "sha2-256") != "sha2-256"
        or options.get("max-file-links", "174") != "174"
    ):
        raise InputInvalid("the embedded node does sha2-256 and 174 links per node, nothing else")
    return Layout(version, _flag(options, "raw-leaves", version == 1), chunk)


def _argument(options: Options) -> Link:
    if not options.get("arg"):
        raise InputInvalid('argument "ipfs-path" is required')
    return parse(options["arg"])


def _flag(options: Options, name: str, default: bool) -> bool:
    value = options.get(name, "true" if default else "false").lower()
    if value not in ("true", "false"):
        raise InputInvalid(f"{name}={value[:40]} is not true or false")
    return value == "true"


def _number(options: Options, name: str, default: int) -> int:
    value = options.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise InputInvalid(f"{name}={value[:40]} is not a number of bytes")
    return int(value)


def _need(body: Reader | None) -> Reader:
    if body is None:
        raise InputInvalid("file argument is required", hint="send it as multipart/form-data")
    return body
