"""What a browser sends as an input, made into what `inputs.prepare` takes. Pure but for one file.

The browser names the kind; the bytes are hostile and are judged by the services.
"""

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oracle.errors import InputInvalid
from oracle.services.inputs import IMAGES, TEXTS

MAX_UPLOAD = 8 * 2**20  # bytes
KINDS = (*IMAGES, *TEXTS, ".json", ".csv", ".npz", ".npy", ".safetensors")


@contextmanager
def source(data: bytes, name: str) -> Iterator[str]:
    """Yield what `inputs.prepare` calls a source: a file that is gone afterwards.

    Args:
        name: of the file as the browser says it; only its suffix counts.

    Raises:
        InputInvalid: a kind that is not understood, or an unreadable table.
    """
    suffix = Path(name.lower()).suffix
    if suffix not in KINDS:
        raise InputInvalid(
            f"files of kind {suffix or name!r:.20} are not understood",
            hint="use " + " ".join(KINDS),
        )
    if suffix == ".csv":
        data, suffix = table(data), ".json"
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        yield file.name


def table(data: bytes) -> bytes:
    """Return a CSV of numbers as JSON rows; a first row that holds no numbers is a heading.

    An empty cell is null: a missing value, which some models of trees know.

    Raises:
        InputInvalid: not UTF-8, no rows, or a cell that is no number.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputInvalid(f"the table is not CSV in UTF-8: {error}") from error
    if rows and not any(_is_number(cell) for cell in rows[0]):
        rows = rows[1:]
    if not rows:
        raise InputInvalid("the table has no rows of numbers")
    values: list[list[float | None]] = []
    for number, row in enumerate(rows, 1):
        for cell in row:
            if cell.strip() and not _is_number(cell):
                raise InputInvalid(f"row {number} of the table: {cell!r:.40} is not a number")
        values.append([_number(cell) if cell.strip() else None for cell in row])
    return json.dumps(values).encode()


def _number(cell: str) -> float:
    value = float(cell)
    return int(value) if value.is_integer() and "." not in cell and "e" not in cell else value


def _is_number(cell: str) -> bool:
    try:
        value = float(cell)
    except ValueError:
        return False
    return value - value == 0  # neither infinite nor NaN
