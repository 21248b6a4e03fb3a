"""Writes a file whole or not at all."""

import os
from pathlib import Path


def write(path: Path, body: str | bytes, *, mode: int = 0o666) -> None:
    """Replace a file's content; when this returns it survives a power cut.

    Args:
        mode: of a new file, less the umask.
    """
    part = path.with_name(path.name + ".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(body.encode() if isinstance(body, str) else body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
