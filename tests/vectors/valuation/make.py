"""Makes the golden vectors of valuation: a round, its tables' roots, and the proof of every lie.

`python -m tests.vectors.valuation.make` rewrites the files beside it; a test fails when they are
not what this makes. README.md says how they are laid out.
"""

import json
from pathlib import Path
from typing import Any

from oracle.valuation.dataset import DataSet
from oracle.valuation.faults import INDICES, PARTS, Fault
from oracle.valuation.rounds import RoundData, Valuation
from oracle.valuation.table_comparison import find
from tests.valuation.rounds import NAMES, falsified, small, tables

HERE = Path(__file__).parent


def vectors() -> dict[str, bytes]:
    """Return every file by name."""
    data = small()
    return {"round.json": _text(_round(data)), "faults.json": _text(_faults(data))}


def _round(data: RoundData) -> dict[str, Any]:
    right = tables(data)
    return {
        "k": data.params.k,
        "tauRow": data.params.tau_row,
        "tauTest": data.params.tau_test,
        "width": data.round.width,
        "contributions": [_set(held) for held in data.sets],
        "test": _set(data.test),
        "valuation": valuation_json(right.valuation),
        "values": list(right.values),
        "credits": list(right.credits),
        "rows": right.rows.entries.tobytes().hex(),
        "order0": right.order.entries[0].tobytes().hex(),
        "sums0": right.sums.entries[0].tobytes().hex(),
    }


def _set(held: DataSet) -> dict[str, Any]:
    return {"count": held.rows, "root": held.root.hex(), "rows": held.stored.tobytes().hex()}


def _faults(data: RoundData) -> list[dict[str, Any]]:
    cases = []
    for name in NAMES:
        _, false = falsified(data, name)
        fault = find(data, false, tables(data))
        assert fault is not None
        cases.append(
            {
                "name": name,
                "valuation": valuation_json(false.valuation),
                "fault": fault_json(fault),
            }
        )
    return cases


def valuation_json(held: Valuation) -> dict[str, Any]:
    """Return what is committed to, with its root."""
    return {
        "N": held.N,
        "n": held.n,
        "T": held.T,
        "order": held.order.hex(),
        "sums": held.sums.hex(),
        "rows": held.rows.hex(),
        "values": held.values.hex(),
        "root": held.root.hex(),
    }


def fault_json(fault: Fault) -> dict[str, Any]:
    """Return a proof with its fields in the order of the struct."""
    indices = {name: getattr(fault, name) for name in INDICES}
    parts = {
        part: [
            {"data": piece.data.hex(), "path": [node.hex() for node in piece.path]}
            for piece in getattr(fault, part)
        ]
        for part in PARTS
    }
    return {"code": int(fault.code), **indices, **parts}


def _text(document: Any) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


if __name__ == "__main__":
    for file, content in vectors().items():
        (HERE / file).write_bytes(content)
