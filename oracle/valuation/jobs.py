"""A job of a valuator: which rows a sealed round consists of, and where their bytes are.

Written as JSON by who knows the chain, read by who computes: the only thing both share beside the
folder in which the tables come to stand.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from oracle.errors import InputInvalid
from oracle.types import Bytes32
from oracle.valuation.rounds import Params, SealedRound

JOB, FETCHED, RESULT, FAILED = "job.json", "fetched", "result.json", "failed.json"  # in its folder
DATA = "data"  # folder of the rows, in the job's


@dataclass(frozen=True, slots=True)
class Source:
    """A data set that the chain names."""

    root: Bytes32
    rows: int
    cid: Bytes32  # SHA-256 of the raw block that leads to it (ipfs/data_sets.py)


@dataclass(frozen=True)
class ValueJob:
    """A sealed round: contributions by number, and the test set."""

    round_id: int
    params: Params
    width: int  # D
    sets: tuple[Source, ...]
    test: Source

    @property
    def name(self) -> str:
        """A name that no other job has: after a reorg a round may have other rows."""
        return f"{self.round_id}-{hashlib.sha256(self.to_json().encode()).hexdigest()[:16]}"

    @property
    def round(self) -> SealedRound:
        """What the chain holds of it."""
        return SealedRound(
            self.params,
            self.width,
            self.test.root,
            self.test.rows,
            tuple(source.root for source in self.sets),
            tuple(source.rows for source in self.sets),
        )

    def to_json(self) -> str:
        """Return it as JSON."""
        params = self.params
        body = {
            "round": self.round_id,
            "k": params.k,
            "tau_row": params.tau_row,
            "tau_test": params.tau_test,
            "features": self.width,
            "sets": [_source(source) for source in self.sets],
            "test": _source(self.test),
        }
        return json.dumps(body, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ValueJob":
        """Read a job.

        Raises:
            InputInvalid: not one that `to_json` writes.
        """
        try:
            body = json.loads(text)
            return cls(
                int(body["round"]),
                Params(int(body["k"]), int(body["tau_row"]), int(body["tau_test"])),
                int(body["features"]),
                tuple(_read(source) for source in body["sets"]),
                _read(body["test"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise InputInvalid(f"malformed valuation job: {error!r:.200}") from error


def _source(source: Source) -> dict[str, Any]:
    return {"root": source.root.hex(), "rows": source.rows, "cid": source.cid.hex()}


def _read(body: Any) -> Source:
    root, cid = (Bytes32(bytes.fromhex(body[name])) for name in ("root", "cid"))
    if {len(root), len(cid)} != {32}:
        raise ValueError("a digest has 32 bytes")
    return Source(root, int(body["rows"]), cid)
