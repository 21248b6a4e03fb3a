"""Files of training data: CSV, Parquet, NPZ and folders of pictures become a data set (§1).

Nothing here trusts a file: rows are counted while they are read, archives' sizes before.
```
 data.csv            a header; the schema's columns and its label, in any order
 data.npz            `x` rows × columns, or one array for each column; `y` or the label's name
 data.parquet        as CSV (needs pyarrow)
 pictures/LABEL/*    PNG, JPEG …; of the schema's size (needs Pillow)
```
"""

import csv
import importlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oracle.exact.dtypes import Array
from oracle.valuation.dataset import MAX_ROWS, DataSet
from oracle.valuation.errors import (
    DataEmpty,
    DataOversized,
    FormatUnknown,
    NotFinite,
    ReaderMissing,
    SchemaMismatch,
)
from oracle.valuation.schema import Schema

Raw = tuple[Array, list[Any]]  # values, rows × columns; labels


@dataclass(frozen=True)
class ReadLimits:
    """How much a reader takes in: rows, and bytes of one file once it is unpacked."""

    rows: int = MAX_ROWS
    bytes: int = 1 << 32


NO_MORE = ReadLimits()


def read(
    path: Path, schema: Schema, *, drop_repeats: bool = False, limits: ReadLimits = NO_MORE
) -> DataSet:
    """Return the data set in a file or a folder of pictures.

    Raises:
        DataInvalid: a subclass says what is wrong with the data.
        ReaderMissing: the format needs a package.
    """
    values, labels = raw(path, schema, limits)
    if not len(labels):
        raise DataEmpty(path.name)
    return schema.dataset(values, labels, where=path.name, drop_repeats=drop_repeats)


def raw(path: Path, schema: Schema, limits: ReadLimits = NO_MORE) -> Raw:
    """Return the numbers of a file as they stand there, and its labels; errors as `read`."""
    if path.is_dir():
        reader: Callable[[Path, Schema, ReadLimits], Raw] = _pictures
    else:
        known = {".csv": _csv, ".npz": _npz, ".parquet": _parquet}
        if path.suffix.lower() not in known or not path.is_file():
            raise FormatUnknown(
                f"{path.name} is no file of training data that we read",
                hint=f"{', '.join(known)}, or a folder with one folder of pictures for each label",
            )
        if path.stat().st_size > limits.bytes:
            raise DataOversized(path.name, "bytes", limits.bytes)
        reader = known[path.suffix.lower()]
    return reader(path, schema, limits)


def _csv(path: Path, schema: Schema, limits: ReadLimits) -> Raw:
    rows, labels = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, strict=True)
            _require_columns(path.name, schema, list(lines.fieldnames or ()))
            for number, line in enumerate(lines):
                if number == limits.rows:
                    raise DataOversized(path.name, "rows", limits.rows)
                if None in line or None in line.values():
                    raise SchemaMismatch(f"{path.name}: row {number} has not as many cells")
                rows.append(_numbers(path.name, number, line, schema))
                labels.append(line[schema.label])
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatUnknown(f"{path.name} is not CSV in UTF-8: {error}") from error
    return np.array(rows, np.float64).reshape(-1, len(schema.columns)), labels


def _numbers(where: str, row: int, line: Mapping[str, str], schema: Schema) -> list[float]:
    values = []
    for column in schema.columns:
        cell = line[column].strip()
        try:
            values.append(float(cell))
        except ValueError:
            if not cell:
                raise NotFinite(where, row, column) from None
            raise SchemaMismatch(
                f"{where}: row {row}, column {column} is {cell!r:.40}, not a number"
            ) from None
    return values


def _npz(path: Path, schema: Schema, limits: ReadLimits) -> Raw:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > limits.bytes:
                raise DataOversized(path.name, "bytes", limits.bytes)
        with np.load(path, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise FormatUnknown(f"{path.name} is not an NPZ file of numbers: {error}") from error
    if "x" in held and "x" not in schema.columns:
        name = "y" if "y" in held else schema.label
        if name not in held:
            raise SchemaMismatch(f"{path.name} has no labels", hint="name them y")
        return _same_length(path.name, limits, held["x"], held[name])
    _require_columns(path.name, schema, list(held))
    columns = [held[name] for name in schema.columns]
    if {column.shape for column in columns} != {held[schema.label].shape}:
        raise SchemaMismatch(f"{path.name}: columns are not equally long")
    return _same_length(path.name, limits, np.stack(columns, axis=-1), held[schema.label])


def _same_length(where: str, limits: ReadLimits, values: Array, labels: Array) -> Raw:
    if values.ndim > 2:
        values = values.reshape(len(values), -1)
    if labels.ndim != 1 or values.ndim != 2 or len(labels) != len(values):
        raise SchemaMismatch(f"{where}: values {values.shape} and labels {labels.shape}")
    if len(labels) > limits.rows:
        raise DataOversized(where, "rows", limits.rows)
    return values, labels.tolist()


def _parquet(path: Path, schema: Schema, limits: ReadLimits) -> Raw:
    try:
        parquet = importlib.import_module("pyarrow.parquet")  # only for Parquet
    except ImportError as error:
        raise ReaderMissing("Parquet", "pyarrow") from error
    try:
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > limits.rows:
                raise DataOversized(path.name, "rows", limits.rows)
            _require_columns(path.name, schema, file.schema_arrow.names)
            table = file.read(columns=[*schema.columns, schema.label])
        columns = [table[name].to_numpy() for name in schema.columns]
        return np.stack(columns, axis=-1), table[schema.label].to_pylist()
    except (ValueError, NotImplementedError, OSError) as error:  # ArrowInvalid is a ValueError
        raise FormatUnknown(f"{path.name} is not Parquet: {error}") from error


def _pictures(path: Path, schema: Schema, limits: ReadLimits) -> Raw:
    try:
        import PIL.Image as pillow  # noqa: PLC0415 - only for images
    except ImportError as error:
        raise ReaderMissing("a folder of pictures", "pillow") from error
    if schema.image is None:
        raise SchemaMismatch(f"{path.name} is a folder, the model takes tables, not pictures")
    height, width, channels = schema.image
    values, labels = [], []
    for number, (label, file) in enumerate(_files(path)):
        if number == limits.rows:
            raise DataOversized(path.name, "pictures", limits.rows)
        try:
            with pillow.open(file) as picture:
                if picture.size != (width, height):
                    raise SchemaMismatch(
                        f"{label}/{file.name} is {picture.size}, the model takes {(width, height)}"
                    )
                pixels = picture.convert("L" if channels == 1 else "RGB")
        except (OSError, ValueError, pillow.DecompressionBombError) as error:
            raise FormatUnknown(f"{label}/{file.name} is not a picture: {error}") from error
        values.append(np.asarray(pixels, np.float64).ravel())
        labels.append(label)
    return np.array(values).reshape(-1, len(schema.columns)), labels


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield (label, file) of each picture; what begins with a dot is nobody's data."""
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            for file in sorted(folder.iterdir()):
                if file.is_file() and not file.name.startswith("."):
                    yield folder.name, file


def _require_columns(where: str, schema: Schema, names: list[str]) -> None:
    missing = [name for name in (*schema.columns, schema.label) if name not in names]
    if missing:
        raise SchemaMismatch(
            f"{where} has no column {missing[0]!r}",
            hint=f"the model's schema: {', '.join(schema.columns)}, label {schema.label}",
        )
    if len(set(names)) != len(names):
        raise SchemaMismatch(f"{where} has two columns of one name")
