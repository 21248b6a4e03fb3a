"""Results as JSON data: the same document on the command line, over REST and in the page."""

from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from oracle.services import amounts
from oracle.types import Amount


def jsonable(value: Any, kind: Any = None) -> Any:
    """Return a value as JSON data.

    Dataclasses become objects, bytes 0x-hex, enums their name in lower case, amounts (told apart
    by the type hints of their dataclass) decimal strings in dollars.
    """
    if value is None:
        return None
    if kind is Amount or (get_origin(kind) is not None and Amount in get_args(kind)):
        return amounts.decimal(Amount(value)) if isinstance(value, int) else _plain(value)
    return _plain(value)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one line per kind
    if is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {f.name: jsonable(getattr(value, f.name), hints[f.name]) for f in fields(value)}
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers; importing it takes 0.1 s
        return value.tolist()
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return str(value) if isinstance(value, Path) else value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
