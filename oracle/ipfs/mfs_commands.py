"""The commands `files/*` of the embedded node (see `commands.py`)."""

from collections.abc import Callable

from oracle.errors import NotFound
from oracle.ipfs import files
from oracle.ipfs.call import Answer, ApiCall, Bytes
from oracle.ipfs.mfs import MutableFiles

_ALL = 10**18 - 1  # bytes: more than any body has


def _ls(tree: MutableFiles, call: ApiCall) -> Answer:
    path = call.args[0] if call.args else "/"
    return [{"Entries": list(tree.entries(path, long=call.flag("long", False)))}]


def _stat(tree: MutableFiles, call: ApiCall) -> Answer:
    return [tree.stat(call.arg())]


def _mkdir(tree: MutableFiles, call: ApiCall) -> Answer:
    tree.make_folder(call.arg(), parents=call.flag("parents", False))
    return []


def _cp(tree: MutableFiles, call: ApiCall) -> Answer:
    tree.copy(call.arg(), call.arg(1), parents=call.flag("parents", False))
    return []


def _mv(tree: MutableFiles, call: ApiCall) -> Answer:
    tree.move(call.arg(), call.arg(1))
    return []


def _rm(tree: MutableFiles, call: ApiCall) -> Answer:
    force = call.flag("force", False)
    try:
        tree.remove(call.arg(), recursive=force or call.flag("recursive", False))
    except NotFound:
        if not force:
            raise
    return []


def _read(tree: MutableFiles, call: ApiCall) -> Answer:
    link = tree.find(call.arg())
    size = files.size(tree.store, link)
    start = min(call.number("offset", 0), size)
    stop = min(size, start + call.number("count", size))
    return Bytes(stop - start, files.read(tree.store, link, start, stop))


def _write(tree: MutableFiles, call: ApiCall) -> Answer:
    part = next(call.parts())
    left = call.number("count", _ALL)

    def read_into(buffer: bytearray | memoryview) -> int:
        nonlocal left
        got = part.read_into(memoryview(buffer)[:left])
        left -= got
        return got

    tree.write(
        call.arg(),
        read_into,
        call.number("offset", 0),
        create=call.flag("create", False),
        truncate=call.flag("truncate", False),
        parents=call.flag("parents", False),
    )
    return []


def _flush(tree: MutableFiles, call: ApiCall) -> Answer:
    return [{"Cid": tree.find(call.args[0] if call.args else "/").text()}]


TABLE: dict[str, Callable[[MutableFiles, ApiCall], Answer]] = {
    "files/ls": _ls,
    "files/stat": _stat,
    "files/mkdir": _mkdir,
    "files/cp": _cp,
    "files/mv": _mv,
    "files/rm": _rm,
    "files/read": _read,
    "files/write": _write,
    "files/flush": _flush,
}
