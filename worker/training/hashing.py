"""Keccak of many leaves at once: C in vector registers where a compiler is at hand, else as before.

`keccak.c` is built for this very machine when it is first needed (less than a second), loaded and
deleted again: nothing is installed or kept. It is held against `oracle.merkle` before it is used.
"""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from oracle import merkle
from oracle.merkle import Bytes, HashAll

_LONGEST = 135  # bytes of a message and its tag: one block of Keccak
_FLAGS = ("-O3", "-shared", "-fPIC")
_SOURCE = Path(__file__).with_name("keccak.c")


@functools.cache
def fastest() -> HashAll:
    """Return what hashes messages fastest here; it leaves other threads running meanwhile."""
    return compiled() or merkle.hash_all


@functools.cache
def compiled() -> HashAll | None:
    """Return the function built from C; None without a compiler, or when it is not right here."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
        library = Path(folder) / "keccak.so"
        for tuned in (["-march=native"], []):  # some compilers do not know the first
            argv = [compiler, *_FLAGS, *tuned, str(_SOURCE), "-o", str(library)]
            built = subprocess.run(argv, capture_output=True, check=False)  # noqa: S603 - ours
            if built.returncode == 0:
                break
        else:
            return None
        try:
            function = ctypes.CDLL(str(library)).hash_all
        except OSError:  # the folder may not hold code (noexec)
            return None
    return _checked(functools.partial(_call, function))


def _call(function: Callable[..., None], messages: Bytes, tag: bytes = b"") -> Bytes:
    if messages.shape[1] + len(tag) > _LONGEST:
        return merkle.hash_all(messages, tag)
    messages = np.ascontiguousarray(messages)
    hashes = np.empty((len(messages), 32), np.uint8)
    function(
        ctypes.c_void_p(messages.ctypes.data),
        ctypes.c_size_t(len(messages)),
        ctypes.c_size_t(messages.shape[1]),
        tag,
        ctypes.c_size_t(len(tag)),
        ctypes.c_void_p(hashes.ctypes.data),
    )
    return hashes


def _checked(hash_all: HashAll) -> HashAll | None:
    draw = np.random.default_rng(0)
    for length, tag in ((128, b"\0"), (64, b""), (_LONGEST, b"")):
        messages = draw.integers(0, 256, (9, length), dtype=np.uint8)  # 9: some lanes stay empty
        if not np.array_equal(hash_all(messages, tag), merkle.hash_all(messages, tag)):
            return None
    return hash_all
