"""What browsers send, made into sources. No sockets."""

import json
from pathlib import Path

import pytest

from oracle.errors import InputInvalid
from oracle.web.uploads import source, table


@pytest.mark.parametrize("name", ["evil.svg", "x.pkl", "x.html", "", "..", "x.png.exe", "x.PT"])
def test_source__unknown_kind__is_refused(name: str) -> None:
    with pytest.raises(InputInvalid, match="not understood"), source(b"x", name):
        pass


def test_source__path_in_the_name__only_its_suffix_counts(tmp_path: Path) -> None:
    with source(b"[1]", "../../etc/passwd.JSON") as path:
        assert Path(path).suffix == ".json"
        assert Path(path).read_bytes() == b"[1]"
        assert "etc" not in Path(path).parts
    assert not Path(path).exists()


def test_source__csv__becomes_json_rows() -> None:
    with source(b"a,b\n1,2.5\n3,4\n", "rows.csv") as path:
        assert json.loads(Path(path).read_text()) == [[1, 2.5], [3, 4]]


def test_table__empty_cell__is_a_missing_value() -> None:
    assert json.loads(table(b"1, \n,2\n")) == [[1, None], [None, 2]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b"", "no rows"),
        (b"a,b\n", "no rows"),
        (b"1,2\n3,=cmd()\n", "row 2"),
        (b"1,nan\n", "row 1"),
        (b"1,inf\n", "row 1"),
    ],
)
def test_table__what_is_no_table_of_numbers__says_where(data: bytes, message: str) -> None:
    with pytest.raises(InputInvalid, match=message):
        table(data)


def test_table__byte_order_mark_and_empty_lines__are_skipped() -> None:
    assert json.loads(table("\ufeff1;\n".encode().replace(b";", b"") + b"\n2\n")) == [[1], [2]]
