"""What the command line refuses on a real network, and what it says to people."""

import io
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from oracle.agents.folder import locked_account
from oracle.cli import main, model_file
from oracle.config import save_network
from oracle.devnet import doctor
from oracle.protocol import tensor
from oracle.services import operators, requests
from oracle.services.amounts import counted
from oracle.services.channels import endpoints
from oracle.services.request_timeline import RequestState
from oracle.types import NO_CLAIM, ZERO32, Bytes32, OperatorAnswer
from tests.support import clock
from tests.support.imports import imported

pytestmark = pytest.mark.real
IMAGE = "[[[[0.0, 0.5], [1.0, 0.25]]]]"
ALICE = ("--key", "alice", "--yes")
OWNER = ("--key", "owner", "--yes")


WAITED = ("infer", "1", "--input", IMAGE, "--wait", "--timeout", "10m")
# What a command that reads or asks has no use for: each costs tenths of a second
NEVER = {"web3", "aiohttp", "websockets", "httpx", "trio", "celery", "kombu", "redis", "sqlalchemy",
         "alembic", "torch", "fastapi", "uvicorn"}  # fmt: skip
TO_READ = NEVER | {"numpy", "eth_account", "Crypto", "ipfshttpclient", "requests", "rlp"}


@contextmanager
def answering(market):
    """While this lasts another thread is the operator: it answers when it sees the request."""

    def serve():
        network, operator = market.network, market.wallet("op1")
        while not (found := requests.list_requests(network, state=RequestState.REQUESTED)):
            time.sleep(0.05)
        data = tensor.encode({"logits": np.array([[0.1, 0.7, 0.2]], np.float32)})
        root = network.ipfs.publish_bytes(data).sha256
        operator.send(
            network.market.deliver(found[0].request, NO_CLAIM, OperatorAnswer(root, ZERO32))
        )

    operator = threading.Thread(target=serve, daemon=True)
    operator.start()
    yield
    operator.join()


@pytest.mark.parametrize("words", [("list",), ("versions", "1"), ("terms", "1")])
def test_model__only_looked_up__imports_nothing_that_it_does_not_use(market, tallystick, words):
    code, names = imported("model", *words)

    assert code == 0
    assert not names & TO_READ


def test_request__only_looked_up__imports_no_signer(market, tallystick):
    code, names = imported("request", "list")

    assert code == 0
    assert not names & {"eth_account", "Crypto"}


def test_infer__waited_for__imports_nothing_that_it_does_not_use(market, tallystick):
    with answering(market):
        code, names = imported(*WAITED, *ALICE)

    assert code == 0
    assert not names & (NEVER - {"redis"})  # of the thread that hears from workers


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("9", "--input", IMAGE), 66, "no model 9"),
        (("1@2", "--input", IMAGE), 66, "no version 2"),
        (("1", "--input", IMAGE, "--max-fee", "0.01"), 77, "above your limit of $0.01"),
        (("1", "--input", IMAGE, "--param", "temperature=9"), 65, "out of bounds"),
        (("1", "--input", IMAGE, "--param", "temperature"), 65, "NAME=VALUE"),
        (("1", "--input", IMAGE, "--param", "temperature=hot"), 65, "not a number"),
        (("1", "--input", "[[1.0]]"), 65, "shape"),
        (("1", "--input", "[[[[NaN, 0], [0, 0]]]]"), 65, "NaN"),
        (("1", "--input", "none.npz"), 66, "none.npz"),
        (("1", "--input", IMAGE, "--lifetime", "2000d"), 77, "lifetime"),
    ],
)
def test_infer__refused__says_why_and_spends_nothing(market, tallystick, words, code, message):
    refused = tallystick("infer", *words, *ALICE, code=code)
    assert message in refused["message"]
    assert tallystick("wallet", "balance", "alice")["prepaid"] == "1.00"


def test_infer__nobody_agreed_to_pay__spends_nothing(market, tallystick, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    refused = tallystick("infer", "1", "--input", IMAGE, "--key", "alice", code=65)
    assert "no terminal to ask" in refused["message"]
    assert tallystick("request", "list", "--key", "alice") == []


def test_infer__input_on_stdin__is_taken(market, tallystick, monkeypatch):
    piped = io.TextIOWrapper(io.BytesIO(IMAGE.encode()))
    monkeypatch.setattr("sys.stdin", piped)
    assert tallystick("infer", "1", "--input", "-", *ALICE)["fee"] == "0.05"


def test_infer__waited_for_and_answered__shows_and_saves_it(market, tallystick, tmp_path):
    target = tmp_path / "answer.json"
    with answering(market):
        answer = tallystick(*WAITED, "--output", target, *ALICE)
    assert answer["state"] == "delivered"
    assert answer["outputs"][0]["rows"][0]["top"][0]["label"] == "one"
    assert json.loads(target.read_text())["logits"] == [[pytest.approx(x) for x in (0.1, 0.7, 0.2)]]


def test_infer__consumer__is_called_once_the_answer_is_final(market, tallystick):
    refused = tallystick("infer", "1", "--input", IMAGE, "--callback-gas", "9", *ALICE, code=65)
    assert "--callback-gas needs --consumer" in refused["message"]
    network, listener = market.network, "0x" + "ab" * 20
    called = ("--consumer", listener, "--callback-gas", "50000")
    refused = tallystick("infer", "1", "--input", IMAGE, *called, *ALICE, code=65)
    assert "is no contract" in refused["message"]
    network.rpc.call("anvil_setCode", listener, "0x00")  # STOP: takes every call
    asked = tallystick("infer", "1", "--input", IMAGE, *called, *ALICE)["request_id"]
    request = requests.show(network, bytes.fromhex(asked[2:])).request
    assert (request.consumer.lower(), request.callback_gas) == (listener.lower(), 50_000)
    root = Bytes32(b"1" * 32)
    market.wallet("op1").send(
        network.market.deliver(request, NO_CLAIM, OperatorAnswer(root, ZERO32))
    )
    clock.pass_time(network.rpc, 60)
    tallystick("request", "finalize", asked, "--key", "op1")
    last = tallystick("request", "show", asked)["timeline"][-1]
    assert last["event"] == "CallbackCompleted"
    assert last["detail"].endswith(" was told")


def test_infer__waited_for_in_vain__says_that_the_request_goes_on(market, tallystick):
    refused = tallystick(
        "infer", "1", "--input", IMAGE, "--wait", "--timeout", "1s", *ALICE, code=75
    )
    assert refused["error"] == "Unanswered"
    assert "request show" in refused["hint"]


def test_limits__set_by_the_owner__bind_the_requester(market, tallystick):
    tallystick("access", "limits", "1", "--set", "temperature=0.5:1.5", "--key", "owner")
    assert tallystick("access", "limits", "1")["parameters"][0]["maximum"] == 1.5
    hot = ("--input", IMAGE, "--param", "temperature=1.8")
    refused = tallystick("infer", "1", *hot, *ALICE, code=77)
    assert "Parameter lane 0" in refused["message"]
    tallystick("access", "limits", "1", "--lift", "--key", "owner")
    tallystick("infer", "1", *hot, *ALICE)


def test_terms__changed_then_retired__bind_new_requests(market, tallystick):
    assert tallystick("model", "terms", "1", "--fee", "0.07", "--key", "owner")["fee"] == "0.07"
    refused = tallystick("model", "retire", "1", *OWNER, code=65)
    assert refused["message"] == "say which version"
    stranger = tallystick("model", "retire", "1@1", *ALICE, code=77)
    assert "does not own model 1" in stranger["message"]
    tallystick("model", "retire", "1@1", *OWNER)
    refused = tallystick("infer", "1@1", "--input", IMAGE, *ALICE, code=77)
    assert "retired" in refused["message"]


def test_convict__answer_withheld__needs_a_demand_and_its_deadline(market, tallystick):
    asked = tallystick("infer", "1", "--input", IMAGE, *ALICE)["request_id"]
    network = market.network
    request = requests.show(network, bytes.fromhex(asked[2:])).request
    market.wallet("op1").send(
        network.market.deliver(request, NO_CLAIM, OperatorAnswer(Bytes32(b"1" * 32), ZERO32))
    )
    refused = tallystick("request", "convict", asked, "--key", "owner", code=77)
    assert "Nobody demanded" in refused["message"]
    tallystick("request", "demand", asked, *ALICE)
    refused = tallystick("request", "convict", asked, "--key", "owner", code=77)
    assert "The operator has until" in refused["message"]
    clock.pass_time(network.rpc, network.market.config().demand_period)
    done = tallystick("request", "convict", asked, "--key", "owner")
    assert done["operator"] == market.wallet("op1").address
    assert float(done["to_requester"]) > 0.05
    assert tallystick("request", "show", asked)["state"] == "convicted"
    again = tallystick("request", "convict", asked, "--key", "owner", code=77)
    assert "is not in the state this call needs" in again["message"]


def test_show__wrong_password__says_so(market, tallystick, tmp_path):
    (tmp_path / "pw").write_text("guess")
    words = ("wallet", "deposit", "1", "--password-file", tmp_path / "pw")
    refused = tallystick(*words, *ALICE, code=65)
    assert refused["error"] == "PasswordWrong"
    assert "guess" not in str(refused)


def test_verify__one_byte_changed_in_the_store__names_the_file(market, tallystick):
    block = max(market.blocks.rglob("*.data"), key=lambda path: path.stat().st_size)
    intact = block.read_bytes()
    block.write_bytes(intact[:1000] + bytes([intact[1000] ^ 1]) + intact[1001:])
    try:
        refused = tallystick("model", "verify", "1", code=76)
        assert refused["error"] == "HistoryBroken"
        assert refused["message"].startswith("file model.onnx of version 1: ")
        assert tallystick("model", "verify", "1", "--records-only")["versions"]
    finally:
        block.write_bytes(intact)
    assert tallystick("model", "verify", "1")["bytes_checked"]


def test_run__wrong_chain__is_a_matter_of_configuration(market, tallystick, tmp_path):
    contracts = replace(market.network.contracts, chain_id=1)
    save_network(replace(market.network.settings, home=tmp_path, contracts=contracts))
    refused = tallystick("model", "list", "--home", tmp_path, code=78)
    assert "serves chain 31337, the contracts are on chain 1" in refused["message"]


def test_text__for_people__is_on_stdout_and_nothing_on_stderr(market, tallystick, capsys):
    tallystick("infer", "1", "--input", IMAGE, *ALICE)
    for words in (
        ["wallet", "show", "alice"], ["wallet", "list"], ["model", "list"], ["model", "show", "1"],
        ["model", "versions", "1"], ["access", "show", "1"], ["access", "limits", "1"],
        ["operator", "status", "op1"], ["request", "list", "--key", "alice"],
    ):  # fmt: skip
        assert main(words) == 0
        captured = capsys.readouterr()
        assert captured.out.strip(), words
        assert captured.err == "", words


def test_publish__name_of_an_earlier_model__says_that_the_id_asks_it(market, tallystick, capsys):
    assert main(["model", "publish", str(market.folder), "--key", "op1"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"another model (1, of {market.wallet('owner').address}) has this name" in told
    assert "asked by its id, 2" in told
    assert tallystick("model", "show", "digits")["model"]["model_id"] == 1


@pytest.mark.parametrize("words", [("operator", "run"), ("serve", "--listen", "127.0.0.1:{port}")])
def test_run__account_in_use_here__is_refused(market, tallystick, monkeypatch, words):
    address = market.wallet("op1").address
    with locked_account(market.home, address), socket.create_server(("127.0.0.1", 0)) as taken:
        if words[0] == "operator":  # either would end here anyhow, for another reason
            monkeypatch.delenv("TALLYSTICK_PASSWORD_FILE")
        port = taken.getsockname()[1]
        refused = tallystick(*(w.format(port=port) for w in words), "--key", "op1", code=78)
    assert f"already runs with {address}" in refused["message"]


def test_operator__without_authority_or_stake__is_told_by_doctor_and_by_run(market, tallystick):
    of_op1 = replace(market.network.settings, key="op1")
    assert doctor.check_operator(of_op1) == "op1 can be asked: models 1"
    tallystick("operator", "authorize", "1", "op1", "--remove", "--key", "owner")
    told = doctor.check_operator(of_op1)
    assert isinstance(told, doctor.Note)
    assert "no owner has authorised it" in told.hint
    tallystick("operator", "register", "--key", "alice")
    assert "has no stake" in doctor.check_operator(replace(of_op1, key="alice")).hint
    assert "not registered" in doctor.check_operator(replace(of_op1, key="owner"))


def test_operator_list__registered__names_wallet_models_and_where_channels_go(
    market, tallystick, capsys, monkeypatch
):
    address, url = market.wallet("op1").address, "https://op1.example"
    endpoints.announce(market.network, market.wallet("op1"), url)
    (listed,) = tallystick("operator", "list", "1")
    assert (listed["operator"], listed["models"], listed["announced"]) == (address, [1], url)
    assert listed == tallystick("operator", "status", "op1")
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["operator", "list"]) == 0
    assert {address, "op1", "digits", url} <= set(capsys.readouterr().out.split())


def test_lacking__stake_below_what_an_answer_locks__says_both(market, tallystick):
    network, address = market.network, market.wallet("op1").address
    tallystick("model", "terms", "1", "--fee", "40", "--key", "owner")
    (told,) = operators.lacking(network, operators.status(network, address))
    assert "an answer of model 1 locks $800.00, and $20.00 of stake is free" in told


def test_publish__same_folder_with_other_terms__says_how_to_set_them(market, tallystick, capsys):
    words = ["model", "publish", str(market.folder), "--fee", "0.04", "--key", "owner"]
    assert main(words) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "terms unchanged: `tallystick model terms 1@1 --fee 0.04 --key OWNER` sets" in told
    assert tallystick("model", "list")[0]["fee"] == "0.05"
    tallystick("model", "terms", "1@1", "--fee", "0.04", "--key", "owner")
    assert tallystick("model", "list")[0]["fee"] == "0.04"
    assert main(words) == 0
    assert "terms unchanged" not in capsys.readouterr().out
    assert main(["model", "verify", "1"]) == 0
    assert " 1 file, " in capsys.readouterr().out


def test_counted__one_or_several__is_grammatical():
    assert [counted(n, "row") for n in (0, 1, 2, 1000)] == [
        "0 rows",
        "1 row",
        "2 rows",
        "1,000 rows",
    ]


def test_init__now__speaks_of_names_where_the_file_has_none_that_people_gave():
    assert "name the outputs" in model_file._now("torch.export")
    assert "name the outputs" not in model_file._now("onnx")
    assert model_file._specs([{"name": "x", "dtype": "F32", "shape": [None, 4]}]) == "x F32 [?, 4]"
