"""The mutable file system of the node (`files/*`): paths whose root is one CID that is kept.

Every change makes new blocks from the changed entry up to the root, and then replaces the root's
record in the block store. So a crash at any point leaves the tree as it was before or after.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oracle.errors import InputInvalid, NotFound
from oracle.ipfs import files
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.cid import RAW, Link, parse
from oracle.ipfs.dag_pb import decode_node
from oracle.ipfs.folders import (
    Item,
    check_path,
    read_folder,
    resolve,
    total_of,
    write_folder,
)
from oracle.ipfs.unixfs import KUBO_DEFAULT

ReadInto = Callable[[bytearray | memoryview], int]


class MutableFiles:
    """The tree. Safe for threads: one change at a time."""

    def __init__(self, store: BlockStore) -> None:
        self.store, self._lock = store, threading.RLock()

    def root(self) -> Link:
        """Return the folder `/`, made when there is none yet."""
        with self._changing():
            text = self.store.mutable_root()
            return parse(text) if text else self._keep(write_folder(self.store, {}))

    def find(self, path: str) -> Link:
        """Return what stands at a path of the tree, or at `/ipfs/CID/…`.

        Raises:
            NotFound: nothing does.
            InputInvalid: malformed.
        """
        if path.startswith("/ipfs/"):
            return resolve(self.store, path)
        link = self.root()
        for name in _names(path):
            items = read_folder(self.store, link)
            if items is None or name not in items:
                raise NotFound("file does not exist")
            link = items[name].link
        return link

    def stat(self, path: str) -> dict[str, Any]:
        """Return what Kubo tells of a file or folder."""
        link = self.find(path)
        folder = read_folder(self.store, link)
        blocks = 0 if link.codec == RAW else len(decode_node(self.store.get(link)).links)
        return {
            "Hash": link.text(),
            "Size": 0 if folder is not None else files.size(self.store, link),
            "CumulativeSize": total_of(self.store, link),
            "Blocks": blocks,
            "Type": "file" if folder is None else "directory",
        }

    def entries(self, path: str, *, long: bool) -> Iterator[dict[str, Any]]:
        """Yield the entries of a folder, or the file itself."""
        link = self.find(path)
        items = read_folder(self.store, link)
        if items is None:
            items = {_names(path)[-1]: Item(link, 0)}
        for name, item in sorted(items.items()):
            told: dict[str, Any] = {"Name": name, "Type": 0, "Size": 0, "Hash": ""}
            if long:
                folder = read_folder(self.store, item.link) is not None
                size = 0 if folder else files.size(self.store, item.link)
                told |= {"Type": int(folder), "Size": size, "Hash": item.link.text()}
            yield told

    def make_folder(self, path: str, *, parents: bool) -> None:
        """Make an empty folder; with `parents`, those above it too, and one that is there is fine.

        Raises:
            InputInvalid: something is there.
            NotFound: the folder above is not there.
        """
        with self._changing():
            if self._there(path):
                if parents and read_folder(self.store, self.find(path)) is not None:
                    return
                raise InputInvalid("file already exists")
            self._place(path, write_folder(self.store, {}), parents=parents)

    def copy(self, source: str, target: str, *, parents: bool) -> None:
        """Place what stands at a path (or CID) at another.

        Raises:
            InputInvalid: something is there.
            NotFound: the source or the folder above is not there.
        """
        with self._changing():
            link = self.find(source)
            target = self._into(source, target)
            if self._there(target):
                raise InputInvalid("directory already has entry by that name")
            self._place(target, Item(link, total_of(self.store, link)), parents=parents)

    def move(self, source: str, target: str) -> None:
        """Move an entry, onto another one if that is a file.

        Raises:
            InputInvalid: a folder into itself, or over a folder.
            NotFound: it is not there.
        """
        with self._changing():
            link = self.find("/" + "/".join(_names(source)))
            target = self._into(source, target)
            if _names(target)[: len(_names(source))] == _names(source):
                raise InputInvalid("invalid path: a folder cannot move into itself")
            if self._there(target) and read_folder(self.store, self.find(target)) is not None:
                raise InputInvalid("directory already has entry by that name")
            # Placed first: a crash between the two leaves it twice, never lost
            self._place(target, Item(link, total_of(self.store, link)))
            self._place(source, None)

    def remove(self, path: str, *, recursive: bool) -> None:
        """Remove an entry.

        Raises:
            InputInvalid: it is a folder and `recursive` is off, or it is the root.
            NotFound: it is not there.
        """
        with self._changing():
            if read_folder(self.store, self.find(path)) is not None and not recursive:
                raise InputInvalid(f"{path[:80]} is a directory, use -r to remove directories")
            self._place(path, None)

    def write(
        self, path: str, data: ReadInto, offset: int, *, create: bool, truncate: bool, parents: bool
    ) -> None:
        """Write a stream into a file; what the stream does not cover stays.

        Raises:
            NotFound: it is not there and `create` is off.
            InputInvalid: it is a folder, or `offset` lies behind its end.
        """
        with self._changing():
            old = self.find(path) if self._there(path) else None
            if old is None and not create:
                raise NotFound("file does not exist")
            size = 0 if old is None or truncate else files.size(self.store, old)
            if offset > size:
                raise InputInvalid(f"invalid offset {offset}: the file has {size} bytes")
            source = _Spliced(self.store, old, size, data, offset)
            new = files.add(self.store, source.read_into, KUBO_DEFAULT, pin=False, keep=True)
            self._place(path, Item(new.link, new.total), parents=parents)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Allow one change at a time, and hold off garbage collection."""
        with self._lock, self.store.writing():
            yield

    def _there(self, path: str) -> bool:
        try:
            self.find("/" + "/".join(_names(path)))
        except NotFound:
            return False
        return True

    def _into(self, source: str, target: str) -> str:
        """Return the path that a copy gets: within the target if that is a folder."""
        there = target.endswith("/") or (
            self._there(target) and read_folder(self.store, self.find(target)) is not None
        )
        return f"{target}/{_names(source)[-1]}" if there and _names(source) else target

    def _place(self, path: str, item: Item | None, *, parents: bool = False) -> None:
        """Put an entry at a path (None removes it), and keep the new root."""
        names = _names(path)
        if not names:
            raise InputInvalid("invalid path: not the root itself")
        self._keep(self._replaced(self.root(), names, item, parents))

    def _replaced(self, link: Link, names: list[str], item: Item | None, parents: bool) -> Item:
        """Return a folder with an entry below it replaced."""
        items = read_folder(self.store, link)
        if items is None:
            raise InputInvalid("invalid path: a file is no directory")
        name, *rest = names
        if rest:
            if name not in items and not parents:
                raise NotFound("file does not exist")
            below = items[name].link if name in items else write_folder(self.store, {}).link
            items[name] = self._replaced(below, rest, item, parents)
        elif item is None:
            del items[name]
        else:
            items[name] = item
        return write_folder(self.store, items, link.version)

    def _keep(self, root: Item) -> Link:
        self.store.set_mutable_root(root.link.text())
        return root.link


class _Spliced:
    """An old file with a stream laid over it from an offset on."""

    def __init__(
        self, store: BlockStore, old: Link | None, size: int, data: ReadInto, offset: int
    ) -> None:
        self.store, self._old, self._size, self._data = store, old, size, data
        self._at, self._before, self._rest = offset, self._read(0, offset), b""
        self._after: Iterator[bytes] | None = None  # once the stream has ended

    def read_into(self, buffer: bytearray) -> int:
        """Fill `buffer`; less only at the end."""
        view, got = memoryview(buffer), 0
        while got < len(view):
            if not self._rest:
                self._rest = next(self._before, b"")
            if not self._rest and self._after is None:
                count = self._data(view[got:])
                self._at, got = self._at + count, got + count
                if got < len(view):
                    self._after = self._read(self._at, self._size)
                continue
            if not self._rest and self._after is not None:
                self._rest = next(self._after, b"")
                if not self._rest:
                    break
            count = min(len(self._rest), len(view) - got)
            view[got : got + count] = self._rest[:count]
            self._rest, got = self._rest[count:], got + count
        return got

    def _read(self, start: int, stop: int) -> Iterator[bytes]:
        if self._old is None or start >= stop:
            return iter(())
        return files.read(self.store, self._old, start, stop)


def _names(path: str) -> list[str]:
    if not path.startswith("/"):
        raise InputInvalid("invalid path: paths must start with a leading slash")
    names = [name for name in path.split("/") if name]
    check_path(names)
    return names
