"""Data sets as files, and how a digest on chain leads to their bytes.

```
 digest on chain ─▶ raw block ─┬─ starts with MAGIC: the file itself (at most 1 MiB)
                               └─ else JSON {schema, file {cid, sha256, size}}: where it is
 file   MAGIC ‖ u32 rows ‖ u16 features ‖ rows × (features in stored form ‖ u16 label)
```
Whatever is fetched is held against the root on chain before it is used.
"""

import json
from pathlib import Path

import numpy as np

from oracle import whole_file
from oracle.errors import DigestMismatch, InputInvalid
from oracle.ipfs.port import MAX_BLOCK, Ipfs
from oracle.private_files import make_folder
from oracle.protocol.cid import raw_cid
from oracle.types import Bytes32, Cid
from oracle.valuation.dataset import MAX_FEATURES, MAX_ROWS, DataSet
from oracle.valuation.jobs import Source, ValueJob
from oracle.valuation.rounds import RoundData

MAGIC = b"TSDATA\x00\x01"
SCHEMA = "tallystick/data-set/1"
_HEADER = len(MAGIC) + 6


def encode(data: DataSet) -> bytes:
    """Return the file of a data set: one set of rows has one file."""
    head = data.rows.to_bytes(4) + data.width.to_bytes(2)
    return MAGIC + head + data.stored.tobytes()


def decode(body: bytes, where: str = "data", root: Bytes32 | None = None) -> DataSet:
    """Read a file.

    Args:
        root: of what is looked for. Rows that have it in their very order are taken so, sorted or
            not: the chain does not ask, and whoever committed to them must not hold up a round.

    Raises:
        DigestMismatch: it is none, or not of the length that it says.
        DataInvalid: it says what no data set is; a row stands twice.
    """
    rows = int.from_bytes(body[len(MAGIC) : len(MAGIC) + 4])
    width = int.from_bytes(body[len(MAGIC) + 4 : _HEADER])
    fits = body[: len(MAGIC)] == MAGIC and 1 <= rows <= MAX_ROWS and 1 <= width <= MAX_FEATURES
    if not fits or len(body) != _size(rows, width):
        raise DigestMismatch(f"{where} is not a data set's file", hint="docs/valuation.md, §1")
    stored = np.frombuffer(body, np.uint8, offset=_HEADER).reshape(rows, width + 2)
    features = (stored[:, :-2] ^ 0x80).view(np.int8)
    labels = np.ascontiguousarray(stored[:, -2:]).view(">u2")[:, 0].astype(np.uint16)
    as_it_is = DataSet(features, labels)
    if root == as_it_is.root:
        return as_it_is
    return DataSet.of(features, labels, where=where)


def publish(ipfs: Ipfs, data: DataSet, folder: Path) -> Bytes32:
    """Put a data set on IPFS; return the digest that leads to it.

    Args:
        folder: where a file too long for one block is written first.

    Raises:
        Unavailable: the node cannot be reached.
    """
    body = encode(data)
    if len(body) <= MAX_BLOCK:
        return ipfs.publish_bytes(body).sha256
    make_folder(folder)
    path = folder / f"{data.root.hex()}.rows"
    whole_file.write(path, body)
    found = ipfs.publish_file(path)
    place = {"cid": found.cid, "sha256": found.sha256.hex(), "size": found.size}
    index = json.dumps({"schema": SCHEMA, "file": place}, sort_keys=True)
    return ipfs.publish_bytes(index.encode()).sha256


def fetch(ipfs: Ipfs, source: Source, width: int, folder: Path) -> DataSet:
    """Return a data set that the chain names; its file is kept in `folder`.

    Raises:
        CidUnresolved: nobody has it. Unavailable: the node cannot be reached.
        DigestMismatch: what is there is not the data set of this root.
    """
    make_folder(folder)
    path = folder / f"{source.root.hex()}.rows"
    if not path.exists():
        _fetch(ipfs, source, _size(source.rows, width), path)
    where = f"data set 0x{source.root.hex()}"
    try:
        data = decode(path.read_bytes(), where, source.root)
    except InputInvalid as error:
        raise DigestMismatch(str(error), hint=error.hint) from error
    if data.width != width or data.root != source.root:
        path.unlink()
        raise DigestMismatch(f"{where} has root 0x{data.root.hex()} and {data.width} features")
    return data


def fetch_round(ipfs: Ipfs, job: ValueJob, folder: Path) -> RoundData:
    """Return the rows of a job, each data set held against its root; their files are in `folder`.

    Raises:
        CidUnresolved, Unavailable, DigestMismatch: as `fetch`.
    """
    sets = tuple(fetch(ipfs, source, job.width, folder) for source in job.sets)
    return RoundData(job.params, sets, fetch(ipfs, job.test, job.width, folder))


def _fetch(ipfs: Ipfs, source: Source, size: int, path: Path) -> None:
    block = ipfs.fetch_bytes(raw_cid(source.cid), MAX_BLOCK)
    if block[: len(MAGIC)] == MAGIC:
        whole_file.write(path, block)
        return
    try:
        place = json.loads(block)["file"]
        cid, sha256 = Cid(str(place["cid"])), Bytes32(bytes.fromhex(place["sha256"]))
        if int(place["size"]) != size:
            raise ValueError(f"{place['size']} bytes instead of {size}")
    except (ValueError, TypeError, KeyError) as error:
        raise DigestMismatch(
            f"0x{source.cid.hex()} is no data set and names none: {error!r:.200}"
        ) from error
    ipfs.fetch_file(cid, path, sha256, size)


def _size(rows: int, width: int) -> int:
    return _HEADER + rows * (width + 2)
