"""`tallystick x402 list`: what the gateway's store says, as a table and as JSON."""

import json

import pytest

from oracle.cli import main
from oracle.config import Settings
from oracle.gateway import gateway
from oracle.store import Store
from oracle.store.payment_repository import PaymentState
from tests.store.samples import ALICE, payment


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    store = Store.open(gateway.store_url(Settings(tmp_path)))
    with store.begin() as tx:
        for name in ("settling", "owed"):
            tx.add_payment(payment(name))
        over = payment("over")
        tx.add_payment(over)
        tx.move_payment(over.id, PaymentState.SETTLING, PaymentState.VOID)
        owed, why = payment("owed").id, "the model is retired"
        tx.move_payment(owed, PaymentState.SETTLING, PaymentState.OWED, refund=12_500, error=why)
    store.close()


def test_list__no_payments__says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    assert main(["x402", "list"]) == 0
    assert "no payments" in capsys.readouterr().out


def test_list__some_owed__shows_why_and_the_sum(home, capsys):
    assert main(["x402", "list"]) == 0
    shown = capsys.readouterr().out
    assert ALICE in shown
    assert "void" in shown
    assert "the model is retired" in shown
    assert "owed: $0.0125" in shown


def test_list__open__leaves_out_what_is_over(home, capsys):
    assert main(["x402", "list", "--open", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(one["state"] for one in found) == ["owed", "settling"]
