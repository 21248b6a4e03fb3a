"""Seals on messages: an HMAC under a key that one operator's processes share.

Whoever reaches the broker may read, delay and drop messages, but not make or change one. The seal
covers operator, task, task id and arguments. A message that is played again is the same message:
requests are answered once, and reports are counted by task id.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oracle import whole_file
from oracle.config import Settings
from oracle.errors import ConfigInvalid, InputInvalid
from oracle.private_files import make_folder
from oracle.queue.message import Message

FIELD = "seal"
_KEY_BYTES = 32


class MessageForged(InputInvalid):
    """A message bears no seal of this operator."""


class Seal:
    """Seals and opens the messages of one operator."""

    def __init__(self, key: bytes, operator: str) -> None:
        self._key = key
        self._operator = operator

    @classmethod
    def of(cls, settings: Settings) -> "Seal":
        """Return an operator's seal; its key is made when there is none.

        Raises:
            ConfigInvalid: the key's file cannot be read or made, or holds no key.
        """
        return cls(_key(settings.queue_key()), settings.operator)

    def close(self, message: Message, task_id: str) -> dict[str, Any]:
        """Return a task's keyword arguments, sealed."""
        body = message.to_json()
        return body | {FIELD: self._mac(message.name, task_id, body)}

    def open(self, task: str, task_id: str, body: Any) -> dict[str, Any]:
        """Return a task's keyword arguments without their seal.

        Raises:
            MessageForged: the seal is missing, or another one.
        """
        if isinstance(body, dict) and isinstance(found := body.get(FIELD), str):
            rest = {name: value for name, value in body.items() if name != FIELD}
            if hmac.compare_digest(found.encode(), self._mac(task, task_id, rest).encode()):
                return rest
        raise MessageForged(
            f"{task} {task_id!s:.80} bears no seal of operator {self._operator!r}",
            hint="all processes of an operator need the same TALLYSTICK_QUEUE_KEY_FILE",
        )

    def _mac(self, task: str, task_id: str, body: Mapping[str, Any]) -> str:
        text = json.dumps([self._operator, task, task_id, body], sort_keys=True)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def _key(path: Path) -> bytes:
    try:
        if not path.exists():
            make_folder(path.parent)
            whole_file.write_new(path, secrets.token_hex(_KEY_BYTES) + "\n")
        key = bytes.fromhex(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"the queue's key {path}: {error}", hint=_HINT) from error
    if len(key) != _KEY_BYTES:
        raise ConfigInvalid(f"the queue's key {path} has {len(key)} bytes", hint=_HINT)
    return key


_HINT = f"it holds {_KEY_BYTES} random bytes as hex; delete it to have a new one made"
