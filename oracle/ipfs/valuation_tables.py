"""The tables of a valuation as files, and the index under which they are served.

```
 cid on chain ─▶ raw block: JSON {schema, valuation, values, totals, opinions, files}
 files          order.bin, sums.bin, rows.bin: entries as in tables.py, nothing else
```
`totals` are the contributions' sums before they are clamped and `opinions` second opinions: shown
to people, and part of nothing that is paid or proven.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oracle.errors import DigestMismatch
from oracle.ipfs.port import MAX_BLOCK, Ipfs
from oracle.private_files import make_folder
from oracle.protocol.cid import raw_cid
from oracle.types import Bytes32, Cid
from oracle.valuation.rounds import Valuation
from oracle.valuation.tables import ENTRY, ORDER, ROWS, SUMS, Table, Tables, read

SCHEMA = "tallystick/valuation/1"
NAMES = ("order", "sums", "rows")
_DTYPES = {"order": ORDER, "sums": SUMS, "rows": ROWS}
_ROOTS = ("order", "sums", "rows", "values")
Opinions = Mapping[str, tuple[float, ...]]  # by method, for each contribution


@dataclass(frozen=True)
class Index:
    """What is said of a valuation beside its tables."""

    valuation: Valuation
    values: tuple[int, ...]
    totals: tuple[int, ...]
    opinions: Opinions = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # cid, sha256, size

    def to_json(self) -> str:
        """Return it as JSON."""
        held = self.valuation
        roots = {name: getattr(held, name).hex() for name in _ROOTS}
        body = {
            "schema": SCHEMA,
            "valuation": {"N": held.N, "n": held.n, "T": held.T, **roots},
            "values": list(self.values),
            "totals": list(self.totals),
            "opinions": {name: list(values) for name, values in self.opinions.items()},
            "files": {name: dict(place) for name, place in self.files.items()},
        }
        return json.dumps(body, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Index":
        """Read an index.

        Raises:
            DigestMismatch: not one that `to_json` writes.
        """
        try:
            body = json.loads(text)
            given = body["valuation"]
            roots = {name: Bytes32(bytes.fromhex(given[name])) for name in _ROOTS}
            return cls(
                Valuation(int(given["N"]), int(given["n"]), int(given["T"]), **roots),
                tuple(int(value) for value in body["values"]),
                tuple(int(value) for value in body["totals"]),
                {
                    str(name): tuple(float(v) for v in values)
                    for name, values in body["opinions"].items()
                },
                {name: _place(body["files"][name]) for name in NAMES if name in body["files"]},
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DigestMismatch(f"not a valuation's index: {error!r:.200}") from error


def totals(tables: Tables, starts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the contributions' sums before they are clamped; `starts` ends with N."""
    prefixes = read(tables.rows.entries[0]["prefix"])
    return tuple(int(prefixes[end - 1]) for end in starts[1:])


def write(tables: Tables, folder: Path) -> None:
    """Put the tables that are not in files yet into files."""
    make_folder(folder)
    for name in NAMES:
        entries = getattr(tables, name).entries
        if isinstance(entries, np.memmap):
            entries.flush()
        elif entries.size:
            entries.tofile(folder / f"{name}.bin")


def load(folder: Path, valuation: Valuation, values: tuple[int, ...]) -> Tables:
    """Open the tables in a folder; nothing is checked but lengths.

    Raises:
        DigestMismatch: a file is missing or has another length.
    """
    order, sums, rows = (_open(folder, name, shape) for name, shape in shapes(valuation).items())
    return Tables(order, sums, rows, values)


def publish(ipfs: Ipfs, index: Index, folder: Path) -> tuple[Index, Bytes32]:
    """Put the tables in a folder on IPFS; return the index that names them, and its digest.

    Raises:
        Unavailable: the node cannot be reached.
    """
    files = {}
    for name in NAMES:
        path = folder / f"{name}.bin"
        if path.exists():
            found = ipfs.publish_file(path)
            files[name] = {"cid": found.cid, "sha256": found.sha256.hex(), "size": found.size}
    whole = Index(index.valuation, index.values, index.totals, index.opinions, files)
    return whole, ipfs.publish_bytes(whole.to_json().encode()).sha256


def fetch_index(ipfs: Ipfs, cid: Bytes32) -> Index:
    """Return the index that a digest on chain names.

    Raises:
        CidUnresolved: nobody has it. Unavailable: the node cannot be reached.
        DigestMismatch: what is there is something else.
    """
    return Index.from_json(ipfs.fetch_bytes(raw_cid(cid), MAX_BLOCK))


def fetch(ipfs: Ipfs, index: Index, name: str, valuation: Valuation, folder: Path) -> Table:
    """Return one table of a published valuation, held against its root; its file is in `folder`.

    Args:
        index: as it is served; nothing of it is believed.
        valuation: as the chain has it.

    Raises:
        CidUnresolved: nobody has it. Unavailable: the node cannot be reached.
        DigestMismatch: what is there is something else.
    """
    make_folder(folder)
    shape = shapes(valuation)[name]
    path, size = folder / f"{name}.bin", shape[0] * shape[1] * ENTRY
    if size and not (path.exists() and path.stat().st_size == size):
        place = index.files.get(name)
        if place is None or place["size"] != size:
            raise DigestMismatch(f"the index names no table {name} of {size:,} bytes")
        sha256 = Bytes32(bytes.fromhex(place["sha256"]))
        ipfs.fetch_file(Cid(place["cid"]), path, sha256, size)
    table = _open(folder, name, shape)
    if table.root != getattr(valuation, name):
        path.unlink(missing_ok=True)
        raise DigestMismatch(f"the table {name} that is served is not the one on chain")
    return table


def shapes(valuation: Valuation) -> dict[str, tuple[int, int]]:
    """Return rows × entries of each table."""
    return {
        "order": (valuation.T, valuation.n),
        "sums": (valuation.N, valuation.T),
        "rows": (1, valuation.N),
    }


def _open(folder: Path, name: str, shape: tuple[int, int]) -> Table:
    path, dtype = folder / f"{name}.bin", _DTYPES[name]
    if 0 in shape:
        return Table(np.zeros(shape, dtype))
    if not path.exists() or path.stat().st_size != shape[0] * shape[1] * ENTRY:
        raise DigestMismatch(f"{path} is not a table of {shape[0]} × {shape[1]} entries")
    return Table(np.memmap(path, dtype, "r", shape=shape))


def _place(given: Any) -> dict[str, Any]:
    sha256 = str(given["sha256"])
    if len(bytes.fromhex(sha256)) != 32:
        raise ValueError("a digest has 32 bytes")
    return {"cid": str(given["cid"]), "sha256": sha256, "size": int(given["size"])}
