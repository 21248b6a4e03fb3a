"""UnixFS folders in a block store: blocks of names, and paths through them.

A folder is one dag-pb node whose links are its entries, sorted by name; sharded ones (HAMT) are
refused. Source: https://github.com/ipfs/specs/blob/main/UNIXFS.md.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from oracle.errors import InputInvalid, NotFound
from oracle.ipfs.blockstore import MAX_STORED, BlockStore
from oracle.ipfs.cid import DAG_CBOR, DAG_PB, RAW, Link, parse
from oracle.ipfs.dag_pb import PbLink, decode_node, encode_node, fields

_DIRECTORY = b"\x08\x01"  # the UnixFS message of a folder
_MAX_DEPTH = 128  # folders in folders
_MAX_ENTRIES = 1 << 16  # of one tree that is added


@dataclass(frozen=True, slots=True)
class Item:
    """What stands under a name: a file or a folder."""

    link: Link
    total: int  # bytes of all its blocks


@dataclass(slots=True)
class FolderTree:
    """A folder that is being put together."""

    entries: "dict[str, FolderTree | Item]" = field(default_factory=dict)
    count: int = 0

    def put(self, path: list[str], item: "Item | None") -> None:
        """Place a file at a path, or (None) an empty folder.

        Raises:
            InputInvalid: the path is malformed, or there is a file in the way, or too many entries.
        """
        self.count += 1
        if self.count > _MAX_ENTRIES:
            raise InputInvalid(f"over {_MAX_ENTRIES} files and folders in one request")
        check_path(path)
        here = self
        for name in path[:-1] if item else path:
            below = here.entries.setdefault(name, FolderTree())
            if not isinstance(below, FolderTree):
                raise InputInvalid(f"{name[:80]!r} is a file and a folder at once")
            here = below
        if item:
            here.entries[path[-1]] = item

    def store(
        self, store: BlockStore, version: int, *, keep: bool = True, path: str = ""
    ) -> Iterator[tuple[str, Item]]:
        """Store the folders, deepest first; yield (path, folder), this one last."""
        items: dict[str, Item] = {}
        for name, below in self.entries.items():
            if isinstance(below, FolderTree):
                found = Item(Link(DAG_PB, b"", version), 0)
                for at, found in below.store(store, version, keep=keep, path=f"{path}/{name}"):
                    yield at, found
                items[name] = found
            else:
                items[name] = below
        yield path.lstrip("/"), write_folder(store, items, version, keep=keep)


def check_path(names: list[str]) -> None:
    """Refuse what cannot be a path of entries.

    Raises:
        InputInvalid: a name that is none, or too many.
    """
    if len(names) > _MAX_DEPTH:
        raise InputInvalid(f"invalid path: deeper than {_MAX_DEPTH} folders")
    for name in names:
        check_name(name)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of an entry.

    Raises:
        InputInvalid: it cannot.
    """
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(name) > 255:
        raise InputInvalid(f"invalid path: {name[:80]!r} is not a name")


def write_folder(
    store: BlockStore, items: Mapping[str, Item], version: int = 0, *, keep: bool = True
) -> Item:
    """Store the block of a folder.

    Raises:
        InputInvalid: it is larger than a block may be.
    """
    links = [PbLink(name, items[name].link, items[name].total) for name in sorted(items, key=_key)]
    return write_node(store, links, _DIRECTORY, version, keep=keep)


def write_node(
    store: BlockStore, links: list[PbLink], data: bytes, version: int = 0, *, keep: bool = True
) -> Item:
    """Store any dag-pb node.

    Raises:
        InputInvalid: it is larger than a block may be.
    """
    block = encode_node(links, data)
    if len(block) > MAX_STORED:
        raise InputInvalid(f"a node of {len(block)} bytes: over {MAX_STORED} bytes")
    link = Link(DAG_PB, hashlib.sha256(block).digest(), version)
    if keep:
        store.put(link, block)
    return Item(link, len(block) + sum(one.total for one in links))


def read_folder(store: BlockStore, link: Link) -> dict[str, Item] | None:
    """Return the entries of a folder; None when `link` is no folder.

    Raises:
        NotFound, DigestMismatch: the block is missing or damaged.
        InputInvalid: it is a sharded folder, or malformed.
    """
    if link.codec != DAG_PB:
        return None
    node = decode_node(store.get(link))
    kind = next((value for number, value in fields(node.data) if number == 1), None)
    if kind == 5:
        raise InputInvalid("the embedded node does not do sharded folders")
    if kind != 1:
        return None
    return {one.name: Item(one.link, one.total) for one in node.links}


def split_path(text: str) -> tuple[Link, list[str]]:
    """Take `CID/a/b`, with or without `/ipfs/` before it, apart.

    Raises:
        InputInvalid: it does not begin with a CID.
    """
    root, *names = text.removeprefix("/ipfs/").rstrip("/").split("/")
    return parse(root), names


def resolve(store: BlockStore, text: str) -> Link:
    """Return what stands at a path that begins with a CID.

    Raises:
        NotFound: a name on the way is not there.
        InputInvalid: malformed.
    """
    link, names = split_path(text)
    for name in names:
        items = read_folder(store, link)
        if items is None or name not in items:
            raise NotFound(f'no link named "{name[:80]}" under {link.text()}')
        link = items[name].link
    return link


def total_of(store: BlockStore, link: Link) -> int:
    """Return the bytes of all blocks of a file or folder, as its own block tells."""
    if link.codec == RAW:
        return store.size(link)
    block = store.get(link)
    if link.codec == DAG_CBOR:
        return len(block)
    return len(block) + sum(one.total for one in decode_node(block).links)


def _key(name: str) -> bytes:
    return name.encode()
