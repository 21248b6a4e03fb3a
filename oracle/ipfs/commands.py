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
from oracle.ipfs.request_body import Parts
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

    size: int  # -1 = not known before
    pieces: Iterator[bytes]
    media_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, taken apart."""

    command: str  # its path, such as `block/get`
    args: tuple[str, ...]
    options: Mapping[str, str]  # what else the query says
    body: Parts | None

    def flag(self, name: str, default: bool) -> bool:
        """Return an option that is true or false (as Kubo or as Python spells it).

        Raises:
            InputInvalid: it is neither.
        """
        value = self.options.get(name, "true" if default else "false").lower()
        if value not in ("true", "false"):
            raise InputInvalid(f"{name}={value[:40]} is not true or false")
        return value == "true"

    def number(self, name: str, default: int) -> int:
        """Return an option that is a number of bytes.

        Raises:
            InputInvalid: it is not.
        """
        value = self.options.get(name, str(default))
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise InputInvalid(f"{name}={value[:40]} is not a number of bytes")
        return int(value)

    def parts(self) -> Iterator[Parts]:
        """Yield the parts of the body, of which there must be one.

        Raises:
            InputInvalid: there is none.
        """
        found = False
        while self.body is not None and self.body.next_part():
            found = True
            yield self.body
        if not found:
            raise InputInvalid("file argument is required", hint="send it as multipart/form-data")

    def link(self) -> Link:
        """Return the only argument as a CID.

        Raises:
            InputInvalid: it is missing, or is none.
        """
        if not self.args or not self.args[0]:
            raise InputInvalid('argument "ipfs-path" is required')
        return parse(self.args[0])


Answer = list[dict[str, Any]] | Bytes
Command = Callable[["Commands", Call], Answer]


class Commands:
    """What the node does, by command path."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store

    def run(self, call: Call) -> Answer:
        """Run one command.

        Raises:
            NotFound: no such command, block or pin.
            InputInvalid: an argument or option does not fit.
            DigestMismatch: a block is damaged.
        """
        path, command = call.command, _TABLE.get(call.command)
        if command is None:
            raise NotFound(f"command not found: {path[:80]}", hint="see docs/ipfs.md")
        known = _NEUTRAL | _OPTIONS.get(path, set())
        for name, value in call.options.items():
            if name not in known and not (name in _ONLY_FALSE and value.lower() == "false"):
                raise InputInvalid(
                    f"the embedded node does not do {name[:40]}={value[:40]} in {path}"
                )
        return command(self, call)

    def _add(self, call: Call) -> Answer:
        layout = _layout(call)
        pin, keep = call.flag("pin", True), not call.flag("only-hash", False)
        answers: list[dict[str, Any]] = []
        for part in call.parts():
            root = files.add(self._store, part.read_into, layout, pin=pin, keep=keep)
            cid = root.link.text()
            answers.append({"Name": cid, "Hash": cid, "Size": str(root.total)})
        return answers

    def _cat(self, call: Call) -> Answer:
        link = call.link()
        size = files.size(self._store, link)
        start = min(call.number("offset", 0), size)
        stop = min(size, start + call.number("length", size))
        check = call.flag("hash-on-read", True)  # ours; Kubo has a setting of that name
        return Bytes(stop - start, files.read(self._store, link, start, stop, check=check))

    def _block_get(self, call: Call) -> Answer:
        data = self._store.get(call.link())
        return Bytes(len(data), iter((data,)))

    def _block_put(self, call: Call) -> Answer:
        codec = {"raw": RAW, "dag-pb": DAG_PB}.get(call.options.get("cid-codec", "raw"))
        if codec is None or call.options.get("mhtype", "sha2-256") != "sha2-256":
            raise InputInvalid("the embedded node puts raw and dag-pb blocks with sha2-256")
        answers: list[dict[str, Any]] = []
        for part in call.parts():
            data = part.read(MAX_STORED)
            link = Link(codec, leaf_entry(data, Layout()).link.digest)
            with self._store.writing():
                self._store.put(link, data)
                if call.flag("pin", False):
                    self._store.pin(link)
            answers.append({"Key": link.text(), "Size": len(data)})
        return answers

    def _block_stat(self, call: Call) -> Answer:
        link = call.link()
        return [{"Key": link.text(), "Size": self._store.size(link)}]

    def _dag_import(self, call: Call) -> Answer:
        if call.flag("pin-roots", True):
            raise InputInvalid("the embedded node pins with pin/add: say pin-roots=false")
        blocks = size = 0
        for part in call.parts():
            found = files.take(self._store, car.Reader(part))
            blocks, size = blocks + found[0], size + found[1]
        stats = {"BlockCount": blocks, "BlockBytesCount": size}
        return [{"Stats": stats}] if call.flag("stats", False) else []

    def _pin_add(self, call: Call) -> Answer:
        link = call.link()
        self._store.pin(link)
        return [{"Pins": [link.text()]}]

    def _pin_rm(self, call: Call) -> Answer:
        link = call.link()
        if not self._store.unpin(link):
            raise NotFound("not pinned or pinned indirectly")
        return [{"Pins": [link.text()]}]

    def _pin_ls(self, call: Call) -> Answer:
        pins = self._store.pins()
        if call.args:
            link = call.link()
            if link not in pins:
                raise NotFound(f"path '{link.text()}' is not pinned")
            pins = [link]
        return [{"Keys": {link.text(): {"Type": "recursive"} for link in pins}}]

    def _repo_stat(self, _: Call) -> Answer:
        count, size = self._store.stat()
        return [{"NumObjects": count, "RepoSize": size, "RepoPath": str(self._store.root)}]

    def _repo_gc(self, _: Call) -> Answer:
        return [{"Key": {"/": key}} for key in self._store.collect()]

    def _version(self, _: Call) -> Answer:
        return [{"Version": NODE_VERSION, "Commit": "", "Repo": "14", "System": "embedded"}]

    def _id(self, _: Call) -> Answer:
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


def _layout(call: Call) -> Layout:
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
