"""The golden vectors are what the code makes, and convict when they are read as bytes alone."""

import json
from contextlib import suppress
from typing import Any

import pytest

from oracle.types import Bytes32
from oracle.valuation.errors import FaultInvalid
from oracle.valuation.faults import INDICES, PARTS, Fault, Piece
from oracle.valuation.judge import judge
from oracle.valuation.rounds import Params, SealedRound, Valuation
from tests.vectors.valuation import make

ROUND = json.loads((make.HERE / "round.json").read_text())
FAULTS = json.loads((make.HERE / "faults.json").read_text())


def root(text: str) -> Bytes32:
    return Bytes32(bytes.fromhex(text))


def the_round() -> SealedRound:
    sets = ROUND["contributions"]
    return SealedRound(
        Params(ROUND["k"], ROUND["tauRow"], ROUND["tauTest"]),
        ROUND["width"],
        root(ROUND["test"]["root"]),
        ROUND["test"]["count"],
        tuple(root(held["root"]) for held in sets),
        tuple(held["count"] for held in sets),
    )


def valuation(given: dict[str, Any]) -> Valuation:
    roots = (root(given[name]) for name in ("order", "sums", "rows", "values"))
    held = Valuation(given["N"], given["n"], given["T"], *roots)
    assert held.root.hex() == given["root"]
    return held


def fault(given: dict[str, Any]) -> Fault:
    parts = {
        part: tuple(
            Piece(bytes.fromhex(piece["data"]), tuple(root(node) for node in piece["path"]))
            for piece in given[part]
        )
        for part in PARTS
    }
    return Fault(given["code"], **{name: given[name] for name in INDICES}, **parts)


def test_vectors__committed__are_those_that_the_code_makes() -> None:
    for name, content in make.vectors().items():
        assert (make.HERE / name).read_bytes() == content, f"{name}: run make.py beside it"


@pytest.mark.parametrize("case", FAULTS, ids=[case["name"] for case in FAULTS])
def test_judge__golden_fault__convicts_the_lie_and_not_the_truth(case: dict[str, Any]) -> None:
    proof = fault(case["fault"])
    assert judge(the_round(), valuation(case["valuation"]), proof)
    with suppress(FaultInvalid):
        assert not judge(the_round(), valuation(ROUND["valuation"]), proof)
