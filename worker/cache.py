"""Content-addressed files on disk: named by their SHA-256, bounded in size, shared by processes.

```
 root/objects/ab/<sha256>    complete files, read-only; atime = last use, flock(SH) = in use
 root/partial/<sha256>…      transfers under way or broken off (resumed by the next one)
 root/locks/<sha256>         flock(EX) = somebody fetches it; its text = bytes that it reserves
 root/evict.lock             flock(EX) = somebody makes room
```
The kernel drops the locks of a process that dies, so a kill -9 leaves nothing to clean up. A file
is hashed when a process first uses it: what changed on disk is removed and fetched again, once.
Knows nothing of models.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.errors import ConfigInvalid, DigestMismatch
from oracle.ipfs.port import Ipfs
from oracle.private_files import FILE, make_folder
from oracle.protocol.files import FileEntry
from oracle.types import Bytes32
from worker.errors import CacheFull, CacheTampered

_ATTEMPTS = 4  # times that a file may vanish (be evicted by others) between fetch and use
_LOG_EVERY = 2.0  # seconds between two lines about one transfer


@dataclass(frozen=True, slots=True)
class Lease:
    """Files in use: they are not evicted until `release` (or the end of the process)."""

    paths: dict[str, Path]  # path in the manifest → file on disk
    _held: ExitStack

    def release(self) -> None:
        """Let the files be evicted. Safe to call twice."""
        self._held.close()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class FileCache:
    """The cache of one process; others may share its folder."""

    def __init__(self, root: Path, max_bytes: int, ipfs: Ipfs, log: Any) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._ipfs = ipfs
        self._log = log
        self._verified: dict[Bytes32, tuple[int, int, int]] = {}  # inode, size, mtime in ns
        for name in ("objects", "partial", "locks"):
            make_folder(root / name)

    def lease(self, files: Sequence[FileEntry]) -> Lease:
        """Return verified files, fetching those that are not here.

        Raises:
            ConfigInvalid: together they are larger than the cache may be.
            CacheFull: nothing can be evicted, or the disk is full.
            CacheTampered: a file changed on disk again right after it was fetched.
            DigestMismatch, CidUnresolved, Unavailable: see `Ipfs.fetch_file`.
        """
        wanted = {entry.sha256: entry.size for entry in files}
        if (total := sum(wanted.values())) > self._max_bytes:
            raise ConfigInvalid(
                f"a model of {total} bytes does not fit a cache of {self._max_bytes}",
                hint="raise TALLYSTICK_CACHE_BYTES",
            )
        with ExitStack() as held:
            paths = {entry.path: self._acquire(entry, held) for entry in files}
            return Lease(paths, held.pop_all())

    def size(self) -> int:
        """Return the bytes on disk, transfers under way included."""
        return sum(stat.st_size for _, stat in [*self._objects(), *self._partials()])

    def _acquire(self, entry: FileEntry, held: ExitStack) -> Path:
        path = self._object(entry.sha256)
        tampered = 0
        for _ in range(_ATTEMPTS):
            handle = _open_shared(path)
            if handle is None:
                self._fetch(entry)
                continue
            if self._verify(handle, entry):
                held.callback(os.close, handle)
                stat = os.fstat(handle)
                with suppress(FileNotFoundError):  # atime: when it was last used
                    os.utime(path, ns=(time.time_ns(), stat.st_mtime_ns))
                return path
            tampered += 1
            self._log.error("cache.tampered", sha256=entry.sha256.hex(), path=entry.path)
            path.unlink(missing_ok=True)
            os.close(handle)
            if tampered > 1:
                raise CacheTampered(
                    f"{entry.path}: the cached copy {path} changes after it is written",
                    hint="check the disk, and who may write to it",
                )
        raise CacheFull(
            f"{entry.path} is evicted by other processes faster than it is fetched",
            hint="raise TALLYSTICK_CACHE_BYTES",
        )

    def _verify(self, handle: int, entry: FileEntry) -> bool:
        stat = os.fstat(handle)
        mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if self._verified.get(entry.sha256) == mark:
            return True
        if stat.st_size != entry.size:
            return False
        with open(handle, "rb", closefd=False) as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        if digest != entry.sha256:
            return False
        self._verified[entry.sha256] = mark
        return True

    def _fetch(self, entry: FileEntry) -> None:
        with _locked(self._root / "locks" / entry.sha256.hex()) as lock:
            if self._object(entry.sha256).exists():
                return
            self._reserve(lock, entry.size)
            part = self._root / "partial" / entry.sha256.hex()
            started = time.monotonic()
            self._log.info("cache.fetch", path=entry.path, cid=entry.cid, bytes=entry.size)
            try:
                self._ipfs.fetch_file(
                    entry.cid, part, entry.sha256, entry.size, self._reporter(entry.path)
                )
            except DigestMismatch:
                self._log.error("cache.refused", path=entry.path, cid=entry.cid)
                self._remove_partials(entry.sha256.hex())
                raise
            except OSError as error:
                raise CacheFull(f"cannot write {part}: {error}", hint="free disk space") from error
            part.chmod(0o400)
            target = self._object(entry.sha256)
            make_folder(target.parent)
            part.replace(target)
            seconds = round(time.monotonic() - started, 3)
            self._log.info("cache.fetched", path=entry.path, bytes=entry.size, seconds=seconds)

    def _reserve(self, lock: int, size: int) -> None:
        """Evict until `size` bytes fit, and note in our lock that they are taken."""
        with _locked(self._root / "evict.lock"):
            os.truncate(lock, 0)
            objects = sorted(self._objects(), key=lambda item: item[1].st_atime_ns)
            reserved, dead = self._transfers()
            used = size + reserved + sum(stat.st_size for _, stat in [*objects, *dead])
            for path, stat in [*dead, *objects]:
                if used <= self._max_bytes:
                    break
                if _remove_unused(path):
                    self._log.info("cache.evict", sha256=path.name, bytes=stat.st_size)
                    used -= stat.st_size
            if used > self._max_bytes:
                raise CacheFull(
                    f"{size} bytes do not fit: {used - size} of {self._max_bytes} are in use",
                    hint="raise TALLYSTICK_CACHE_BYTES, or serve fewer models with one cache",
                )
            os.pwrite(lock, str(size).encode(), 0)

    def _transfers(self) -> tuple[int, list[tuple[Path, os.stat_result]]]:
        """Return the bytes that live transfers reserve, and what dead ones left behind."""
        reserved = 0
        alive: set[str] = set()
        for lock in (self._root / "locks").iterdir():
            handle = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alive.add(lock.name)
                reserved += int(os.pread(handle, 32, 0) or b"0")
            finally:
                os.close(handle)
        dead = [item for item in self._partials() if item[0].name.split(".")[0] not in alive]
        return reserved, dead

    def _remove_partials(self, name: str) -> None:
        for path in (self._root / "partial").glob(f"{name}*"):
            path.unlink(missing_ok=True)

    def _reporter(self, path: str) -> Any:
        last = time.monotonic()

        def report(done: int, total: int) -> None:
            nonlocal last
            if (now := time.monotonic()) - last >= _LOG_EVERY:
                last = now
                self._log.info("cache.fetching", path=path, done=done, total=total)

        return report

    def _object(self, sha256: Bytes32) -> Path:
        name = sha256.hex()
        return self._root / "objects" / name[:2] / name

    def _objects(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in (self._root / "objects").glob("??/*"):
            with suppress(FileNotFoundError):
                yield path, path.stat()

    def _partials(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in (self._root / "partial").iterdir():
            with suppress(FileNotFoundError):
                yield path, path.stat()


def _open_shared(path: Path) -> int | None:
    """Open a file and mark it as in use; None if it is not there (any more)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(handle, fcntl.LOCK_SH)
    if os.fstat(handle).st_nlink == 0:  # evicted between the two calls
        os.close(handle)
        return None
    return handle


def _remove_unused(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, FILE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
