"""Files on their way from a node: hashed while they pass, resumed, bounded, renamed.

Hashing runs on its own threads beside the socket, with at most `DEPTH` pieces in memory.

A download and its files:

    target.part   bytes received so far, held by a lock; survives a crash; its length says where
                  to go on, and what is there is hashed again before that
    target        appears by rename, when the length and the SHA-256 are those promised
"""

import fcntl
import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from oracle.errors import DigestMismatch
from oracle.ipfs.port import MAX_BLOCK, Interrupted, Progress
from oracle.private_files import FILE, make_folder
from oracle.types import Bytes32

DEPTH = 8  # pieces in memory


def is_there(target: Path, sha256: Bytes32, size: int) -> bool:
    """Tell whether a file with this length and digest is there already."""
    try:
        if not target.is_file() or target.stat().st_size != size:
            return False
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == sha256
    except OSError:
        return False


class Download:
    """One file being received. Use as a context manager."""

    def __init__(self, target: Path, sha256: Bytes32, size: int, progress: Progress | None) -> None:
        self.done = 0  # bytes that are in the part file and hashed
        self.again = False  # what came at first was wrong
        self.overtaken = False  # someone else completed it while we waited for the part file
        self._target, self._sha256, self._size = target, sha256, size
        self._progress = progress
        self._part = target.with_name(target.name + ".part")
        self._resumed = False

    def __enter__(self) -> "Download":
        make_folder(self._target.parent)
        self._file, waited = _lock(self._part)
        if waited and is_there(self._target, self._sha256, self._size):
            self._part.unlink(missing_ok=True)
            self.overtaken = True
            return self
        self._hash = hashlib.sha256()
        there = os.fstat(self._file.fileno()).st_size
        if 0 < there <= self._size:
            while piece := self._file.read(MAX_BLOCK):
                self._hash.update(piece)
            self.done, self._resumed = there, True
        else:
            self._restart()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def expect(self, declared: int | None) -> None:
        """Compare the length of an answer with what is missing.

        Raises:
            DigestMismatch: the node announces another one.
        """
        if declared is not None and self.done + declared != self._size:
            self._refuse("more than" if self.done + declared > self._size else "less than")

    def take(self, read: Callable[[memoryview], int]) -> None:
        """Write and hash what arrives, up to the promised size and not a byte further.

        Args:
            read: puts what has arrived into a buffer and tells how much; 0 at the end.

        Raises:
            DigestMismatch: more arrives, or nothing.
            Interrupted: less arrives.
        """
        buffers = [memoryview(bytearray(MAX_BLOCK)) for _ in range(DEPTH)]
        running: deque[tuple[int, Future[None]]] = deque()
        before = arrived = self.done

        def settle() -> None:
            count, hashed = running.popleft()
            hashed.result()
            self.done += count
            if self._progress:
                self._progress(self.done, self._size)

        with ThreadPoolExecutor(1) as hashing:
            number, ended = 0, False
            try:
                while not ended and arrived <= self._size:
                    if len(running) == DEPTH:  # the oldest piece's buffer is the next one used
                        settle()
                    buffer, filled = buffers[number % DEPTH], 0
                    try:
                        while not ended and filled < MAX_BLOCK:
                            count = read(buffer[filled:])
                            filled, ended = filled + count, count == 0
                    finally:  # what came before a connection broke is kept, too
                        arrived += filled
                        if filled and arrived <= self._size:
                            piece = buffer[:filled]
                            _write(self._file, piece)  # at once, while it is in the cache
                            running.append((filled, hashing.submit(self._hash.update, piece)))
                    number += 1
            finally:
                while running:
                    settle()
        if arrived > self._size:
            self._refuse("more than")
        if self.done == before < self._size:
            self._refuse("less than")  # a whole answer of nothing: the file ends here
        if self.done < self._size:
            raise Interrupted(f"{self._target.name}: {self.done} of {self._size} bytes arrived")

    def complete(self, once_more: Callable[[], bool]) -> bool:
        """Check the digest and rename; False when the transfer must start over.

        It must when it was resumed, or when `once_more` says, which is asked only if it matters.

        Raises:
            DigestMismatch: these are not the promised bytes.
        """
        if self._hash.digest() == self._sha256:
            os.rename(self._part, self._target)
            return True
        if self.again or not (self._resumed or once_more()):
            self._refuse("other bytes than")
        self.again = True
        self._restart()  # what an earlier try left may be what is wrong
        return False

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.done, self._resumed = 0, False

    def _refuse(self, what: str) -> None:
        self._part.unlink(missing_ok=True)
        raise DigestMismatch(
            f"{self._target.name}: the node sent {what} the {self._size} bytes with SHA-256 "
            f"{self._sha256.hex()}",
            hint="the node is damaged, or the manifest names another file; nothing was kept",
        )


def _lock(part: Path) -> tuple[FileIO, bool]:
    """Open a part file alone; True when someone else had it and we waited."""
    waited = False
    while True:
        file = FileIO(os.open(part, os.O_RDWR | os.O_CREAT, FILE), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if os.fstat(file.fileno()).st_ino == part.stat().st_ino:
                return file, waited
        except FileNotFoundError:
            pass
        file.close()  # the holder has renamed this one to the target


def _write(file: FileIO, view: memoryview) -> None:
    while view:
        view = view[file.write(view) :]
