"""Keeps traces on disk, one file each, within a bound: nothing is computed twice.

A file is the SHA-256 of what follows, and the records of all tensors (docs/exact.md, section 5).
```
 root/<request id>-<output root>.trace     complete; mtime = last use, the oldest goes first
```
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from oracle import whole_file
from oracle.errors import InputInvalid
from oracle.exact import files
from oracle.exact.commitments import Committed
from oracle.exact.program import Program
from oracle.exact.tensors import TensorTree
from oracle.private_files import make_folder
from oracle.protocol.canonical import sha256
from oracle.queue.messages import TraceJob

_SUFFIX = ".trace"
_DIGEST = 32  # bytes


class TraceFiles:
    """A folder of traces; one process writes it."""

    def __init__(self, root: Path, max_bytes: int, log: Any) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._log = log
        make_folder(root)
        for broken_off in root.glob("*.part"):
            broken_off.unlink(missing_ok=True)

    def get(self, job: TraceJob, program: Program) -> Committed | None:
        """Return a trace; None when it is not here, or is not what it should be."""
        path = self._path(job)
        try:
            committed = _read(path, job, program)
        except FileNotFoundError:
            return None
        except (OSError, InputInvalid) as error:
            self._log.warning("trace.refused", file=path.name, why=str(error))
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)
        return committed

    def put(self, job: TraceJob, committed: Committed) -> None:
        """Keep a trace, unless it is larger than all may be; a full disk is only logged."""
        path = self._path(job)
        trees = (committed.tree(index) for index in range(len(committed.tensors)))
        data = b"".join(
            files.record(i, t) for i, t in enumerate(trees) if isinstance(t, TensorTree)
        )
        if (size := _DIGEST + len(data)) > self._max_bytes:
            return
        self._make_room(size)
        try:
            whole_file.write(path, sha256(data) + data)
        except OSError as error:
            self._log.warning("trace.not_kept", error=str(error))

    def _make_room(self, size: int) -> None:
        files_ = [(path, path.stat()) for path in self._root.glob(f"*{_SUFFIX}")]
        kept = sorted((stat.st_mtime_ns, stat.st_size, path) for path, stat in files_)
        used = sum(entry[1] for entry in kept)
        for _, bytes_, path in kept:
            if used + size <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            used -= bytes_

    def _path(self, job: TraceJob) -> Path:
        return self._root / f"{job.request_id.hex()}-{job.output_root.hex()[:16]}{_SUFFIX}"


def _read(path: Path, job: TraceJob, program: Program) -> Committed:
    data = path.read_bytes()
    if sha256(data[_DIGEST:]) != data[:_DIGEST]:
        raise InputInvalid("the file was changed or cut short")
    found = files.read_records(data[_DIGEST:])
    specs = [program.spec_of(i) for i in range(len(program.inputs) + len(program.ops))]
    if [(i, tree.spec) for i, tree in found] != list(enumerate(specs)):
        raise InputInvalid("another program's tensors")
    trees = dict(found)
    committed = Committed(program, [tree.array for tree in trees.values()], trees)
    if committed.input_root != job.input_root or committed.output_root != job.output_root:
        raise InputInvalid("other inputs or another output")
    return committed
