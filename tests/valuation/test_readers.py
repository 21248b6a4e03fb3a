"""Files in four formats give one data set; whatever is wrong with them has a typed error."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oracle.errors import InputInvalid
from oracle.valuation.dataset import DataSet
from oracle.valuation.errors import (
    DataEmpty,
    DataOversized,
    FormatUnknown,
    NotFinite,
    ReaderMissing,
    RowRepeated,
    SchemaMismatch,
)
from oracle.valuation.readers import ReadLimits, read
from oracle.valuation.schema import Schema

SCHEMA = Schema(("a", "b"), (0.0, 1.0), (0.5, 2.0), label="kind", labels=("cat", "dog"))
WANTED = DataSet.of(np.array([[2, 0], [3, -1]]), np.array([0, 1]))
PICTURES = Schema(("0", "1", "2", "3"), (0.0,) * 4, (2.0,) * 4, labels=("x", "y"), image=(2, 2, 1))


def csv(folder: Path, text: str) -> Path:
    path = folder / "data.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", SchemaMismatch),
        ("a,b,kind\n", DataEmpty),
        ("a,kind\n1,cat\n", SchemaMismatch),
        ("a,b,a,kind\n1,2,3,cat\n", SchemaMismatch),
        ("a,b,kind\n1,2\n", SchemaMismatch),
        ("a,b,kind\n1,2,cat,9\n", SchemaMismatch),
        ("a,b,kind\n1,two,cat\n", SchemaMismatch),
        ("a,b,kind\n1,2,horse\n", SchemaMismatch),
        ("a,b,kind\n1,,cat\n", NotFinite),
        ("a,b,kind\n1,nan,cat\n", NotFinite),
        ("a,b,kind\n-inf,1,cat\n", NotFinite),
        ("a,b,kind\n1,2,cat\n1,2,cat\n", RowRepeated),
        ('a,b,kind\n1,2,"cat\n', FormatUnknown),
    ],
)
def test_read__bad_csv__typed_error(tmp_path: Path, text: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        read(csv(tmp_path, text), SCHEMA)
    assert isinstance(caught.value, InputInvalid)


def test_read__csv_in_another_encoding__format_unknown(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,b,kind\n1,2,c\xe4t\n")
    with pytest.raises(FormatUnknown):
        read(path, SCHEMA)


def test_read__more_rows_than_a_round_takes__data_oversized(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(6.0).reshape(3, 2), y=np.array(["cat"] * 3))
    for held in (path, csv(tmp_path, "a,b,kind\n1,2,cat\n2,2,cat\n3,2,cat\n")):
        with pytest.raises(DataOversized):
            read(held, SCHEMA, limits=ReadLimits(rows=2))


def test_read__archive_larger_than_allowed__not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.zeros((4000, 2)), y=np.zeros(4000))
    assert path.stat().st_size < 8_000
    with pytest.raises(DataOversized):
        read(path, SCHEMA, limits=ReadLimits(bytes=8_000))


@pytest.mark.parametrize("name", ["data.txt", "absent.csv", "absent"])
def test_read__no_such_format_or_file__format_unknown(tmp_path: Path, name: str) -> None:
    (tmp_path / "data.txt").write_text("1")
    with pytest.raises(FormatUnknown):
        read(tmp_path / name, SCHEMA)


def test_read__npz_of_objects_or_rubbish__format_unknown(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{}], object), y=np.zeros(1))
    with pytest.raises(FormatUnknown):
        read(path, SCHEMA)
    path.write_bytes(b"PK\x03\x04rubbish")
    with pytest.raises(FormatUnknown):
        read(path, SCHEMA)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((2, 2))},
        {"x": np.zeros((2, 3)), "y": np.array(["cat", "dog"])},
        {"x": np.zeros((3, 2)), "y": np.array(["cat", "dog"])},
        {"x": np.array([["1", "2"]]), "y": np.array(["cat"])},
        {"a": np.zeros(2), "b": np.zeros(3), "kind": np.array(["cat", "dog"])},
        {"a": np.zeros(2), "kind": np.array(["cat", "dog"])},
    ],
)
def test_read__npz_of_another_schema__schema_mismatch(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(SchemaMismatch):
        read(tmp_path / "data.npz", SCHEMA)


def test_read__parquet_without_pyarrow__says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(ReaderMissing) as caught:
        read(tmp_path / "data.parquet", SCHEMA)
    assert caught.value.hint == "pip install pyarrow"


def test_read__parquet__the_same_data_set(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"kind": ["dog", "cat"], "b": [-1.0, 1.0], "a": [1.5, 1.0]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "data.parquet")
    assert read(tmp_path / "data.parquet", SCHEMA).root == WANTED.root


def test_read__csv_and_npz_of_the_same_rows__one_root(tmp_path: Path) -> None:
    text = "\ufeffkind,more,b,a\r\ndog,x,-1,1.5\r\ncat,y,1e0, 1\r\n"
    np.savez(tmp_path / "x.npz", x=np.array([[1, 1], [1.5, -1]]), y=np.array(["cat", "dog"]))
    columns = {"a": np.array([1, 1.5]), "b": np.array([1, -1]), "kind": np.array(["cat", "dog"])}
    np.savez(tmp_path / "columns.npz", **columns)
    for path in (csv(tmp_path, text), tmp_path / "x.npz", tmp_path / "columns.npz"):
        assert read(path, SCHEMA).root == WANTED.root


def picture(path: Path, size: tuple[int, int], first: int) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    image = Image.new("L", size)
    image.putpixel((0, 0), first)
    image.save(path)


def test_read__pictures__pixels_row_by_row_and_folders_as_labels(tmp_path: Path) -> None:
    picture(tmp_path / "x" / "1.png", (2, 2), 8)
    picture(tmp_path / "y" / "1.png", (2, 2), 4)
    (tmp_path / ".hidden").mkdir()
    wanted = DataSet.of(np.array([[4, 0, 0, 0], [2, 0, 0, 0]]), np.array([0, 1]))
    assert read(tmp_path, PICTURES).root == wanted.root


def test_read__pictures_that_do_not_fit__typed_error(tmp_path: Path) -> None:
    with pytest.raises(DataEmpty):
        read(tmp_path, PICTURES)
    picture(tmp_path / "x" / "1.png", (3, 2), 8)
    with pytest.raises(SchemaMismatch, match=r"1\.png"):
        read(tmp_path, PICTURES)
    with pytest.raises(SchemaMismatch, match="takes tables"):
        read(tmp_path, SCHEMA)
    (tmp_path / "x" / "1.png").write_bytes(b"no picture")
    with pytest.raises(FormatUnknown):
        read(tmp_path, PICTURES)


# ── Schema ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"columns": ["a"], "offset": [0], "scale": [1], "more": 1}',
        '{"columns": ["a"], "offset": [0], "scale": [0]}',
        '{"columns": ["a"], "offset": [0], "scale": [-1]}',
        '{"columns": ["a"], "offset": [NaN], "scale": [1]}',
        '{"columns": ["a", "a"], "offset": [0, 0], "scale": [1, 1]}',
        '{"columns": ["label"], "offset": [0], "scale": [1]}',
        '{"columns": ["a"], "offset": [0, 1], "scale": [1]}',
        '{"columns": ["a"], "offset": [0], "scale": [1], "labels": ["x", "x"]}',
        '{"columns": ["a"], "offset": [0], "scale": [1], "image": [2, 2, 1]}',
        '{"columns": [], "offset": [], "scale": []}',
    ],
)
def test_from_json__not_a_schema__input_invalid(text: str) -> None:
    with pytest.raises(InputInvalid):
        Schema.from_json(text)


@pytest.mark.parametrize("schema", [SCHEMA, PICTURES])
def test_from_json__what_to_json_wrote__the_same(schema: Schema) -> None:
    assert Schema.from_json(schema.to_json()) == schema


def test_quantise__halves_and_extremes__to_even_and_clamped() -> None:
    schema = Schema(("a",), (0.0,), (2.0,))
    values = np.array([[1.0], [3.0], [-1.0], [1e308], [-1e9], [254], [255], [256]])
    assert schema.quantise(values)[:, 0].tolist() == [0, 2, 0, 127, -128, 127, 127, 127]


def test_fit__any_columns__the_span_becomes_255_steps() -> None:
    values = np.array([[0.0, 5.0], [10.0, 5.0], [5.0, 5.0]])
    integers = Schema.fit(values).quantise(values)
    assert integers.tolist() == [[-127, 0], [127, 0], [0, 0]]


def test_label_ids__numbers_out_of_range__schema_mismatch() -> None:
    schema = Schema(("a",), (0.0,), (1.0,))
    assert schema.label_ids(["0", 65_535, 7.0]).tolist() == [0, 65_535, 7]
    for wrong in ("x", 1.5, -1, 65_536, "nan", "inf"):
        with pytest.raises(SchemaMismatch):
            schema.label_ids([wrong])
