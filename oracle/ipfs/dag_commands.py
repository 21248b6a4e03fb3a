"""The commands `block/*`, `dag/*` and `object/*` of the embedded node (see `commands.py`)."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from oracle.errors import InputInvalid, NotFound
from oracle.ipfs import car, files, ipld
from oracle.ipfs.blockstore import MAX_STORED, BlockStore
from oracle.ipfs.call import Answer, ApiCall, Bytes
from oracle.ipfs.cid import DAG_CBOR, DAG_PB, Link, parse
from oracle.ipfs.dag_pb import PbLink, PbNode, decode_node
from oracle.ipfs.folders import read_folder, resolve, split_path, total_of, write_folder, write_node


def _block_get(store: BlockStore, call: ApiCall) -> Answer:
    data = store.get(resolve(store, call.arg()))
    return Bytes(len(data), iter((data,)))


def _block_put(store: BlockStore, call: ApiCall) -> Answer:
    name = call.options.get("format") or call.options.get("cid-codec", "raw")
    if name not in ipld.CODECS or call.options.get("mhtype", "sha2-256") != "sha2-256":
        raise InputInvalid(
            "the embedded node puts raw and dag-pb and dag-cbor blocks with sha2-256"
        )
    answers: list[dict[str, Any]] = []
    for part in call.parts():
        data = part.read(MAX_STORED)
        link = _put(store, ipld.CODECS[name], data, call, version=0 if name == "v0" else 1)
        answers.append({"Key": link.text(), "Size": len(data)})
    return answers


def _put(store: BlockStore, codec: int, data: bytes, call: ApiCall, *, version: int = 1) -> Link:
    link = Link(codec, hashlib.sha256(data).digest(), version)
    with store.writing():
        store.put(link, data)
        if call.flag("pin", False):
            store.pin(link)
    return link


def _block_stat(store: BlockStore, call: ApiCall) -> Answer:
    link = resolve(store, call.arg())
    return [{"Key": link.text(), "Size": store.size(link)}]


def _dag_put(store: BlockStore, call: ApiCall) -> Answer:
    options = call.options
    name = options.get("store-codec") or options.get("format", "dag-cbor")
    source = options.get("input-codec") or options.get("input-enc", "dag-json")
    if name not in ipld.CODECS or source not in ("json", "dag-json", "raw", name):
        raise InputInvalid(f"the embedded node does not do {source[:40]} to {name[:40]} in dag/put")
    data = next(call.parts()).read(MAX_STORED)
    codec = ipld.CODECS[name]
    block = ipld.from_json(codec, data) if source in ("json", "dag-json") else data
    list(ipld.links_of(Link(codec, bytes(32)), block))  # refuses what is no such block
    return [{"Cid": {"/": _put(store, codec, block, call).text()}}]


def _dag_get(store: BlockStore, call: ApiCall) -> Answer:
    link, names = _walk(store, call.arg())
    value = ipld.to_json(link, store.get(link))
    for name in names:
        value = ipld.step(value, name)
    return [value]


def _dag_resolve(store: BlockStore, call: ApiCall) -> Answer:
    link, names = _walk(store, call.arg())
    return [{"Cid": {"/": link.text()}, "RemPath": "/".join(names)}]


def _walk(store: BlockStore, text: str) -> tuple[Link, list[str]]:
    """Follow a path over blocks; return the last block, and the names that stay within it."""
    link, names = split_path(text)
    while names:
        items = read_folder(store, link)
        if items is not None:
            if names[0] not in items:
                raise NotFound(f'no link named "{names[0][:80]}" under {link.text()}')
            link, names = items[names[0]].link, names[1:]
            continue
        value = ipld.to_json(link, store.get(link)) if link.codec == DAG_CBOR else {}
        for at, name in enumerate(names):
            value = ipld.step(value, name)
            if isinstance(value, dict) and value.keys() == {"/"} and isinstance(value["/"], str):
                link, names = parse(value["/"]), names[at + 1 :]
                break
        else:
            break
    return link, names


def _dag_import(store: BlockStore, call: ApiCall) -> Answer:
    blocks = size = 0
    roots: list[Link] = []
    with store.writing():
        for part in call.parts():
            stream = car.Reader(part)
            if call.flag("pin-roots", True):
                roots += _roots(stream.header)
            found = files.take(store, stream)
            blocks, size = blocks + found[0], size + found[1]
        for root in roots:
            store.pin(root)
    told = [{"Root": {"Cid": {"/": root.text()}, "PinErrorMsg": ""}} for root in roots]
    stats = {"BlockCount": blocks, "BlockBytesCount": size}
    return [*told, {"Stats": stats}] if call.flag("stats", False) else list(told)


def _roots(header: bytes) -> list[Link]:
    try:
        return [ipld.link_of(cid) for cid in ipld.decode_cbor(header)["roots"]]
    except (InputInvalid, LookupError, TypeError) as error:
        raise InputInvalid(
            "this stream names no root to pin: say pin-roots=false", hint="and pin with pin/add"
        ) from error


def _dag_export(store: BlockStore, call: ApiCall) -> Answer:
    root = resolve(store, call.arg())

    def pieces() -> Iterator[bytes]:
        yield car.header(root)
        for link in store.walk(root):
            block = store.get(link)
            yield car.prefix(link, len(block)) + block

    return Bytes(-1, pieces())


def _object_new(store: BlockStore, call: ApiCall) -> Answer:
    template = call.args[0] if call.args else ""
    if template not in ("", "unixfs-dir"):
        raise InputInvalid(f"invalid template {template[:40]!r}: unixfs-dir or none")
    made = write_folder(store, {}) if template else write_node(store, [], b"")
    return [{"Hash": made.link.text(), "Links": []}]


def _object_get(store: BlockStore, call: ApiCall) -> Answer:
    node, _ = _node(store, call.arg())
    return [{"Links": _links(node), "Data": node.data.decode(errors="replace")}]


def _object_data(store: BlockStore, call: ApiCall) -> Answer:
    node, _ = _node(store, call.arg())
    return Bytes(len(node.data), iter((node.data,)))


def _object_links(store: BlockStore, call: ApiCall) -> Answer:
    node, link = _node(store, call.arg())
    return [{"Hash": link.text(), "Links": _links(node)}]


def _object_stat(store: BlockStore, call: ApiCall) -> Answer:
    node, link = _node(store, call.arg())
    size, data = store.size(link), len(node.data)
    told = {"Hash": link.text(), "NumLinks": len(node.links), "BlockSize": size, "DataSize": data}
    return [{**told, "LinksSize": size - data, "CumulativeSize": total_of(store, link)}]


def _object_put(store: BlockStore, call: ApiCall) -> Answer:
    if call.options.get("inputenc", "json") != "json":
        raise InputInvalid("the embedded node does not do another inputenc than json in object/put")
    try:
        told = json.loads(next(call.parts()).read(MAX_STORED))
        links = [
            PbLink(str(one["Name"]), parse(one["Hash"]), int(one["Size"]))
            for one in told.get("Links") or []
        ]
        data = str(told.get("Data", "")).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputInvalid(f"invalid object: {str(error)[:120]}") from error
    return _wrote(store, links, data)


def _add_link(store: BlockStore, call: ApiCall) -> Answer:
    node, _ = _node(store, call.arg())
    name, target = call.arg(1), resolve(store, call.arg(2))
    if "/" in name:
        raise InputInvalid("the embedded node does not do paths in object/patch/add-link")
    links = [one for one in node.links if one.name != name]
    links.append(PbLink(name, target, total_of(store, target)))
    return _wrote(store, sorted(links, key=lambda one: one.name.encode()), node.data)


def _rm_link(store: BlockStore, call: ApiCall) -> Answer:
    node, _ = _node(store, call.arg())
    links = [one for one in node.links if one.name != call.arg(1)]
    if len(links) == len(node.links):
        raise NotFound(f"no link by the name {call.arg(1)[:80]!r}: not found")
    return _wrote(store, links, node.data)


def _set_data(store: BlockStore, call: ApiCall) -> Answer:
    node, _ = _node(store, call.arg())
    return _wrote(store, list(node.links), next(call.parts()).read(MAX_STORED))


def _append_data(store: BlockStore, call: ApiCall) -> Answer:
    node, _ = _node(store, call.arg())
    return _wrote(store, list(node.links), node.data + next(call.parts()).read(MAX_STORED))


def _node(store: BlockStore, text: str) -> tuple[PbNode, Link]:
    link = resolve(store, text)
    if link.codec != DAG_PB:
        raise InputInvalid(f"invalid object: {link.text()} is not a dag-pb node")
    return decode_node(store.get(link)), link


def _links(node: PbNode) -> list[dict[str, Any]]:
    return [{"Name": one.name, "Hash": one.link.text(), "Size": one.total} for one in node.links]


def _wrote(store: BlockStore, links: list[PbLink], data: bytes) -> Answer:
    link = write_node(store, links, data).link
    return [{"Hash": link.text(), "Links": _links(PbNode(tuple(links), data))}]


TABLE: dict[str, Callable[[BlockStore, ApiCall], Answer]] = {
    "block/get": _block_get,
    "block/put": _block_put,
    "block/stat": _block_stat,
    "dag/put": _dag_put,
    "dag/get": _dag_get,
    "dag/resolve": _dag_resolve,
    "dag/import": _dag_import,
    "dag/export": _dag_export,
    "object/new": _object_new,
    "object/get": _object_get,
    "object/data": _object_data,
    "object/links": _object_links,
    "object/stat": _object_stat,
    "object/put": _object_put,
    "object/patch/add-link": _add_link,
    "object/patch/rm-link": _rm_link,
    "object/patch/set-data": _set_data,
    "object/patch/append-data": _append_data,
}
