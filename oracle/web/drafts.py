"""Files that visitors send before they sign: a model's folder, a data set. Kept for a while."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from oracle.errors import InputInvalid, NotFound
from oracle.private_files import make_file

MAX_DRAFT = 1 << 30  # bytes of all files
MAX_FILES = 64
KEPT = 8  # drafts; the oldest is removed for a new one
_NAME = re.compile(r"[0-9a-f]{32}")
_PATH = re.compile(r"[\w-][\w.-]{0,127}(?:/[\w-][\w.-]{0,127}){0,3}", re.ASCII)


class Drafts:
    """Folders below one place, by names that only their visitors know."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def folder(self, name: str) -> Path:
        """Return a draft's folder.

        Raises:
            InputInvalid: not a name of a draft. NotFound: it is gone, or never was.
        """
        found = self._path(name)
        if not found.is_dir():
            raise NotFound("these files are no longer here", hint="choose them again")
        return found

    async def keep(self, name: str, path: str, body: AsyncIterator[bytes]) -> int:
        """Write a file of a draft as it comes; return its size.

        Raises:
            InputInvalid: a path that a folder of a model cannot have, or too much.
        """
        if not _PATH.fullmatch(path):
            raise InputInvalid(f"{path!r:.80} cannot be a file of a model")
        folder = self._path(name)
        if not folder.is_dir():
            self._make_room()
        others = [one for one in folder.rglob("*") if one.is_file() and one != folder / path]
        room = MAX_DRAFT - sum(one.stat().st_size for one in others)
        if len(others) >= MAX_FILES:
            raise InputInvalid(f"there are more than {MAX_FILES} files")
        target, size = folder / path, 0
        try:
            make_file(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise InputInvalid(f"{path} is a file and a folder at once") from error
        with target.open("r+b") as file:
            file.truncate()
            async for piece in body:
                size += len(piece)
                if size > room:
                    target.unlink()
                    raise InputInvalid(f"the files have more than {MAX_DRAFT} bytes")
                file.write(piece)
        return size

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InputInvalid(f"{name!r:.40} is not the name of a draft")
        return self._place / name

    def _make_room(self) -> None:
        known = sorted(self._place.glob("*"), key=lambda one: one.stat().st_mtime)
        for old in known[: max(0, len(known) - KEPT + 1)]:
            shutil.rmtree(old, ignore_errors=True)
