"""Keeps the logs that a long chain gave already: a listing goes on where the last one ended.

One file for each question, in the user's cache: the answer as the node gave it, and the hash of the
newest block it covers. Another hash there now (a reorg, another chain) and the file is forgotten.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oracle import whole_file
from oracle.chain import logs
from oracle.chain.rpc import Node
from oracle.private_files import make_folder
from oracle.types import Log


@dataclass(frozen=True, slots=True)
class Kept:
    """Logs of all blocks up to one."""

    block: int  # the newest covered
    block_hash: str
    raw: list[Any]  # as `eth_getLogs` gives them, oldest first

    @classmethod
    def of(cls, block: int, block_hash: str, found: Iterable[Log]) -> "Kept":
        """Return these logs as they are kept."""
        return cls(block, block_hash, [logs.to_json(log) for log in found])


class HistoryCache:
    """A folder of answers; a file that cannot be read or written is as good as none."""

    def __init__(self, folder: Path, rpc: Node) -> None:
        self._folder = folder
        self._rpc = rpc

    def recall(self, question: Mapping[str, Any]) -> Kept | None:
        """Return the answer that was kept, when the chain still has its newest block."""
        try:
            kept = Kept(**json.loads(self._path(question).read_text()))
            known = self.hash_of(kept.block)
        except (OSError, ValueError, TypeError):
            return None
        return kept if known == kept.block_hash else None

    def keep(self, question: Mapping[str, Any], kept: Kept) -> None:
        """Keep an answer; its block's hash is from before the logs were asked for."""
        path = self._path(question)
        with suppress(OSError):
            make_folder(path.parent)
            whole_file.write(path, json.dumps(asdict(kept)))

    def hash_of(self, block: int) -> str:
        """Return a block's hash, "" when the chain is not that long."""
        found = self._rpc.call("eth_getBlockByNumber", hex(block), False)
        return str(found["hash"]) if isinstance(found, dict) else ""

    def _path(self, question: Mapping[str, Any]) -> Path:
        text = json.dumps(question, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
