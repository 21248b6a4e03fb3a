"""Makes files and folders that only their owner reads: state, stores, keys, logs.

The umask of whoever starts a process does not decide about that.
"""

import os
from pathlib import Path
from typing import IO

FILE, FOLDER = 0o600, 0o700


def make_folder(path: Path) -> Path:
    """Make a folder, with those above it, and return it; one that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=FOLDER, exist_ok=True)
    return path


def open_log(path: Path) -> IO[bytes]:
    """Open a file to append to; its folder is made, and others lose access to an older file.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(path.parent)
    return os.fdopen(_open(path, os.O_APPEND | os.O_WRONLY), "ab")


def make_file(path: Path) -> None:
    """Make an empty file unless it is there; others lose access to an older one.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(path.parent)
    os.close(_open(path, os.O_RDONLY))


def _open(path: Path, flags: int) -> int:
    handle = os.open(path, flags | os.O_CREAT, FILE)
    if os.fstat(handle).st_mode & 0o077 and os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, FILE)
    return handle
