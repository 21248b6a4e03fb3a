"""ValuationVerifier: whatever somebody shows, it says what the judge in oracle/valuation says."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle.chain.codec import plain
from oracle.valuation import table_comparison
from oracle.valuation.errors import FaultInvalid
from oracle.valuation.faults import INDICES, PARTS, Code, Fault, Piece
from oracle.valuation.judge import judge
from tests.contracts.data_credits.play import BOB, SALT
from tests.contracts.valuation_game.cases import Case, shown
from tests.support.evm import Reverted
from tests.valuation import rounds

HELD = rounds.small()
RIGHT = rounds.tables(HELD)


@cache
def world():
    return Case(held=HELD)


@cache
def proof(name):
    """Return false tables' valuation and the fault in them."""
    _, false = rounds.falsified(HELD, name)
    return false.valuation, table_comparison.find(HELD, false, RIGHT)


def on_chain(valuation, fault: Fault):
    arguments = (world().round_id, valuation, SALT, plain(fault))
    try:
        return world().data.world.call(BOB, "ValuationVerifier", "convicts", *arguments)
    except Reverted as error:
        return "refused" if error.name == "ProofInvalid" else error


def judged(valuation, fault: Fault):
    try:
        return judge(HELD.round, valuation, fault)
    except FaultInvalid:
        return "refused"


@pytest.mark.parametrize("name", rounds.NAMES)
def test_convicts__every_lie__as_the_judge(name):
    valuation, fault = proof(name)
    assert on_chain(valuation, fault) is True
    assert judged(valuation, fault) is True


@pytest.mark.parametrize("name", rounds.NAMES)
@pytest.mark.parametrize("part", PARTS)
def test_convicts__a_piece_too_few_or_too_many__is_refused(name, part):
    valuation, fault = proof(name)
    pieces = getattr(fault, part)
    extra = Piece(bytes(16), ())
    assert on_chain(valuation, replace(fault, **{part: (*pieces, extra)})) == "refused"
    if pieces:
        assert on_chain(valuation, replace(fault, **{part: pieces[:-1]})) == "refused"


def test_convicts__contribution_worth_one__is_paid_one_and_no_fault():
    shifted = rounds.copy(rounds.tables(HELD))
    shifted.rows.entries["prefix"][0, HELD.starts[1] - 1] = 2**63 + 1  # biased
    shifted = replace(shifted, values=(1, *shifted.values[1:]))
    fault = shown(HELD, shifted, Code.VALUE, a=0)
    assert on_chain(shifted.valuation, fault) == judged(shifted.valuation, fault)
    assert judged(shifted.valuation, fault) is False


names = st.sampled_from(rounds.NAMES)
small = st.integers(0, 260) | st.sampled_from([2**24, 2**32 - 1])


@st.composite
def twisted(draw):
    """Return a proof of a lie in which something is not as it was."""
    valuation, fault = proof(draw(names))
    kind = draw(st.sampled_from(["index", "code", "piece", "byte", "path", "valuation"]))
    part = draw(st.sampled_from([p for p in PARTS if getattr(fault, p)]))
    pieces = list(getattr(fault, part))
    at = draw(st.integers(0, len(pieces) - 1))
    piece = pieces[at]
    if kind == "index":
        return valuation, replace(fault, **{draw(st.sampled_from(INDICES)): draw(small)})
    if kind == "code":
        return valuation, replace(fault, code=draw(st.integers(0, 16)))
    if kind == "valuation":
        return proof(draw(names))[0], fault
    if kind == "piece":
        others = [p for q in PARTS for p in getattr(fault, q)]
        pieces[at] = draw(st.sampled_from(others))
    elif kind == "byte":
        where = draw(st.integers(0, len(piece.data) - 1))
        data = bytearray(piece.data)
        data[where] ^= 1 << draw(st.integers(0, 7))
        pieces[at] = Piece(
            bytes(data[: draw(st.sampled_from([len(data), len(data) - 1]))]), piece.path
        )
    else:
        path = (*piece.path[: draw(st.integers(0, len(piece.path)))], *piece.path[:2])
        pieces[at] = Piece(piece.data, path)
    return valuation, replace(fault, **{part: tuple(pieces)})


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(twisted())
def test_convicts__twisted_proofs__as_the_judge(given_):
    valuation, fault = given_
    assert on_chain(valuation, fault) == judged(valuation, fault)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(names, st.sampled_from(list(Code)), small, small, small, small, st.integers(0, 6))
def test_convicts__any_place_of_false_tables__as_the_judge(name, code, t, p, i, j, a):
    _, false = rounds.falsified(HELD, name)
    indices = {"t": t % 131, "p": p % 190, "i": i % 205, "j": j % 205, "a": a}
    wanted = {
        Code.RUNNING_SUM: "it",
        Code.FLAGGED_SUM: "it",
        Code.FALSE_FLAG: "i",
        Code.FLAG_COUNT: "i",
        Code.PREFIX: "i",
        Code.VALUE: "a",
        Code.MISSING_FLAG: "ij",
        Code.LATER_WITNESS: "it",
    }.get(code, "tp")
    try:
        fault = shown(HELD, false, code, **{name: indices[name] for name in wanted})
    except FaultInvalid:
        return
    assert on_chain(false.valuation, fault) == judged(false.valuation, fault)
