"""How results leave the command line: one JSON document on stdout, or text for people.

Logs, progress and questions go to stderr, so that stdout is always the answer and nothing else.
Names, errors and answers of strangers stand in all of it: `console` writes nothing of a text that a
terminal would obey.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from oracle.errors import TallystickError
from oracle.services.documents import jsonable

# What JSON leaves as it is and a terminal obeys: controls of eight bits, turns of direction
_OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def print_json(value: Any) -> None:
    """Write the one JSON document to stdout."""
    text = json.dumps(jsonable(value), indent=2, ensure_ascii=False)
    sys.stdout.write(_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def error_document(error: TallystickError) -> dict[str, Any]:
    """Return an error as the JSON document that takes the answer's place."""
    return {
        "error": type(error).__name__,
        "message": str(error),
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def printable(text: str) -> str:
    """Return a stranger's text without what a terminal would obey."""
    return "".join(
        c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs")
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str = "none") -> Any:
    """Return rows for people to read; `empty` stands for no rows at all."""
    listed = [[str(cell) for cell in row] for row in rows]
    if not listed:
        return Text(empty)
    result = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        result.add_column(column, overflow="fold")
    for row in listed:
        result.add_row(*(Text(printable(cell)) for cell in row))  # Text: brackets are not markup
    return result


def facts(pairs: Iterable[tuple[str, Any]]) -> Any:
    """Return name–value lines for people to read."""
    result = Table.grid(padding=(0, 2))
    result.add_column(style="bold", no_wrap=True)
    result.add_column(overflow="fold")
    for name, value in pairs:
        whole = isinstance(value, Text | Table)
        result.add_row(name, value if whole else Text(printable(str(value))))
    return result


class _Console(Console):
    """Colours and bars are Rich's own; texts have none of their own."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield what is written (see `Console.render`)."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


def console(stderr: bool = False) -> Console:
    """Return a console on the current stdout or stderr; wide where nobody is looking."""
    file = sys.stderr if stderr else sys.stdout
    return _Console(file=file, width=None if file.isatty() else 200, highlight=False)


def print_human(renderable: Any, stderr: bool = False) -> None:
    """Write text or a renderable for people; without the padding where nobody is looking."""
    target = console(stderr)
    if target.is_terminal:
        target.print(renderable, markup=False)
        return
    with target.capture() as captured:
        target.print(renderable, markup=False)
    target.file.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def hexed(value: bytes) -> str:
    """Write bytes as 0x-hex."""
    return "0x" + value.hex()
