"""Every lie is found, proven and judged; nobody is convicted of the truth or by a bent proof."""

from dataclasses import fields, replace

import numpy as np
import pytest

from oracle.chain.codec import plain
from oracle.types import Bytes32
from oracle.valuation.errors import FaultInvalid
from oracle.valuation.faults import INDICES, PARTS, Code, Fault, Piece
from oracle.valuation.judge import judge
from oracle.valuation.rounds import Valuation
from oracle.valuation.table_comparison import find, show
from tests.valuation.rounds import NAMES, copy, falsified, flagged, small, tables

DATA = small()
RIGHT = tables(DATA)


def proven(name: str) -> tuple[Fault, bool]:
    _, false = falsified(DATA, name)
    fault = find(DATA, false, RIGHT)
    assert fault is not None
    return fault, judge(DATA.round, false.valuation, fault)


@pytest.mark.parametrize("name", NAMES)
def test_find__one_lie__a_proof_of_its_code_that_convicts(name: str) -> None:
    fault, convicted = proven(name)
    assert fault.code == falsified(DATA, name)[0]
    assert convicted


def test_find__the_right_tables__nothing() -> None:
    assert find(DATA, copy(RIGHT), RIGHT) is None


def test_lies__all_of_them__every_code_is_among_them() -> None:
    assert {falsified(DATA, name)[0] for name in NAMES} == set(Code)


@pytest.mark.parametrize("name", NAMES)
def test_judge__a_proof_against_the_truth__convicts_nobody(name: str) -> None:
    fault, _ = proven(name)
    if name == "n":  # the leaf is the true one, and n is the true one's
        assert not judge(DATA.round, RIGHT.valuation, fault)
    else:
        with pytest.raises(FaultInvalid):
            judge(DATA.round, RIGHT.valuation, fault)


def test_show__every_place_of_the_truth__never_a_fault() -> None:
    rng = np.random.default_rng(5)
    points, rows, n = DATA.test.rows, len(DATA.labels), RIGHT.valuation.n
    for _ in range(300):
        t, p, i, j = (int(rng.integers(0, bound)) for bound in (points, n, rows, rows))
        a = int(rng.integers(0, len(DATA.sets)))
        near = {"j": j} if rng.random() < 0.5 else {"t": t}
        for code in Code:
            names = {"t": t, "p": p, "i": i, "a": a}
            if code in (Code.MISSING_FLAG, Code.LATER_WITNESS):
                names = {"i": i, **near}
            with pytest.raises(FaultInvalid):
                show(DATA, RIGHT, code, **names)


@pytest.mark.parametrize("flag", [1, 2])
def test_show__the_witness_of_the_truth__is_no_fault(flag: int) -> None:
    i = flagged(RIGHT, flag)
    witness = int(RIGHT.rows.entries["head"][0, i]) & 0xFFFFFF
    by = {"j": witness} if flag == 1 else {"t": witness}
    for code in (Code.MISSING_FLAG, Code.LATER_WITNESS, Code.FALSE_FLAG):
        with pytest.raises(FaultInvalid):
            show(DATA, RIGHT, code, i=i, **(by if code != Code.FALSE_FLAG else {}))


@pytest.mark.parametrize("seed", range(40))
def test_find__a_random_byte_is_wrong__a_proof_that_convicts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    false = copy(RIGHT)
    table = (false.order, false.sums, false.rows)[seed % 3]
    stored = table.entries.view(np.uint8).reshape(-1)
    stored[rng.integers(0, stored.size)] ^= rng.integers(1, 256)
    fault = find(DATA, false, RIGHT)
    assert fault is not None
    assert judge(DATA.round, false.valuation, fault)


@pytest.mark.parametrize("seed", range(10))
def test_find__everything_is_wrong__a_proof_that_convicts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    false = copy(RIGHT)
    for table in (false.order, false.sums, false.rows)[seed % 3 :]:
        stored = table.entries.view(np.uint8).reshape(-1)
        stored[:] = rng.integers(0, 256, stored.size)
    fault = find(DATA, false, RIGHT)
    assert fault is not None
    assert judge(DATA.round, false.valuation, fault)


def bent(fault: Fault) -> list[tuple[str, Fault]]:
    """Return a proof with each of its parts bent, once."""
    variants: list[tuple[str, Fault]] = []
    for part in PARTS:
        pieces: tuple[Piece, ...] = getattr(fault, part)
        extra = pieces[0] if pieces else Piece(b"", ())
        variants.append((f"{part} too many", replace(fault, **{part: (*pieces, extra)})))
        for number, piece in enumerate(pieces):
            for what, other in (
                ("short", Piece(piece.data[:-1], piece.path)),
                ("long", Piece(piece.data + b"\0", piece.path)),
                ("false", Piece(bytes([piece.data[0] ^ 1]) + piece.data[1:], piece.path)),
                (
                    "low",
                    Piece(piece.data, piece.path[:-1] if piece.path else (Bytes32(b"a" * 32),)),
                ),
                ("high", Piece(piece.data, (*piece.path, Bytes32(bytes(32))))),
            ):
                bent_part = (*pieces[:number], other, *pieces[number + 1 :])
                variants.append((f"{part} {number} {what}", replace(fault, **{part: bent_part})))
        if pieces:
            variants.append((f"{part} too few", replace(fault, **{part: pieces[:-1]})))
    variants += [(f"{name} huge", replace(fault, **{name: 2**32 - 1})) for name in INDICES]
    return variants


@pytest.mark.parametrize("name", NAMES)
def test_judge__a_part_of_the_proof_is_bent__refused(name: str) -> None:
    fault, _ = proven(name)
    valuation = falsified(DATA, name)[1].valuation
    for what, other in bent(fault):
        assert refused(valuation, other), what


def refused(valuation: Valuation, fault: Fault) -> bool:
    try:
        judge(DATA.round, valuation, fault)
    except FaultInvalid:
        return True
    return False


@pytest.mark.parametrize("code", [0, 15, 255])
def test_judge__unknown_code__refused(code: int) -> None:
    with pytest.raises(FaultInvalid, match="code"):
        judge(DATA.round, RIGHT.valuation, Fault(code))


def test_judge__valuation_of_another_size__refused() -> None:
    with pytest.raises(FaultInvalid, match="valuation"):
        judge(DATA.round, replace(RIGHT.valuation, N=3), Fault(Code.RANGE))


def test_judge__entries_in_one_leaf__shown_once() -> None:
    fault, _ = proven("step")  # positions 127 and 128: two leaves
    assert len(fault.order) == 2
    one = show(DATA, falsified(DATA, "swapped")[1], Code.ORDER, t=4, p=126)
    assert len(one.order) == 1
    twice = replace(one, order=one.order * 2)
    with pytest.raises(FaultInvalid, match="order"):
        judge(DATA.round, falsified(DATA, "swapped")[1].valuation, twice)


def test_fault__any_fault__fields_in_the_order_of_the_struct() -> None:
    fault, _ = proven("distance")
    assert [field.name for field in fields(Fault)] == ["code", *INDICES, *PARTS]
    assert plain(fault)[:7] == (1, 3, 7, 0, 0, fault.a, 0)
    assert plain(fault)[7] == [(fault.order[0].data, [*fault.order[0].path])]
