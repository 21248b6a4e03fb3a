"""Vectors of a round on IPFS: files of updates and states, and the index of an aggregate.

```
 reveal    cid, digest ─▶ the file of an update: safetensors, i16 (or i32)
 publish   cid ─▶ raw block: JSON {schema, state, sums}; digest: SHA-256 of the state's file
 files     {cid, sha256, size}; sums: i64, little-endian, or null where they are too many
```
Whoever uses a file holds it against its root on chain.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oracle.errors import DigestMismatch
from oracle.ipfs.port import MAX_BLOCK, CidUnresolved, Ipfs, Published
from oracle.protocol.cid import Codec, make, parse, raw_cid
from oracle.services.training.rounds import RevealedUpdate, TrainingRoundInfo
from oracle.types import Bytes32, Cid

SCHEMA = "tallystick/aggregate/1"
MOST_SUMS = 1 << 30  # bytes: longer running sums are not published, but shown when demanded


class AggregateUnserved(CidUnresolved):
    """Nobody serves an aggregate as its transaction names it."""


def publish_update(ipfs: Ipfs, path: Path) -> tuple[Bytes32, Bytes32]:
    """Put an update on IPFS; return cid and digest as `reveal` names them."""
    found = ipfs.publish_file(path)
    return parse(found.cid)[1], found.sha256


def fetch_update(ipfs: Ipfs, update: RevealedUpdate, size: int, path: Path) -> None:
    """Fetch the file of an update; its SHA-256 is checked, its root is not.

    Args:
        size: bytes of an update of i16.

    Raises:
        CidUnresolved: nobody has it. DigestMismatch: it is of another size, or other bytes.
    """
    codec = Codec.RAW if size <= MAX_BLOCK else Codec.DAG_PB
    ipfs.fetch_file(make(codec, update.cid), path, update.digest, size)


def publish_aggregate(ipfs: Ipfs, state: Path, sums: Path | None) -> tuple[Bytes32, Bytes32]:
    """Put an aggregate on IPFS; return cid and digest as `publish` names them."""
    of_state = ipfs.publish_file(state)
    index = {
        "schema": SCHEMA,
        "state": _place(of_state),
        "sums": None if sums is None else _place(ipfs.publish_file(sums)),
    }
    block = ipfs.publish_bytes(json.dumps(index, sort_keys=True).encode())
    return block.sha256, of_state.sha256


def fetch_state(ipfs: Ipfs, info: TrainingRoundInfo, size: int, path: Path) -> None:
    """Fetch the next state of a published aggregate.

    Raises:
        AggregateUnserved: nobody has it, or what is there is something else.
    """
    _fetch(ipfs, info, "state", size, path, info.digest)


def fetch_sums(ipfs: Ipfs, info: TrainingRoundInfo, path: Path) -> None:
    """Fetch the running sums of a published aggregate.

    Raises:
        AggregateUnserved: nobody has them, or what is there is something else.
    """
    _fetch(ipfs, info, "sums", 8 * info.terms.parameters * len(info.updates), path, None)


def _fetch(  # noqa: PLR0917 -- one file, and what it must be
    ipfs: Ipfs, info: TrainingRoundInfo, name: str, size: int, path: Path, digest: Bytes32 | None
) -> None:
    try:
        index: Mapping[str, Any] = json.loads(ipfs.fetch_bytes(raw_cid(info.cid), MAX_BLOCK))
        place = index[name]
        if int(place["size"]) != size:
            raise ValueError(f"{place['size']} bytes instead of {size}")
        sha256 = digest or Bytes32(bytes.fromhex(place["sha256"]))
        ipfs.fetch_file(Cid(str(place["cid"])), path, sha256, size)
    except (CidUnresolved, DigestMismatch, ValueError, TypeError, KeyError) as error:
        raise AggregateUnserved(
            f"nobody serves the {name} of round {info.round_id}: {error!s:.200}",
            hint="`tallystick train challenge` demands it on chain",
        ) from error


def _place(found: Published) -> dict[str, Any]:
    return {"cid": found.cid, "sha256": found.sha256.hex(), "size": found.size}
