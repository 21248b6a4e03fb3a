"""Features of a tree model as ranks among the model's thresholds, which lie in a file of their own.

A forest of 500 trees has more thresholds than a manifest may have bytes. So the manifest names a
canonical tensor file, which only whoever makes an input needs:
```
 limits   f64   the thresholds, ascending, feature after feature
 counts   i32   how many of them each feature has
 missing  u8    of each feature: which values go the way of missing ones (`KINDS`)
```
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from oracle.errors import InputInvalid
from oracle.exact.dtypes import Array, DType, Spec
from oracle.protocol import tensor

Missing = Literal["nan", "zero", "none", "refused"]
KINDS: tuple[Missing, ...] = ("nan", "zero", "none", "refused")
LIBRARIES: Mapping[str, str] = {  # whose files of trees are compiled, by suffix
    ".ubj": "xgboost", ".json": "xgboost", ".txt": "lightgbm", ".skops": "scikit-learn",
}  # fmt: skip
MISSING_RANK = 65_535
MAX_FEATURES = 4096  # a row that TREE reads whole has at most 8,192 bytes
MAX_BYTES = 8 * MAX_FEATURES * MISSING_RANK + 2**20  # of the file


@dataclass(frozen=True, eq=False)
class Thresholds:
    """The thresholds of every feature, strictly ascending, and what counts as missing."""

    limits: tuple[Array, ...]  # float64
    missing: tuple[Missing, ...]

    def to_bytes(self) -> bytes:
        """Return the file."""
        return tensor.encode(
            {
                "limits": np.concatenate(self.limits).astype("<f8"),
                "counts": np.array([len(one) for one in self.limits], "<i4"),
                "missing": np.array([KINDS.index(kind) for kind in self.missing], np.uint8),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> "Thresholds":
        """Read a file that a stranger wrote.

        Raises:
            InputInvalid: not one that `to_bytes` writes.
        """
        found = tensor.decode(data, MAX_BYTES)
        codes = {name: (array.dtype.str, array.ndim) for name, array in found.items()}
        if codes != {"counts": ("<i4", 1), "limits": ("<f8", 1), "missing": ("|u1", 1)}:
            raise InputInvalid(f"a file of thresholds does not hold {', '.join(found)}")
        counts, limits, missing = found["counts"], found["limits"], found["missing"]
        if not 1 <= len(counts) == len(missing) <= MAX_FEATURES or missing.max() >= len(KINDS):
            raise InputInvalid(f"thresholds of {len(counts)} features, {len(missing)} kinds")
        if counts.min() < 0 or counts.max() >= MISSING_RANK or counts.sum() != limits.size:
            raise InputInvalid(f"{limits.size} thresholds, the features have {counts.sum()}")
        parts = tuple(np.split(limits, np.cumsum(counts)[:-1]))
        if not all((part[1:] > part[:-1]).all() for part in parts) or np.isnan(limits).any():
            raise InputInvalid("the thresholds of a feature are not strictly ascending")
        return cls(parts, tuple(KINDS[code] for code in missing))


@dataclass(frozen=True, slots=True)
class Ranks:
    """Features of a tree model.

    `precision` is what the library rounds features to before it compares; what is within `zero` of
    zero is zero (LightGBM). Missing is, by feature: NaN; NaN and zero (LightGBM); nothing, NaN
    counts as zero; or nothing, NaN is refused. So is `missing_value` (XGBoost's `missing=`). `file`
    of the manifest holds `thresholds`.
    """

    name: str
    columns: int
    precision: Literal["float32", "float64"]
    file: str
    missing_value: float | None = None
    zero: float = 0.0
    thresholds: Thresholds | None = None
    kind: ClassVar[str] = "ranks"

    @property
    def spec(self) -> Spec:
        """Dtype and shape of the input tensor."""
        return Spec(DType.U16, 1, self.columns)

    @property
    def sound(self) -> bool:
        """Whether fields that a stranger wrote fit each other."""
        numbers = (self.zero, 0.0 if self.missing_value is None else self.missing_value)
        return 1 <= self.columns <= MAX_FEATURES and all(map(math.isfinite, numbers))

    def quantise(self, values: Array) -> Array:
        """Return the ranks of one sample.

        Raises:
            InputInvalid: another number of features, infinity, or NaN where there must be none.
        """
        assert self.thresholds is not None, "the manifest's file was read"
        if values.size != self.columns or len(self.thresholds.limits) != self.columns:
            raise InputInvalid(
                f"{self.name} has {values.size} features, the file {self.file} "
                f"{len(self.thresholds.limits)}, {self.columns} are needed"
            )
        kind = np.dtype(self.precision)
        with np.errstate(over="ignore"):
            given = np.ravel(values).astype(kind)
        if np.isinf(given).any():
            raise InputInvalid(f"input {self.name} is infinite", hint="NaN stands for missing")
        given[np.abs(given) <= self.zero] = 0.0
        absent = np.isnan(given)
        if self.missing_value is not None:
            absent |= given == kind.type(self.missing_value)
        ranks = np.empty((1, self.columns), np.uint16)
        for k, how in enumerate(self.thresholds.missing):
            ranks[0, k] = self._rank(k, float(given[k]), bool(absent[k]), how)
        return ranks

    def _rank(self, feature: int, value: float, absent: bool, how: Missing) -> int:
        assert self.thresholds is not None
        if absent and how == "refused":
            raise InputInvalid(
                f"feature {feature} of {self.name} is missing, and the model knows no missing ones",
                hint="fill it in as the training data were",
            )
        if absent and how == "none":
            absent, value = False, 0.0
        if absent or (how == "zero" and value == 0.0):
            return MISSING_RANK
        return int(np.searchsorted(self.thresholds.limits[feature], value, side="right"))
