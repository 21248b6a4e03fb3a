"""`tallystick infer --channel`: price and stake first, then an answer with its receipt."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from oracle.chain import keystore
from oracle.chain.anvil import dev_account
from oracle.cli import main
from oracle.config import save_network
from oracle.errors import InputInvalid
from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.protocol import vouchers
from oracle.services.channels import endpoints, offers
from oracle.services.network import Network
from tallystick.connection import Connection
from tests.services.conftest import DOLLAR, World
from tests.worker.builders import images, write_digits
from tests.worker.endpoint.conftest import Shop

pytestmark = pytest.mark.real
Run = Callable[..., Any]


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Iterator[Shop]:
    """As `conftest.shop`, with an IPFS node that a command line reaches."""
    node = daemon.start_embedded(tmp_path / "ipfs", log=tmp_path / "ipfs.log")
    try:
        settings = replace(world.network.settings, ipfs_api=node.api_url)
        ipfs = IpfsClient(node.api_url)
        network = Network.over(settings, world.network.rpc, ipfs)
        folder = write_digits(tmp_path / "digits", max_output_bytes=1000)
        sells = replace(world, network=network, ipfs=ipfs, folder=folder)
        sells.publish()
        sells.serve(1)
        sells.prepay(50 * DOLLAR)
        save_network(settings)
        payer = settings.home / "keys" / "payer.json"
        keystore.save(payer, dev_account(2), lambda: "secret", scrypt_n=2)
        (settings.home / "password").write_text("secret")
        made = Shop(sells, tmp_path / "endpoint")
        made.offer = made.cover()
        yield made
    finally:
        node.stop()


@pytest.fixture
def infer(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Give what asks by the command line, and gives back the document that it prints."""
    home = shop.world.network.settings.home
    monkeypatch.setenv("TALLYSTICK_HOME", str(home))
    monkeypatch.setenv("TALLYSTICK_PASSWORD_FILE", str(home / "password"))
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)  # the endpoint in this process prints otherwise
    np.savez(tmp_path / "image.npz", image=images())
    given = ("infer", "digits", "--input", str(tmp_path / "image.npz"), "--key", "payer")

    def call(*words: object, code: int = 0, yes: bool = True) -> Any:
        returned = main([*given, *map(str, words), *(["--yes"] if yes else []), "--json"])
        captured = capsys.readouterr()
        assert returned == code, captured
        return json.loads(captured.out), captured.err

    yield call
    structlog.reset_defaults()


def test_infer__channel__opens_it_answers_and_keeps_the_receipt(
    shop: Shop, infer: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = shop.world.network
    with shop.serving() as url:
        first, said = infer("--channel", url, "--output", tmp_path / "answer.npz")
        second, again = infer("--channel", url)
        assert main(["verify", second["receipt"], "--json"]) == 4  # a float model's
    assert "3 × $" in said, "the stake behind it is shown before it is paid"
    assert "$20.00 is put in first; at most $20.00 in all" in said
    assert "nothing is put in" in again
    assert (first["fee"], first["left"], second["left"]) == ("1.00", "19.00", "18.00")
    assert first["receipt"].endswith("/1")
    assert first["outputs"][0]["name"] == "logits"
    assert np.load(tmp_path / "answer.npz")["logits"].shape == (1, 10)
    (checked,) = json.loads(capsys.readouterr().out)["receipts"]
    assert checked["request_id"] == second["request_id"]
    held = network.channels.channel_of(bytes.fromhex(checked["channel_id"][2:]))
    assert (held.deposit, held.claimed) == (20 * DOLLAR, 2 * DOLLAR)


def test_infer__channel_opened_by_command__asks_out_of_it_and_closes_it_agreed(
    shop: Shop, infer: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["channel", "open", "digits", "5", "--key", "payer", "--yes", "--json"]) == 0
    opened = json.loads(capsys.readouterr().out)["channel_id"]
    with shop.serving() as url:
        asked, said = infer("--channel", url)
        assert "nothing is put in" in said
        assert (asked["receipt"], asked["left"]) == (f"{opened[:10]}/1", "4.00")
        assert main(["channel", "close", opened, "--agreed", "--url", url, "--key", "payer"]) == 0
    assert "$4.00 came back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9", "Connection refused"),
        ("https://op.invalid", "Name or service not known"),
    ],
)
def test_infer__endpoint_away__one_sentence_says_why(
    shop: Shop, infer: Run, url: str, reason: str
) -> None:
    refused, _ = infer("--channel", url, code=69)
    assert refused["message"] == f"{url} cannot be reached: {reason}"
    assert "operator offer list" in refused["hint"]


def test_verify__only_answer_was_claimed__voucher_was_before_it(
    shop: Shop, infer: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with shop.serving() as url:
        asked, _ = infer("--channel", url)
    assert main(["verify", asked["receipt"], "--json"]) == 4
    checks = json.loads(capsys.readouterr().out)["receipts"][0]["checks"]
    (why,) = (one["why"] for one in checks if one["what"] == "voucher")
    assert why == "the claimed voucher was signed before the first receipt came"


def test_channel__deposit_of_nothing__refused_before_anything_is_read(shop: Shop) -> None:
    with pytest.raises(InputInvalid, match="opens no channel"):
        Connection(shop.world.network, shop.world.requester).channel("digits", deposit="0")


@pytest.mark.parametrize("there", [True, False])
def test_close__agreed__paid_back_at_once_or_after_the_delay(
    shop: Shop, infer: Run, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    with shop.serving() as url:
        asked, _ = infer("--channel", url)
        channel = asked["receipt"].partition("/")[0]
        given = ["channel", "close", channel, "--agreed", "--url", url, "--key", "payer", "--json"]
        if there:
            assert main(given) == 0
            assert json.loads(capsys.readouterr().out)["amount"] == "19.00"
    if not there:
        assert main(given) == 0
        told = capsys.readouterr()
        assert "not agreed" in told.err
        assert json.loads(told.out)["state"] == "closing"


def test_infer__channel_without_url__takes_what_is_announced(shop: Shop, infer: Run) -> None:
    network, operator = shop.world.network, shop.world.operator
    offer = offers.name(vouchers.offer_id(shop.offer))
    with shop.serving() as url:
        refused, _ = infer("--channel", "auto", code=66)
        assert "announced" in refused["message"]
        assert "no endpoint" in infer("--channel", offer, code=66)[0]["message"]
        endpoints.announce(network, operator, url)
        assert infer("--channel", "auto")[0]["receipt"].endswith("/1")
        assert infer("--channel", offer[:10])[0]["receipt"].endswith("/2")
    assert infer("--channel", "auto", code=69)[0]["error"] == "Unavailable"


def test_infer__channel__nothing_is_paid_unless_agreed(shop: Shop, infer: Run) -> None:
    network, payer = shop.world.network, shop.world.requester.address
    before = network.market.balance_of(payer)
    with shop.serving() as url:
        asked, said = infer("--channel", url, yes=False, code=65)
        assert "say --yes" in asked["hint"]
        assert "fee" in said
        assert "limit of" in infer("--channel", url, "--limit", "0.5", code=77)[0]["message"]
        assert "max-fee" in infer("--channel", url, "--max-fee", "0.5", code=77)[0]["hint"]
        assert network.market.balance_of(payer) == before
        done, said = infer("--channel", url, "--limit", "2")
        assert "$2.00 is put in first" in said
        infer("--channel", url, "--limit", "2")
        assert "limit of" in infer("--channel", url, "--limit", "2", code=77)[0]["message"]
    assert done["left"] == "1.00"
    assert network.market.balance_of(payer) == before - 2 * DOLLAR


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--limit", "2"), "--limit needs --channel"),
        (("--channel", "auto", "--operator", "payer"), "--operator is for requests"),
        (("--channel", "auto", "--lifetime", "1m"), "--lifetime is for requests"),
        (("--channel", "http://op.example"), "is no endpoint"),
        (("--channel", "nowhere"), "is no endpoint"),
    ],
)
def test_infer__channel_with_words_that_do_not_fit__refused(
    infer: Run, words: tuple[str, ...], text: str
) -> None:
    assert text in infer(*words, code=65)[0]["message"]
