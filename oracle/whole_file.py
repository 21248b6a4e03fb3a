"""Writes a file whole or not at all."""

import os
import secrets
from pathlib import Path


def write(path: Path, body: str | bytes) -> None:
    """Replace a file's content; when this returns it survives a power cut.

    Only its owner reads it.
    """
    _write(path, body).replace(path)
    _sync(path.parent)


def write_new(path: Path, body: str | bytes) -> bool:
    """Write a file that is not there yet, whole; return whether it was not.

    A file that is there stays as it is, also when another process was first by a moment.
    """
    part = _write(path, body)
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    _sync(path.parent)
    return True


def _write(path: Path, body: str | bytes) -> Path:
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body.encode() if isinstance(body, str) else body)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink()
        raise
    return part


def _sync(folder_path: Path) -> None:
    folder = os.open(folder_path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
