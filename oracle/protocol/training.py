"""What training data a model takes, and how data sets are committed to. Pure.

A schema is one raw block of canonical JSON. Its SHA-256 stands in the terms of every round for the
model. So all who bring data make the same integers of it (docs/valuation.md, section 1).
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from oracle.errors import InputInvalid
from oracle.protocol import canonical
from oracle.protocol.border import STRICT
from oracle.types import Address, Bytes32, Timestamp

MAX_COLUMNS = 256
MAX_LABELS = 1 << 16
MAX_BYTES = 1 << 18  # of a schema, as of a manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Columns of training data and how they become integers, −128 … 127.

    Attributes:
        columns: their names, in the order of the features.
        offset, scale: per column; x becomes round((x − offset) / scale).
        label: the column of labels.
        labels: names of the classes 0, 1 …; none: labels are numbers.
        image: (height, width, channels) where rows are pictures, whose bytes are the columns.
    """

    schema: Literal["tallystick/training-data/1"] = "tallystick/training-data/1"
    columns: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    label: str = "label"
    labels: tuple[str, ...] = ()
    image: tuple[int, int, int] | None = None

    __pydantic_config__ = STRICT

    @classmethod
    def parse(cls, data: bytes) -> "TrainingData":
        """Read a schema's block.

        Raises:
            InputInvalid: too long, not canonical JSON, or a rule of this module is broken.
        """
        if len(data) > MAX_BYTES:
            raise InputInvalid(f"a schema of {len(data)} bytes is above the limit of {MAX_BYTES}")
        canonical.loads(data)
        try:
            found = _adapter().validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise InputInvalid(f"schema of data: {where}: {first['msg']}") from error
        found.check()
        return found

    def to_bytes(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            InputInvalid: a rule is broken.
        """
        self.check()
        try:
            return canonical.dumps(_adapter().dump_python(self, mode="json", warnings="error"))
        except PydanticSerializationError as error:
            raise InputInvalid(f"schema of data: a field has the wrong type: {error}") from error

    def check(self) -> None:
        """Raise InputInvalid unless columns, offsets and scales fit each other."""
        count = len(self.columns)
        if not 1 <= count <= MAX_COLUMNS or {len(self.offset), len(self.scale)} != {count}:
            raise InputInvalid(
                f"schema of data: {count} columns, {len(self.offset)} offsets, "
                f"{len(self.scale)} scales",
                hint=f"1 to {MAX_COLUMNS} columns, each with an offset and a scale",
            )
        if len({*self.columns, self.label}) != count + 1:
            raise InputInvalid("schema of data: a column is named twice")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) > MAX_LABELS:
            raise InputInvalid("schema of data: a label is named twice, or there are too many")
        if min(self.scale) <= 0:
            raise InputInvalid("schema of data: scales are above zero")
        if self.image and self.image[0] * self.image[1] * self.image[2] != count:
            raise InputInvalid(f"schema of data: pictures of {self.image} have not {count} bytes")


@cache
def _adapter() -> TypeAdapter[TrainingData]:
    return TypeAdapter(TrainingData)


# ── Commitments: keccak256(abi.encode(…)), as IDataRounds.sol says ──────────────────────────────
def commitment(
    round_id: int, owner: Address, salt: Bytes32, data_root: Bytes32, rows: int
) -> Bytes32:
    """Return what the owner of a data set commits to."""
    return _hash(round_id, owner, salt, data_root, rows)


def test_commitment(
    model_id: int, opener: Address, salt: Bytes32, test_root: Bytes32, rows: int
) -> Bytes32:
    """Return what the opener of a round commits to."""
    return _hash(model_id, opener, salt, test_root, rows)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What the record of a submitted contribution is a hash of, beside its predecessor."""

    round_id: int
    index: int
    owner: Address
    commitment: Bytes32
    endorser_bps: int
    deposit: int
    timestamp: Timestamp

    def record(self, previous: Bytes32) -> Bytes32:
        """Return the new head of the model's chain of contributions."""
        return _hash(
            previous,
            self.round_id,
            self.index,
            self.owner,
            self.commitment,
            self.endorser_bps,
            self.deposit,
            self.timestamp,
        )


@dataclass(frozen=True, slots=True)
class Revealed:
    """What the record of a revealed contribution is a hash of, beside its predecessor."""

    round_id: int
    index: int
    owner: Address
    data_root: Bytes32
    rows: int
    cid: Bytes32
    envelope: Bytes32
    timestamp: Timestamp

    def record(self, previous: Bytes32) -> Bytes32:
        """Return the new head of the model's chain of contributions."""
        return _hash(
            previous,
            self.round_id,
            self.index,
            self.owner,
            self.data_root,
            self.rows,
            self.cid,
            self.envelope,
            self.timestamp,
        )


def _hash(*values: int | str | bytes) -> Bytes32:
    return canonical.keccak(b"".join(map(_word, values)))


def _word(value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(32)
    return bytes.fromhex(value[2:]).rjust(32, b"\0") if isinstance(value, str) else value
