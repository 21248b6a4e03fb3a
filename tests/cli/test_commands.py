"""The tree of commands: what is imported, what is listed, and what is suggested for a typo."""

import importlib

import pytest
import typer

from oracle.cli import main
from oracle.cli.commands import TOP
from oracle.errors import InputInvalid, did_you_mean
from tests.support.imports import imported

HEAVY = {"celery", "kombu", "redis", "sqlalchemy", "alembic", "numpy", "torch", "web3", "fastapi",
         "uvicorn", "eth_account", "eth_utils", "ipfshttpclient", "requests"}  # fmt: skip


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("nonsense",)])
def test_root__any__imports_nothing_heavy(words):
    _, names = imported(*words)

    assert not names & HEAVY


@pytest.mark.parametrize(
    "words", [("model", "list", "--help"), ("infer", "--help"), ("wallet", "list", "--help")]
)
def test_command__that_asks_the_chain__imports_no_queue_store_or_server(words):
    _, names = imported(*words)

    assert not names & {"celery", "kombu", "redis", "sqlalchemy", "alembic", "torch", "fastapi"}


@pytest.mark.parametrize("module", sorted({module for module, _ in TOP.values()}))
def test_top__module__registers_what_is_listed(module):
    app = typer.Typer()
    importlib.import_module(f"oracle.cli.{module}").register(app)

    listed = {name for name, (of, _) in TOP.items() if of == module}
    assert set(typer.main.get_group(app).commands) == listed


@pytest.mark.parametrize("words", [[], ["model"], ["data"], ["data", "round"]])
def test_group__bare__prints_its_help_and_ends_with_0(capsys, words):
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "Commands:" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["modle", "list"], "'model'"),
        (["model", "lst"], "'list'"),
        (["data", "round", "shwo"], "'show'"),
        (["model", "list", "--jsn"], "--json"),
        (["infer", "1", "--input", "[]", "--until", "setled"], "settled"),
        (["request", "list", "--state", "deliverd"], "delivered"),
        (["access", "policy", "1", "open-request"], "on-request"),
    ],
)
def test_typo__close_to_something__names_it(capsys, words, suggested):
    assert main(words) in (2, 65)
    message = capsys.readouterr().err.lower()
    assert suggested in message
    assert "did you mean" in message or "possible options" in message


def test_did_you_mean__nothing_close__is_silent():
    assert did_you_mean("zzz", ["alice", "bob"]) == ""
    assert did_you_mean("alcie", ["alice", "bob"]) == "did you mean alice? "


def test_wallet__mistyped__is_suggested(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    password = tmp_path / "pw"
    password.write_text("secret")
    assert main(["wallet", "new", "alice", "--password-file", str(password)]) == 0
    assert main(["wallet", "show", "alcie"]) == InputInvalid.exit_code
    assert "did you mean alice?" in capsys.readouterr().err


@pytest.mark.parametrize("top", ["0", "101"])
def test_search_ask__more_or_fewer_passages_than_can_be__refused_before_it_is_paid(top, capsys):
    assert main(["search", "ask", "index", "question", "--model", "m", "--top", top]) != 0
    assert "'--top'" in capsys.readouterr().err
