"""Offers and channels, with commands alone: covered, opened, closed, paid back."""

import pytest

from oracle.cli import main
from oracle.services.channels import offers
from tests.services.channels import DOLLAR, Trade
from tests.support import clock

pytestmark = pytest.mark.real
WINDOW = 60


@pytest.fixture
def offered(market, tallystick):
    """Return the id of op1's offer, with two locks behind it."""
    return tallystick("operator", "offer", "cover", "1", "2", "--key", "op1", "--yes")["offer_id"]


@pytest.fixture
def opened(tallystick, offered):
    """Return the id of alice's channel, which holds half a dollar."""
    words = ("open", offered, "0.50", "--signer", "alice")  # as `Trade` signs
    done = tallystick("channel", *words, "--key", "alice", "--yes")
    return done["channel_id"]


@pytest.fixture
def trade(market, offered, opened):
    """What happens off the command line: vouchers are signed and claimed, answers convicted."""
    offer = offers.find(market.network, offered)
    return Trade(market.network, market.wallet("op1"), market.wallet("alice"), offer)


def pass_time(market, seconds):
    clock.pass_time(market.network.rpc, seconds)


# ── Offers ──────────────────────────────────────────────────────────────────────────────────────
def test_cover__new_and_grown__is_listed_and_shown(market, tallystick, offered, capsys):
    (listed,) = tallystick("operator", "offer", "list", "digits", "--operator", "op1")
    assert (listed["offer_id"], listed["locks"], listed["state"]) == (offered, 2, "open")
    assert (listed["fee"], listed["number"], listed["current"]) == ("0.05", 0, True)
    grown = tallystick("operator", "offer", "cover", offered[:10], "3", "--key", "op1", "--yes")
    assert grown["locks"] == 5
    shown = tallystick("operator", "offer", "show", "digits")
    assert (shown["offer"]["offer_id"], shown["claims"]) == (offered, [])
    assert tallystick("operator", "offer", "list", "--operator", "alice") == []
    assert main(["operator", "offer", "list"]) == 0
    assert main(["operator", "offer", "show", offered]) == 0
    text = capsys.readouterr().out
    assert "5 × $1.00" in text
    assert "open: takes channels" in text


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (("cover", "1", "0", "--key", "op1"), "Usage", 2),
        (("cover", "1", "1", "--key", "alice"), "ContractError", 77),
        (("cover", "1", "1000", "--key", "op1"), "ContractError", 77),
        (("cover", "7", "1", "--key", "op1"), "NotFound", 66),
        (("uncover", "0xzz", "--key", "op1"), "InputInvalid", 65),
        (("uncover", "0x00", "--key", "op1"), "NotFound", 66),
        (("uncover", "digits", "--key", "alice"), "ContractError", 77),
    ],
)
def test_offer__bad_words__typed_error(market, tallystick, offered, words, error, code):
    assert tallystick("operator", "offer", *words, "--yes", code=code)["error"] == error


def test_uncover__then_release__is_over(market, tallystick, offered):
    given = ("operator", "offer", "release", offered, "--key", "op1")
    assert "stays until its end" in tallystick(*given, code=77)["message"]
    ending = tallystick("operator", "offer", "uncover", offered, "--key", "op1", "--yes")
    assert (ending["state"], ending["ends_at"] - ending["answers_until"]) == ("ending", WINDOW)
    pass_time(market, 2 * WINDOW)
    assert tallystick(*given)["state"] == "released"
    assert tallystick("operator", "offer", "list") == []
    assert len(tallystick("operator", "offer", "list", "--all")) == 1
    refused = tallystick(
        "operator", "offer", "cover", offered, "1", "--key", "op1", "--yes", code=77
    )
    assert refused["error"] == "Refused"
    assert "makes the next one" in refused["hint"]
    again = tallystick("operator", "offer", "cover", "1", "1", "--key", "op1", "--yes")
    assert again["number"] == 1


def test_offer__price_has_changed__is_marked_and_growing_refused(
    market, tallystick, offered, capsys
):
    tallystick("model", "terms", "1", "--fee", "0.04", "--key", "owner")
    for words in (("list",), ("show", offered)):
        assert main(["operator", "offer", *words]) == 0
        assert "$0.05, an earlier price" in capsys.readouterr().out
    given = ("operator", "offer", "cover", offered, "1", "--key", "op1", "--yes")
    assert "costs $0.04 now" in tallystick(*given, code=77)["message"]
    made = tallystick("operator", "offer", "cover", "1", "1", "--key", "op1", "--yes")
    assert (made["fee"], made["number"]) == ("0.04", 1)


def test_collect__nothing_held__says_so(market, tallystick, offered, capsys):
    done = tallystick("operator", "offer", "collect", "--key", "op1")
    assert (done["settled"], done["waiting"], done["earned"]) == ([], [], "0.00")
    assert tallystick("operator", "offer", "collect", offered, "--key", "alice")["settled"] == []
    assert tallystick("operator", "offer", "collect", "--key", "alice", code=65)
    assert main(["operator", "offer", "collect", "--key", "op1"]) == 0
    assert "0 claim(s) settled" in capsys.readouterr().out


def test_collect__held_and_due__pays_the_operator(market, tallystick, trade, capsys):
    trade.claim(trade.row(200_000))
    (held,) = tallystick("operator", "offer", "show", "digits")["claims"]
    assert (held["total"], held["state"]) == ("0.20", "held")
    assert main(["operator", "offer", "show", "digits"]) == 0
    assert main(["operator", "offer", "collect", "--key", "op1"]) == 0
    assert capsys.readouterr().out.count("its challenge window is open") == 2
    pass_time(market, WINDOW)
    done = tallystick("operator", "offer", "collect", "--key", "op1")
    assert [one["total"] for one in done["settled"]] == ["0.20"]
    assert tallystick("wallet", "balance", "op1")["prepaid"] == done["earned"]


# ── Channels ────────────────────────────────────────────────────────────────────────────────────
def test_open__and_top_up__money_moves_into_the_channel(market, tallystick, opened, capsys):
    (listed,) = tallystick("channel", "list", "--key", "alice")
    assert (listed["channel_id"], listed["state"], listed["left"]) == (opened, "open", "0.50")
    assert tallystick("wallet", "balance", "alice")["prepaid"] == "0.50"
    grown = tallystick("channel", "top-up", opened[:10], "2", "--key", "alice", "--yes")
    assert (grown["left"], grown["deposit"], grown["claimed"]) == ("2.50", "2.50", "0.00")
    assert tallystick("wallet", "balance", "alice")["prepaid"] == "0.00"  # the rest of the wallet
    assert main(["channel", "list", "--payer", "alice"]) == 0
    assert "$2.50" in capsys.readouterr().out


def test_open__for_another_with_a_key__is_that_ones(market, tallystick, offered):
    made = tallystick(
        "channel", "open", "digits", "1", "--for", "owner", "--signer", "op1", "--key", "alice",
        "--yes",
    )  # fmt: skip
    assert made["payer"] == market.wallet("owner").address
    assert made["signer"] == market.wallet("op1").address
    assert tallystick("channel", "list", "--key", "alice") == []
    assert len(tallystick("channel", "list", "--payer", "owner")) == 1


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (("open", "digits", "0.01", "--key", "alice", "--yes"), "InputInvalid", 65),
        (("open", "digits", "nine", "--key", "alice", "--yes"), "InputInvalid", 65),
        (("open", "digits", "500", "--key", "alice", "--yes"), "Refused", 77),
        (("open", "digits", "1", "--signer", "alcie", "--key", "alice"), "InputInvalid", 65),
        (("open", "digits", "1", "--key", "alice"), "InputInvalid", 65),  # nobody to ask
        (("open", "0x1", "1", "--key", "alice", "--yes"), "NotFound", 66),
        (("top-up", "0x1", "1", "--key", "alice", "--yes"), "NotFound", 66),
        (("close", "first", "--key", "alice"), "InputInvalid", 65),
        (("withdraw", "--key", "alice"), "NotFound", 66),
        (("list",), "ConfigInvalid", 78),
    ],
)
def test_channel__bad_words__typed_error(market, tallystick, offered, words, error, code):
    assert tallystick("channel", *words, code=code)["error"] == error


def test_channel__wallet_mistyped__is_suggested(market, tallystick, offered):
    given = ("channel", "open", "digits", "1", "--signer", "alcie", "--key", "alice")
    assert tallystick(*given, code=65)["hint"].startswith("did you mean alice?")


def test_close__wait__withdraw__all_comes_back(market, tallystick, opened, capsys):
    closing = tallystick("channel", "close", opened[:12], "--key", "alice")
    assert closing["state"] == "closing"
    given = ("channel", "withdraw", opened, "--key", "alice")
    assert "can pay out after" in tallystick(*given, code=77)["message"]
    refused = tallystick("channel", "top-up", opened, "1", "--key", "alice", "--yes", code=77)
    assert "tallystick channel withdraw" in refused["hint"]
    pass_time(market, closing["closes_at"] - market.network.history.now())
    assert main(["channel", "list", "--key", "alice"]) == 0
    assert "closed" in capsys.readouterr().out
    (done,) = tallystick("channel", "withdraw", "--key", "alice")
    assert (done["amount"], done["channel_id"]) == ("0.50", opened)
    assert tallystick("wallet", "balance", "alice")["prepaid"] == "1.00"
    assert tallystick("channel", "list", "--key", "alice") == []
    assert tallystick("channel", "list", "--key", "alice", "--all")[0]["state"] == "empty"


def test_void__offer_not_exhausted__refused(market, tallystick, opened):
    refused = tallystick("channel", "void", opened, "--key", "alice", code=77)
    assert "is open, not exhausted" in refused["message"]


def test_void__offer_exhausted__all_comes_back(market, tallystick, trade, opened, capsys):
    trade.claim(trade.row(200_000))
    trade.convict(1)
    trade.convict(2)
    assert main(["channel", "list", "--key", "alice"]) == 0
    assert "void, close, withdraw" in capsys.readouterr().out
    done = tallystick("channel", "void", opened, "--key", "alice")
    assert (done["total"], len(done["voided"])) == ("0.20", 1)
    before = trade.balance()
    closing = tallystick("channel", "close", opened, "--key", "alice")
    assert closing["left"] == "0.50"
    pass_time(market, closing["closes_at"] - market.network.history.now())
    assert main(["channel", "withdraw", "--key", "alice"]) == 0
    assert "$0.50 came back from 1 channel(s)" in capsys.readouterr().out
    assert trade.balance() == before + DOLLAR // 2


# ── Endpoints ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("key", "told"), [("op1", "has no covered offer of digits@1"), ("alice", "is not registered")]
)
def test_serve__cannot_answer__refused_before_anything_starts(market, tallystick, key, told):
    refused = tallystick("operator", "serve", "digits", "--key", key, code=66)
    assert told in refused["message"]
    assert "tallystick operator" in refused["hint"]
    assert not list((market.home / "operators").glob("*/endpoint.log"))
