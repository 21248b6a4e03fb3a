"""Schemas from files and rows of several files. Opens no sockets."""

from pathlib import Path

import numpy as np
import pytest

from oracle.errors import InputInvalid, NotFound
from oracle.services.data import files
from oracle.valuation.errors import DataInvalid, DataOversized, FormatUnknown
from oracle.valuation.readers import ReadLimits
from tests.services.data.people import SCHEMA, csv, rows

LINES = rows(1)


def test_load__missing_or_no_schema__says_so(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    with pytest.raises(NotFound):
        files.load(path)
    for text in ("", "[]", '{"columns": ["a"]}', '{"columns": 1}'):
        path.write_text(text)
        with pytest.raises(InputInvalid):
            files.load(path)


def test_load__written_by_hand__is_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(
        '{\n "columns": ["a", "b", "c"], "offset": [0, 0, 0], "scale": [1, 1.0, 1],\n'
        ' "label": "kind", "labels": ["no", "yes"]}'
    )
    assert files.load(path) == SCHEMA


def test_fit__csv__spans_its_values(tmp_path: Path) -> None:
    path = csv(tmp_path / "mine.csv", LINES)
    found = files.fit(path, "kind", ("no", "yes"))
    assert found.columns == ("a", "b", "c")
    data = files.read([path], found, drop_repeats=True)
    assert (data.features.min(), data.features.max()) == (-127, 127)


@pytest.mark.parametrize("text", [None, "", "kind\nno\n", "a,b\n1,2\n", "a,kind\nx,no\n"])
def test_fit__not_such_a_csv__says_so(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "mine.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputInvalid):
        files.fit(path, "kind")


def test_read__csv_npz_and_both__are_one_data_set(tmp_path: Path) -> None:
    whole = files.read([csv(tmp_path / "all.csv", LINES)], SCHEMA)
    first = csv(tmp_path / "first.csv", LINES[20:])
    second = tmp_path / "second.npz"
    points = np.array([line[:3] for line in LINES[:20]])
    np.savez(second, x=points, y=np.array([line[3] for line in LINES[:20]]))
    said: list[str] = []
    found = files.read([second, first], SCHEMA, say=said.append)
    assert found.root == whole.root
    assert said == ["reading second.npz", "reading first.csv"]


def test_read__too_much_or_unknown__is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path / "mine.csv", LINES)
    with pytest.raises(DataOversized):
        files.read([path], SCHEMA, limits=ReadLimits(rows=10))
    with pytest.raises(DataOversized):
        files.read([path], SCHEMA, limits=ReadLimits(bytes=100))
    with pytest.raises(FormatUnknown):
        files.read([path.rename(tmp_path / "mine.txt")], SCHEMA)
    assert issubclass(DataOversized, DataInvalid)
