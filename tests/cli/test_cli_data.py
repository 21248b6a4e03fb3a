"""Data from files to fees, with commands alone."""

import json

import pytest

from oracle.cli import main
from oracle.services import balances, publishing
from oracle.services.publishing import SaleTerms
from oracle.types import Amount
from tests.services.conftest import DESCRIPTION, DOLLAR
from tests.services.data.people import Data, csv, rows
from tests.support import clock

pytestmark = pytest.mark.real
SHORT = ("--submit-for", "10m", "--reveal-for", "5m", "--test-for", "5m", "--yes")


@pytest.fixture
def model(market, tmp_path):
    """Publish a model whose manifest pins a schema of data; return its id."""
    folder = tmp_path / "model"
    folder.mkdir()
    description = DESCRIPTION | {"name": "clouds", "data": json.loads(SCHEMA)}
    (folder / "model.json").write_text(json.dumps(description))
    (folder / "model.onnx").write_bytes(b"weights")
    sale = SaleTerms(fee=Amount(DOLLAR), operator_bps=4_000, data_bps=4_000, challenge_window=60)
    return publishing.publish(market.network, market.wallet("owner"), folder, sale).model_id


SCHEMA = """{"columns": ["a", "b", "c"], "offset": [0, 0, 0], "scale": [1, 1, 1],
"label": "kind", "labels": ["no", "yes"]}"""


@pytest.fixture
def opened(model, tallystick, tmp_path):
    """Open a round; return its number."""
    test = csv(tmp_path / "test.csv", rows(99, 10))
    done = tallystick(
        "data", "round", "open", "clouds", test, "--reward", "3", *SHORT, "--key", "owner"
    )
    return done["round_id"]


def pass_phase(market, tallystick, round_id):
    until = tallystick("data", "round", "show", round_id)["until"]
    clock.pass_time(market.network.rpc, until - market.network.history.now())


def advance(tallystick, round_id, key):
    return tallystick("data", "advance", round_id, "--key", key)["round"]


def test_data__from_files_to_credits(market, tallystick, model, opened, tmp_path, capsys):
    mine = csv(tmp_path / "mine.csv", rows(1, 60))
    done = tallystick("data", "submit", "clouds", mine, "--yes", "--key", "alice")
    assert (done["index"], done["deposit"], done["fee"]) == (0, "10.00", "0.50")
    signed = tmp_path / "signed.json"
    other = csv(tmp_path / "other.csv", rows(3, 60, wrong=True))
    tallystick("data", "submit", "clouds", other, "--sign", signed, "--key", "op1")
    relayed = tallystick("data", "relay", signed, "--yes", "--key", "owner")
    assert (relayed["index"], relayed["status"], relayed["data_root"]) == (1, "committed", None)

    pass_phase(market, tallystick, opened)
    revealed = tallystick("data", "reveal", opened, "--key", "alice")
    assert [one["index"] for one in revealed] == [0, 1]
    pass_phase(market, tallystick, opened)
    tallystick("data", "round", "reveal", opened, "--key", "owner")
    pass_phase(market, tallystick, opened)
    assert advance(tallystick, opened, "alice")["phase"] == "value"
    value(market, opened, tmp_path)
    pass_phase(market, tallystick, opened)
    assert advance(tallystick, opened, "alice")["phase"] == "settled"

    ended = tallystick("data", "advance", opened, "--watch", "--key", "alice")
    assert (ended["transactions"], ended["refused"]) == ([], [])
    kept, lost = tallystick("data", "list", opened)
    assert (kept["lost"], lost["lost"]) == (False, True)
    assert tallystick("data", "show", opened, 0) == kept
    standing = tallystick("data", "tiers", "clouds", "--wallet", "alice")
    assert (standing["tier"], standing["credits"], standing["balance"]) == (
        1,
        kept["credit"],
        "10.00",
    )
    claimed = tallystick("data", "claim", "clouds", "--key", "alice")
    assert (claimed["revenue"], claimed["deposits"]) == ("0.00", "10.00")
    again = tallystick("data", "claim", "clouds", "--key", "alice", code=77)
    assert again["error"] == "NothingOwed"
    assert tallystick("data", "verify", "clouds")["revealed"] == 2
    assert [one["phase"] for one in tallystick("data", "round", "list")] == ["settled"]
    for words in (("round", "show", opened), ("list", opened), ("show", opened, 0), ("tiers",),
                  ("tiers", "clouds", "--wallet", "alice"), ("round", "list")):  # fmt: skip
        assert main(["data", *map(str, words)]) == 0
    text = capsys.readouterr().out
    assert "RoundSettled" in text
    assert "forfeited" in text


def value(market, round_id, folder):
    """Value the round as an honest valuator."""
    balances.fund(market.network, market.wallet("owner").address, Amount(50 * DOLLAR))
    world = type("World", (), {"network": market.network, "owner": market.wallet("owner")})
    Data(world, folder).value(round_id, market.wallet("owner"))


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────
def test_submit__bad_input__exits_as_documented(market, tallystick, model, tmp_path):
    mine = csv(tmp_path / "mine.csv", rows(1))
    given = ("data", "submit", "clouds", mine, "--yes", "--key", "alice")
    assert tallystick(*given, code=66)["error"] == "NotFound"  # no round
    assert tallystick("data", "round", "show", 7, code=66)["error"] == "NotFound"
    assert tallystick("data", "tiers", "clouds", code=66)["error"] == "NotFound"  # whose?
    relay = ("data", "relay", tmp_path / "none.json", "--yes", "--key", "alice")
    assert tallystick(*relay, code=66)["error"] == "NotFound"


def test_submit__rows_that_do_not_fit__exit_65(market, tallystick, opened, tmp_path):
    path = tmp_path / "bad.csv"
    given = ("data", "submit", "clouds", path, "--yes", "--key", "alice")
    for text, error in (
        ("a,b,c,kind\n", "DataEmpty"),
        ("a,b,kind\n1,2,no\n", "SchemaMismatch"),
        ("a,b,c,kind\n1,nan,2,no\n", "NotFinite"),
        ("a,b,c,kind\n1,1,2,no\n1,1,2,no\n", "RowRepeated"),
    ):
        path.write_text(text)
        assert tallystick(*given, code=65)["error"] == error


def test_open__no_schema_anywhere__says_how(market, tallystick, tmp_path):
    test = csv(tmp_path / "test.csv", rows(99, 10))
    given = ("data", "round", "open", "digits", test, *SHORT, "--key", "owner")
    assert "--schema" in tallystick(*given, code=65)["hint"]
    schema = tmp_path / "data.json"
    schema.write_text(json.dumps(tallystick("data", "schema", test, "--label", "kind")))
    refused = tallystick(*given, "--schema", schema, code=65)  # labels are words, not numbers
    assert refused["error"] == "SchemaMismatch"


def test_open__a_strangers_model__is_refused(market, tallystick, model, tmp_path):
    test = csv(tmp_path / "test.csv", rows(99, 10))
    given = ("data", "round", "open", "clouds", test, *SHORT, "--key", "alice")
    assert "does not own model" in tallystick(*given, code=77)["message"]


def test_endorse__without_credits__is_refused(market, tallystick, opened, tmp_path):
    given = ("data", "endorse", opened, 0, "0.5", "--yes", "--key", "alice")
    assert tallystick(*given, code=77)["error"] == "ContractError"
    assert tallystick(*given[:4], "lots", *given[5:], code=65)["error"] == "InputInvalid"


def test_exclude__too_early__is_refused(market, tallystick, opened):
    given = ("data", "round", "exclude", opened, 0, "--key", "owner")
    assert tallystick(*given, code=77)["error"] == "ContractError"
