"""The list of messages in docs/operator.md: `python -m oracle.queue.reference docs/operator.md`."""

import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import EnumMeta
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from oracle.queue.message import Message
from oracle.queue.messages import MESSAGES

BEGIN, END = "<!-- messages: generated -->\n", "<!-- end of messages -->\n"
_WORDS = {
    "Bytes32": "32 bytes",
    "RequestId": "32 bytes",
    "Address": "address",
    "Timestamp": "unix seconds",
    "int": "integer",
    "str": "text",
    "bool": "true or false",
}


def replaced(page: str) -> str:
    """Return a page with its list of messages as the dataclasses are now."""
    made = "".join(map(_told, MESSAGES))
    pattern = f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})"
    return re.sub(pattern, lambda _: made, page, flags=re.DOTALL)


def _told(message: type[Message]) -> str:
    title = f"- `{message.name}` on `<operator>.{message.queue}`: {message.__doc__}"
    lines = [title, *(f"    - {argument}" for argument in _arguments(message))]
    return "".join(line + "\n" for line in lines)


def _arguments(kind: Any, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        name, hint = prefix + field.name, hints[field.name]
        if is_dataclass(hint):
            yield from _arguments(hint, name + ".")
        else:
            default = "" if field.default is MISSING else f", {field.default} when left out"
            yield f"`{name}`: {_word(hint)}{default}"


def _word(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"list of {_word(get_args(hint)[0])}"
    if isinstance(hint, EnumMeta):
        return " or ".join(f"`{member.value}`" for member in hint)  # type: ignore[var-annotated]
    return _WORDS.get(hint.__name__, "any nested values")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text()))
