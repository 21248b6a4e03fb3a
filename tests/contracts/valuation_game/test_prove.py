"""ValuationGame.announce and prove: every lie is convicted by one number, the truth by none."""

from dataclasses import replace

import pytest

from oracle.valuation import table_comparison
from oracle.valuation.faults import Code, Fault, Piece
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CHALLENGER,
    DEAD,
    DOLLAR,
    RIVAL,
    SALT,
    STAKE,
    VALUATOR,
    VALUE,
    VALUING,
    refuses,
)
from tests.contracts.valuation_game.cases import Case, shown
from tests.valuation import rounds

HELD = rounds.small()
RIGHT = rounds.tables(HELD)


@pytest.fixture(scope="module")
def case():
    """A sealed round; whatever is published in it is convicted by the end of a test."""
    return Case(held=HELD)


@pytest.fixture
def lied():
    """A published valuation with one wrong distance, and the fault."""
    case = Case(held=HELD)
    _, false = rounds.falsified(HELD, "distance")
    valuation = case.publish(false)
    return case, valuation, table_comparison.find(HELD, false, RIGHT)


# ── announce ────────────────────────────────────────────────────────────────────────────────────
def test_announce__again__reverts(lied):
    case, _, fault = lied
    case.announce(fault)
    with refuses("WitnessKnown"):
        case.announce(fault)


# ── prove ───────────────────────────────────────────────────────────────────────────────────────
def test_prove__nothing_published__reverts():
    case = Case(held=HELD)
    with refuses("ValuationMissing"):
        case.prove(RIGHT.valuation, Fault(1))


def test_prove__another_valuation__reverts(lied):
    case, valuation, fault = lied
    with refuses("ValuationMismatch"):
        case.prove(replace(valuation, n=valuation.n - 1), fault)


def test_prove__not_announced__reverts(lied):
    case, valuation, fault = lied
    with refuses("WitnessUnknown"):
        case.prove(valuation, fault)


def test_prove__announced_by_another__reverts(lied):
    case, valuation, fault = lied
    case.announce(fault, BOB)
    with refuses("WitnessUnknown"):
        case.prove(valuation, fault)


@pytest.mark.parametrize("change", [{"t": 1}, {"p": 1}, {"code": 2}, {"a": 2}])
def test_prove__another_place_than_announced__reverts(lied, change):
    case, valuation, fault = lied
    case.announce(fault)
    with refuses("WitnessUnknown"):
        case.prove(valuation, replace(fault, **change))


def test_prove__announced_in_the_same_block__reverts(lied):
    case, valuation, fault = lied
    case.do(CHALLENGER, "announce", case.witness(fault))
    with refuses("WitnessTooYoung"):
        case.prove(valuation, fault)


def test_prove__window_passed__reverts(lied):
    case, valuation, fault = lied
    case.announce(fault)
    case.pass_window()
    with refuses("WindowPassed"):
        case.prove(valuation, fault)


def test_prove__announced_for_an_earlier_valuation__reverts(lied):
    case, valuation, fault = lied
    case.announce(fault)
    case.prove(valuation, fault)
    _, false = rounds.falsified(HELD, "distance")
    case.publish(false)
    with refuses("WitnessUnknown"):
        case.prove(valuation, fault)


@pytest.mark.parametrize("name", rounds.NAMES)
def test_prove__a_lie__convicts_within_400_000_gas(case, name):
    code, false = rounds.falsified(HELD, name)
    valuation = case.publish(false)
    fault = table_comparison.find(HELD, false, RIGHT)
    assert fault is not None
    assert fault.code == code
    assert case.convict(valuation, fault) <= 400_000
    assert not case.published


def every_place():
    """Yield true numbers shown as if they were faults, of every code."""
    i, j = rounds.unflagged(RIGHT, 5), rounds.unflagged(RIGHT, 2)
    twin, leak = rounds.flagged(RIGHT, 1), rounds.flagged(RIGHT, 2)
    heads = RIGHT.rows.entries[0]["head"]
    n, last = RIGHT.valuation.n, HELD.starts[-1] - 1
    for code in (Code.DISTANCE, Code.RANGE, Code.FLAGGED_RANKED, Code.RECURRENCE, Code.RANK):
        yield from ((code, {"t": t, "p": p}) for t, p in ((0, 0), (3, 127), (130, n - 1)))
    yield from ((Code.ORDER, {"t": t, "p": p}) for t, p in ((0, 0), (3, 127), (130, n - 2)))
    yield from ((Code.RUNNING_SUM, {"i": i, "t": t}) for t in (0, 1, 128, 130))
    yield from ((Code.FLAGGED_SUM, {"i": r, "t": t}) for r in (i, twin, leak) for t in (0, 130))
    yield from ((Code.FALSE_FLAG, {"i": row}) for row in (i, twin, leak))
    yield from ((Code.FLAG_COUNT, {"i": row}) for row in (0, 1, 128, last))
    yield from ((Code.PREFIX, {"i": row}) for row in (0, 1, 90, 128, last))
    yield from ((Code.VALUE, {"a": c}) for c in range(len(HELD.sets)))
    for code in (Code.MISSING_FLAG, Code.LATER_WITNESS):
        yield code, {"i": i, "j": j}
        yield code, {"i": i, "t": 0}
    yield Code.MISSING_FLAG, {"i": twin, "j": int(heads[twin] & 0xFFFFFF)}  # it has its flag
    # In the last contribution the third row is near the second, which is itself a duplicate.
    yield Code.MISSING_FLAG, {"i": last, "j": last - 1}
    # The witness that each names itself is not a later one.
    yield Code.LATER_WITNESS, {"i": twin, "j": int(heads[twin] & 0xFFFFFF)}
    yield Code.LATER_WITNESS, {"i": leak, "t": int(heads[leak] & 0xFFFFFF)}


@pytest.mark.parametrize(("code", "place"), list(every_place()), ids=str)
def test_prove__the_truth__convicts_nobody(truth, code, place):
    fault = shown(HELD, RIGHT, code, **place)
    truth.announce(fault)
    with refuses("FaultMissing"):
        truth.prove(RIGHT.valuation, fault)


@pytest.fixture(scope="module")
def truth():
    """The true valuation, published."""
    case = Case(held=HELD)
    case.publish(RIGHT)
    return case


def test_prove__convicted__pays_the_challenger_burns_the_rest_and_reopens_the_round(lied):
    case, valuation, fault = lied
    case.do(ALICE, "stake", DOLLAR)
    before = case.do(CHALLENGER, "rewardOf", DEAD)
    case.convict(valuation, fault)
    assert case.do(BOB, "seatOf", VALUATOR) == (99 * STAKE, 0)
    assert case.do(BOB, "rewardOf", CHALLENGER) == STAKE // 2
    assert case.do(CHALLENGER, "rewardOf", DEAD) - before == STAKE // 2
    assert case.data.see("standingOf", 1, VALUATOR)[3] == 1
    assert case.data.stage() == VALUE
    assert case.do(BOB, "caseOf", 1)[6] == case.data.world.time + VALUING
    tokens = case.data.tokens(CHALLENGER)
    case.do(CHALLENGER, "withdrawReward")
    assert case.data.tokens(CHALLENGER) - tokens == STAKE // 2
    case.do(RIVAL, "stake", STAKE)
    case.claim(RIVAL)
    case.do(RIVAL, "publish", 1, RIGHT.valuation, list(RIGHT.values), SALT)
    case.pass_window()
    case.do(BOB, "settle", 1, list(RIGHT.values))
    case.data.give(list(RIGHT.values), 0)
    assert case.data.see("creditsOf", 1, ALICE) == RIGHT.values[0]


def test_prove__row_of_another_contribution__is_refused(lied):
    case, valuation, fault = lied
    other = replace(fault, a=(fault.a + 1) % len(HELD.sets))
    case.announce(other)
    with refuses("ProofInvalid"):
        case.prove(valuation, other)


def test_prove__leaf_with_values_in_its_padding__is_refused(lied):
    case, valuation, _ = lied
    short = shown(HELD, RIGHT, Code.RANGE, t=0, p=RIGHT.valuation.n - 1)
    longer = Piece(short.order[0].data + bytes(16), short.order[0].path)
    fault = replace(short, order=(longer,))
    case.announce(fault)
    with refuses("ProofInvalid"):
        case.prove(valuation, fault)


def test_prove__row_at_a_position_that_another_has__is_a_wrong_sum_too(lied):
    case, valuation, fault = lied
    case.convict(valuation, fault)
    _, false = rounds.falsified(HELD, "position")
    valuation = case.publish(false)
    i = rounds.unflagged(RIGHT)
    case.convict(valuation, table_comparison.show(HELD, false, Code.RUNNING_SUM, i=i, t=77))
    assert not case.published


@pytest.mark.parametrize(
    ("name", "flag", "by"), [("duplicate passed over", 1, "j"), ("leak passed over", 2, "t")]
)
def test_prove__row_without_a_flag__has_no_later_witness(name, flag, by):
    """What is wrong is that the flag is missing, which another code shows."""
    case = Case(held=HELD)
    _, false = rounds.falsified(HELD, name)
    valuation = case.publish(false)
    i = rounds.flagged(RIGHT, flag, 1 if flag == 1 else 0)
    witness = int(RIGHT.rows.entries[0]["head"][i] & 0xFFFFFF)
    fault = shown(HELD, false, Code.LATER_WITNESS, i=i, **{by: witness})
    case.announce(fault)
    with refuses("FaultMissing"):
        case.prove(valuation, fault)


@pytest.mark.parametrize("code", [Code.FLAGGED_RANKED, Code.RANK])
def test_prove__of_a_row_outside_what_only_rows_have__is_refused(code):
    case = Case(held=HELD)
    _, false = rounds.falsified(HELD, "row outside")
    valuation = case.publish(false)
    outside = table_comparison.find(HELD, false, RIGHT)
    fault = replace(outside, code=code)
    case.announce(fault)
    with refuses("ProofInvalid"):
        case.prove(valuation, fault)


def test_prove__order_of_a_table_without_columns__is_refused():
    case = Case(held=HELD)
    case.claim()
    bare = replace(RIGHT.valuation, n=0)
    case.do(VALUATOR, "publish", 1, bare, list(RIGHT.values), bytes(32))
    fault = Fault(Code.ORDER)
    case.announce(fault)
    with refuses("ProofInvalid"):
        case.prove(bare, fault)


@pytest.mark.parametrize("bent", ["longer", "of another"])
def test_prove__value_that_is_not_the_one_named__is_refused(lied, bent):
    case, valuation, _ = lied
    fault, other = (shown(HELD, RIGHT, Code.VALUE, a=c) for c in (0, 1))
    (piece,) = fault.values
    longer = (Piece(piece.data + b"\0", piece.path),)
    fault = replace(fault, values=longer if bent == "longer" else other.values)
    case.announce(fault)
    with refuses("ProofInvalid"):
        case.prove(valuation, fault)
