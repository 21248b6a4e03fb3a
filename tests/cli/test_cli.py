"""The command line without any server: parsing, exit codes, one JSON document, help."""

import io
import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from oracle.chain.bindings.model_access import Policy
from oracle.cli import main, output, reference
from oracle.cli.app import build
from oracle.errors import DigestMismatch
from oracle.types import Amount

ROOT = build()


def commands(command=ROOT, path=()):
    """Yield every command that does something, with its path."""
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
    for name, child in (children or {}).items():
        yield from commands(child, (*path, name))


LEAVES = list(commands())
NAMES = [" ".join(path) for path, _ in LEAVES]
EXAMPLES = [
    line.strip()
    for _, command in LEAVES
    for line in (command.epilog or "").splitlines()
    if "tallystick" in line
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("TALLYSTICK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return tmp_path / "home"


# ── Every command ───────────────────────────────────────────────────────────────────────────────
def test_commands__of_the_issue__are_all_there():
    wanted = {
        "up", "down", "status", "doctor", "demo", "infer",
        "wallet new", "wallet list", "wallet show", "wallet fund",
        "wallet deposit", "wallet withdraw", "wallet balance",
        "model publish", "model list", "model show", "model versions", "model verify",
        "model retire", "model terms", "model collect",
        "access policy", "access apply", "access grant", "access deny", "access revoke",
        "access show", "access limits", "access admin",
        "operator register", "operator stake", "operator unstake", "operator authorize",
        "operator run", "operator status",
        "request show", "request list", "request cancel", "request finalize", "request demand",
    }  # fmt: skip
    assert wanted <= set(NAMES)


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=NAMES)
def test_command__any__has_help_an_example_and_json(path, command):
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert command.help
    assert "tallystick " + " ".join(path) in (command.epilog or "")
    assert {"--json", "--home"} <= flags
    assert not {f for f in flags if "private" in f or f in ("--password", "--secret", "--mnemonic")}


def test_help__of_all_commands__names_no_python_types_and_no_line_twice():
    assert not re.findall(r"<[\w.]+>", reference.render())
    for group in (ROOT.commands["wallet"], ROOT.commands["committee"]):
        lines = [command.help for command in group.commands.values()]
        assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example__of_help__parses(example):
    words = shlex.split(example)
    words = words[words.index("tallystick") + 1 :]
    words = words[: words.index("|")] if "|" in words else words
    command, name = ROOT, "tallystick"
    while getattr(command, "commands", None):
        name, command = words[0], command.commands[words[0]]
        words = words[1:]
    context = command.make_context(name, words)
    assert not context.args


def test_reference__docs__are_current():
    path = Path(__file__).parents[2] / "docs" / "cli.md"
    assert path.read_text() == reference.render(), (
        "run `python -m oracle.cli.reference docs/cli.md`"
    )


# ── Exit codes ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("nonsense", 2, "Usage"),
        ("model show", 2, "Usage"),
        ("infer 1 --key a", 2, "Usage"),
        ("wallet fund alice ten", 65, "InputInvalid"),
        ("wallet fund alice 0.0000001", 65, "InputInvalid"),
        ("infer 1 --input [] --max-fee -1", 65, "InputInvalid"),
        ("infer 1 --input [] --lifetime soon", 65, "InputInvalid"),
        ("infer 1 --input [] --until never", 65, "InputInvalid"),
        ("infer 1 --input [] --output a.npz", 65, "InputInvalid"),
        ("request show 0x12", 65, "InputInvalid"),
        ("access grant 1 nobody --key a", 65, "InputInvalid"),
        ("access policy 1 maybe --key a", 65, "InputInvalid"),
        ("wallet new ../x --password-file {pw}", 65, "InputInvalid"),
        ("wallet new x --password-file {pw}.missing", 78, "ConfigInvalid"),
        ("wallet new x", 78, "ConfigInvalid"),
        ("wallet show", 78, "ConfigInvalid"),
        ("model list", 78, "ConfigInvalid"),
        ("operator run", 78, "ConfigInvalid"),
        ("operator run --key nobody", 66, "NotFound"),
    ],
)
def test_run__refused__exits_with_the_code_and_one_document(home, capsys, line, code, error):
    home.mkdir()
    (home / "pw").write_text("secret")
    words = line.format(pw=home / "pw").split()
    assert main([*words, "--json"]) == code
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["error"], document["exit_code"]) == (error, code)
    assert document["message"]
    assert main(words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


@pytest.mark.real
def test_run__server_away__is_unavailable(home, capsys):
    home.mkdir()
    network = {
        "rpc_url": "http://127.0.0.1:1",
        "contracts": {
            "chain_id": 31337, "token": "0x", "model_registry": "0x", "model_access": "0x",
            "operator_registry": "0x", "inference_market": "0x", "request_lens": "0x",
            "payment_channels": "0x",
            "program_registry": "0x", "step_verifier": "0x", "dispute_game": "0x",
            "committee": "0x", "committee_seats": "0x",
                "data_credits": "0x", "data_rounds": "0x", "row_demands": "0x",
            "valuation_verifier": "0x", "valuation_game": "0x",
            "training_rounds": "0x", "training_game": "0x",
                "deployed_at": 0,
        },
    }  # fmt: skip
    (home / "network.json").write_text(json.dumps(network))
    assert main(["model", "list"]) == 69
    assert "tallystick up" in capsys.readouterr().err


def test_run__network_file_is_garbage__says_which(home, capsys):
    home.mkdir()
    (home / "network.json").write_text("{")
    assert main(["model", "list"]) == 78
    assert "network.json" in capsys.readouterr().err


def test_run__unknown_setting__lists_the_known(home, capsys, monkeypatch):
    monkeypatch.setenv("TALLYSTICK_RCP_URL", "http://x")
    assert main(["wallet", "list"]) == 78
    assert "TALLYSTICK_RPC_URL" in capsys.readouterr().err


def test_run__no_arguments__shows_help(capsys):
    assert main([]) in (0, 2)
    text = "".join(capsys.readouterr())
    assert "Commands:" in text


# ── Wallets need no server ──────────────────────────────────────────────────────────────────────
def test_wallet__new_then_list__never_shows_a_secret(home, capsys):
    home.mkdir()
    (home / "pw").write_text("correct horse\n")
    assert main(["wallet", "new", "alice", "--password-file", str(home / "pw"), "--json"]) == 0
    captured = capsys.readouterr()
    made = json.loads(captured.out)
    path = home / "keys" / "alice.json"
    assert made["path"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "correct horse" not in captured.out + captured.err + path.read_text()
    assert main(["wallet", "new", "alice", "--password-file", str(home / "pw")]) == 65
    capsys.readouterr()
    assert main(["wallet", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [made]
    assert main(["wallet", "list"]) == 0
    assert made["address"] in capsys.readouterr().out


# ── Output ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Sample:
    fee: Amount
    limit: Amount | None
    count: int
    policy: Policy
    digest: bytes
    parts: tuple["Sample", ...] = ()


def test_jsonable__every_kind__is_plain_data():
    sample = Sample(Amount(50_000), Amount(10**6), 7, Policy.ON_REQUEST, b"\1\2")
    nested = Sample(Amount(0), None, 0, Policy.OPEN, b"", (sample,))
    found = output.jsonable({"a": nested, "b": np.float32(0.5), "c": np.arange(2), "d": {1}})
    assert found["a"]["parts"][0] == {
        "fee": "0.05", "limit": "1.00", "count": 7, "policy": "on_request", "digest": "0x0102",
        "parts": [],
    }  # fmt: skip
    assert found["a"]["limit"] is None
    assert (found["b"], found["c"], found["d"]) == (0.5, [0, 1], [1])
    json.dumps(found)


def test_error_document__digest_mismatch__carries_the_code():
    document = output.error_document(DigestMismatch("no", hint="look"))
    assert document == {
        "error": "DigestMismatch", "message": "no", "hint": "look", "exit_code": 76,
    }  # fmt: skip


def test_table__brackets_in_a_cell__are_not_markup(capsys):
    output.console().print(output.table(("a",), [["[red]x[/red]"]]), markup=False)
    assert "[red]x[/red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "told", [output.table(("a",), [["\x1b[2Jx"]]), output.facts([("a", "\x1b[2Jx")])]
)
def test_print_human__strangers_control_characters__are_not_sent(told, capsys):
    output.print_human(told)
    said = capsys.readouterr().out
    assert "[2Jx" in said
    assert "\x1b" not in said
