"""What rounds can take from those who hold credits: their weight bounds it."""

import re
from pathlib import Path

import pytest

from oracle.merkle import keccak
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    DAVE,
    DOLLAR,
    ONE,
    OWNER,
    RIVAL,
    TEST_ROWS,
    Data,
    refuses,
)

ROW = 1 << 40
PAGE = Path(__file__).parents[3] / "docs/data-credits.md"


@pytest.fixture
def held():
    """Alice holds all credits: half of a hundred test rows. A round can take ω = 10 %."""
    data = Data(game=RIVAL, max_weight=1_000)
    data.play([ALICE], [50 * ROW], testRows=100)
    return data


def share(data, owner=ALICE):
    return data.see("creditsOf", 1, owner) / data.see("totalCredits", 1)


def self_deal(data, rows):
    """Play a round in which the opener's friend answers every test row right."""
    data.play([DAVE], [rows * ROW], testRows=rows)


def test_settle__fifteen_rounds_of_one_row_on_a_hundred__leave_87_percent(held):
    for _ in range(15):
        self_deal(held, 1)
    assert share(held) == pytest.approx(100 / 115)
    before = held.tokens(ALICE)
    held.earn(100 * DOLLAR)
    held.do(ALICE, "claim", 1)
    assert held.tokens(ALICE) - before == pytest.approx(100 * DOLLAR * 100 / 115, abs=2)


def table() -> list[tuple[int, dict[int, str]]]:
    """Read the page's table: test rows of each round, and what is left after n of them."""
    lines = PAGE.read_text().split("| test rows of each round |")[1].splitlines()
    after = [int(n) for n in re.findall(r"\d+", lines[0])]
    cells = [line.strip("| ").split(" | ") for line in lines[2:6]]
    return [
        (int(rows.replace(",", "")), dict(zip(after, left, strict=True))) for rows, *left in cells
    ]


@pytest.mark.parametrize(("rows", "left"), table())
def test_settle__self_dealing__leaves_what_the_page_says(held, rows, left):
    for n in range(1, 16):
        self_deal(held, rows)
        if n in left:
            assert f"{100 * share(held):.1f} %" == left[n]


@pytest.mark.parametrize("rows", [12, 100, 4_096])
def test_settle__a_round_of_many_rows__takes_at_most_the_cap(held, rows):
    self_deal(held, rows)
    assert share(held) == pytest.approx(max(0.9, 100 / (100 + rows)))
    assert held.see("testRowsOf", 1) == 100 + rows


def test_settle__data_worth_little__takes_little(held):
    held.play([DAVE], [ROW], testRows=100)
    assert held.see("creditsOf", 1, DAVE) == ROW
    assert share(held) == pytest.approx(50 / 51)


def test_settle__data_worth_nothing__adds_no_test_rows(held):
    held.play([DAVE], [0], testRows=4_096)
    assert held.see("testRowsOf", 1) == 100
    assert share(held) == 1


def test_mintable__before_a_round__is_what_it_gets(held):
    most = held.see("mintable", 1, 100)
    self_deal(held, 100)
    assert held.see("creditsOf", 1, DAVE) == most == 50 * ROW * 1_000 // 9_000


def test_mintable__nobody_holds_credits__is_unbounded():
    assert Data(game=RIVAL).see("mintable", 1, 1) == 2**256 - 1


def test_credit__several_contributions__share_what_the_round_weighs(held):
    values = [30 * ROW, 0, 10 * ROW]
    most = held.see("mintable", 1, 100)
    held.play([BOB, DAVE, DAVE], values, testRows=100)
    assert held.see("creditsOf", 1, BOB) == most * 3 // 4
    assert held.see("creditsOf", 1, DAVE) == most // 4


def test_open_round__fewer_test_rows_than_promised__reverts():
    data = Data(game=RIVAL, min_rows=TEST_ROWS)
    with refuses("TermsInvalid"):
        data.open(testRows=TEST_ROWS - 1)
    assert data.open() == 1


def test_open_round__sooner_than_promised__reverts():
    data = Data(game=RIVAL, interval=10_000)
    data.play([ALICE], [ONE])
    opens_at = data.round()[1] + 10_000
    data.world.set_time(opens_at - 1)
    with refuses("RoundTooSoon"):
        data.open()
    data.world.set_time(opens_at)
    assert data.open() == 2


def test_open_round__after_a_void_one__waits_for_nothing():
    data = Data(game=RIVAL, interval=10_000)
    data.prepare([ALICE])
    data.do(RIVAL, "voidRound", 1)
    assert data.open() == 2


# ── the data share ──────────────────────────────────────────────────────────────────────────────
def set_share(data, bps):
    data.world.call(OWNER, "ModelRegistry", "setTerms", 1, 1, 0, 0, bps, 1, 1)


def publish(data, bps):
    head = data.world.call(OWNER, "ModelRegistry", "headOf", 1)
    fields = (keccak(b"2"), keccak(b"2"), 1, 1, 1, 0, bps, 1, 1, 0)
    data.world.call(OWNER, "ModelRegistry", "publishVersion", 1, head, fields)


def test_set_terms__credits_exist__the_data_share_only_rises(held):
    with refuses("ProtectionLowered"):
        set_share(held, 4_999)
    set_share(held, 5_001)
    with refuses("ProtectionLowered"):
        set_share(held, 5_000)


def test_publish_version__credits_exist__pays_data_no_less_than_the_last(held):
    with refuses("ProtectionLowered"):
        publish(held, 4_999)
    publish(held, 5_000)


def test_set_terms__round_under_way__the_data_share_only_rises(data):
    set_share(data, 4_000)
    data.open()
    with refuses("ProtectionLowered"):
        set_share(data, 3_999)
    with refuses("ProtectionLowered"):
        publish(data, 0)
    data.pass_to("test")
    data.do(BOB, "voidRound", 1)
    set_share(data, 0)
