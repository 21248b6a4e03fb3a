"""A model's schema of training data: which columns there are and how they become integers (§1).

It is pinned with the model as JSON, so every contributor gets the same integers from the same file:
    x → clamp(round_half_even((x − offset_k) / scale_k)), −128 … 127, in binary64
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact.dtypes import Array
from oracle.valuation.dataset import MAX_FEATURES, DataSet, Features, Labels
from oracle.valuation.errors import NotFinite, SchemaMismatch


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns and their quantisation.

    `label` is the column of labels; `labels` names classes 0, 1 … (empty: labels are numbers).
    `image` is (height, width, channels) where rows are pictures, whose bytes are the columns.
    """

    columns: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    label: str = "label"
    labels: tuple[str, ...] = ()
    image: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        count = len(self.columns)
        if not 1 <= count <= MAX_FEATURES or {len(self.offset), len(self.scale)} != {count}:
            raise InputInvalid(f"a schema has 1 … {MAX_FEATURES} columns, each with offset, scale")
        if len({*self.columns, self.label}) != count + 1 or len(self.labels) > 1 << 16:
            raise InputInvalid("a schema names a column twice, or more than 65,536 labels")
        if len(set(self.labels)) != len(self.labels):
            raise InputInvalid("a schema names a label twice")
        if not np.isfinite([*self.offset, *self.scale]).all() or min(self.scale) <= 0:
            raise InputInvalid("offsets and scales are finite, and scales above zero")
        if self.image and self.image[0] * self.image[1] * self.image[2] != count:
            raise InputInvalid(f"pictures of {self.image} do not have {count} bytes")

    @classmethod
    def fit(cls, values: Array, columns: Sequence[str] = (), **others: Any) -> "Schema":
        """Return a schema whose 256 steps span the values of each column: rows × columns."""
        low, high = values.min(0).astype(np.float64), values.max(0).astype(np.float64)
        span = np.where(high > low, high - low, 1.0)
        scale = span / 254
        names = tuple(columns) or tuple(f"x{k}" for k in range(values.shape[1]))
        return cls(names, tuple(((low + high) / 2).tolist()), tuple(scale.tolist()), **others)

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """Read a schema.

        Raises:
            InputInvalid: not one that `to_json` writes.
        """
        try:
            given = json.loads(text)
            if not isinstance(given, Mapping) or set(given) - {field.name for field in fields(cls)}:
                raise InputInvalid("a schema is an object with the fields of to_json")
            tuples: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
            }
            return cls(**tuples)
        except (ValueError, TypeError) as error:
            raise InputInvalid(f"not a schema: {error}") from error

    def to_json(self) -> str:
        """Return it as JSON; floats are written so that they read back to the same bits."""
        return json.dumps(asdict(self), sort_keys=True)

    def quantise(self, values: Array, where: str = "data") -> Features:
        """Return the integers of raw values, rows × columns.

        Raises:
            SchemaMismatch: another number of columns, or not numbers.
            NotFinite: a value is NaN or infinite.
        """
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise SchemaMismatch(
                f"{where}: shape {values.shape}, the schema has {len(self.columns)} columns"
            )
        if values.dtype.kind not in "iufb":
            raise SchemaMismatch(f"{where}: values of type {values.dtype} are not numbers")
        given = values.astype(np.float64)
        bad = np.argwhere(~np.isfinite(given))
        if bad.size:
            row, column = bad[0]
            raise NotFinite(where, int(row), self.columns[column])
        with np.errstate(over="ignore"):  # beyond any range: clamped
            steps = np.rint((given - np.array(self.offset)) / np.array(self.scale))
        integers: Features = np.clip(steps, -128, 127).astype(np.int8)
        return integers

    def label_ids(self, given: Sequence[Any], where: str = "data") -> Labels:
        """Return the labels' numbers.

        Raises:
            SchemaMismatch: a label that the schema does not know.
        """
        if self.labels:
            ids = {name: number for number, name in enumerate(self.labels)}
            found = [ids.get(str(name), -1) for name in given]
        else:
            found = [_natural(label) for label in given]
        if -1 in found:
            row = found.index(-1)
            raise SchemaMismatch(
                f"{where}: row {row} has label {str(given[row])!r:.40}",
                hint=f"known labels: {', '.join(self.labels) or '0 … 65535'}",
            )
        return np.array(found, np.uint16)

    def dataset(
        self,
        values: Array,
        labels: Sequence[Any],
        *,
        where: str = "data",
        drop_repeats: bool = False,
    ) -> DataSet:
        """Return the data set of raw rows; errors as `quantise`, `label_ids` and `DataSet.of`."""
        features, ids = self.quantise(values, where), self.label_ids(labels, where)
        return DataSet.of(features, ids, where=where, drop_repeats=drop_repeats)


def _natural(label: Any) -> int:
    """Return a label that is a number, 0 … 65,535; −1 for anything else."""
    try:
        number = float(label)
    except (TypeError, ValueError):
        return -1
    return int(number) if number.is_integer() and 0 <= number <= 0xFFFF else -1
