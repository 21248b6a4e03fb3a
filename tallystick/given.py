"""What `ask` takes, and how the use cases are told of it."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from oracle.protocol.tensor import Array

# A path is a file, a str is one sentence, bytes are a file's content; else numbers or sentences
Input = PathLike[str] | str | bytes | Array | Sequence[Any] | Mapping[str, Any]


def source_of(given: Input) -> tuple[Any, bytes]:
    """Return the source as `inputs.prepare` takes it, and what stands for stdin."""
    if isinstance(given, bytes):
        return "-", given
    if isinstance(given, PathLike):
        return str(Path(given).absolute()), b""
    return [given] if isinstance(given, str) else given, b""
