"""What a visitor's wallet is given to sign, the files it sends first, and the keys it pays for."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from fastapi import FastAPI
from fastapi.testclient import TestClient

from oracle.chain.anvil import dev_account
from oracle.chain.contract import Call
from oracle.chain.transactions import Receipt
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, NotFound
from oracle.services import balances
from oracle.types import Address, Amount, Wei
from oracle.web import drafts
from oracle.web.acting import key_message
from oracle.web.drafts import Drafts
from oracle.web.pages import router
from oracle.web.rendering import PageOptions
from tests.services.conftest import DOLLAR, World
from tests.web.conftest import Browse
from tests.web.wallet_sponsor import WalletSponsor

pytestmark = [pytest.mark.real]
DRAFT = "0123456789abcdef" * 2


@dataclass
class Signer:
    """A wallet in a browser: signs what the page hands it, until an act is done."""

    browser: TestClient
    wallet: Wallet

    def act(self, name: str, **values: str) -> list[Receipt]:
        done: list[Receipt] = []
        while True:
            answer = self.browser.post(
                f"/page/transactions/{name}", params={**values, "account": self.wallet.address}
            )
            assert answer.status_code == 200, answer.text
            step: dict[str, Any] = answer.json()
            if "data" not in step:
                return done
            data, value = bytes.fromhex(step["data"][2:]), Wei(int(step["value"], 16))
            done.append(self.wallet.send(Call(Address(step["to"]), data, value)))
            if step["last"]:
                return done


def test_transactions__stranger__becomes_an_operator(world: World, browse: Browse) -> None:
    balances.fund(world.network, world.stranger.address, Amount(5 * DOLLAR))
    world.publish()
    signer = Signer(browse(), world.stranger)
    assert len(signer.act("register", endpoint="https://box.example")) == 1
    assert len(signer.act("stake", amount="2.5")) == 2, "an approval first"
    held = world.network.operators.stake_of(world.stranger.address)
    assert (held.registered, held.staked) == (True, 2_500_000)
    owner = Signer(browse(), world.owner)
    assert len(owner.act("authorize", model="1", operator=world.stranger.address)) == 1
    assert owner.act("authorize", model="1", operator=world.stranger.address) == []
    assert world.network.operators.is_authorized(1, world.stranger.address)
    assert len(signer.act("unstake", amount="1")) == 1


def test_transactions__answered_request__bytes_demanded_then_settled(
    world: World, browse: Browse
) -> None:
    from oracle.services import inference, quoting, requests
    from oracle.services.models import Selected
    from oracle.services.quoting import Ask

    world.publish()
    world.serve(1)
    world.prepay(5 * DOLLAR)
    quote = quoting.quote(
        world.network, world.requester.address, Ask(Selected(1, 1), [[[[0.0, 1], [0, 1]]]]),
        stdin=bytes,
    )  # fmt: skip
    asked = inference.ask(world.network, world.requester, quote)
    world.deliver(requests.list_requests(world.network)[0], [1.0, 5.0, 2.0])
    request = "0x" + asked.request_id.hex()
    assert 'data-act="demand"' in browse().get(f"/requests/{request}").text
    signer = Signer(browse(), world.stranger)
    (receipt,) = signer.act("demand", request=request)
    assert receipt.succeeded
    world.pass_time(3600)
    assert 'data-act="finalize"' in browse().get(f"/requests/{request}").text


@pytest.mark.parametrize(
    ("act", "values", "status"),
    [
        ("nonsense", {}, 422), ("stake", {}, 422), ("stake", {"amount": "x"}, 422),
        ("demand", {"request": "0x" + "ab" * 32}, 404), ("publish", {"fee": "1"}, 422),
        ("publish", {"fee": "1", "draft": DRAFT}, 404), ("authorize", {"model": "y"}, 422),
    ],
)  # fmt: skip
def test_transactions__that_make_no_sense__are_refused(
    world: World, browse: Browse, act: str, values: dict[str, str], status: int
) -> None:
    found = browse().post(
        f"/page/transactions/{act}", params={**values, "account": world.stranger.address}
    )
    assert found.status_code == status, found.text


def test_transactions__from_another_site__are_refused(world: World, browse: Browse) -> None:
    found = browse().post(
        f"/page/transactions/stake?amount=1&account={world.stranger.address}",
        headers={"sec-fetch-site": "cross-site"},
    )
    assert found.status_code == 403


# ── Files ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("path", ["model.json", "a/b/weights.pt2"])
def test_drafts__a_file__is_kept(world: World, path: str) -> None:
    app = FastAPI()
    app.include_router(router(world.network, PageOptions(uploads=True)))
    found = TestClient(app).put(f"/page/drafts/{DRAFT}/{path}", content=b"{}")
    assert found.json() == {"size": 2}
    place = world.network.settings.home / "drafts"
    assert (Drafts(place).folder(DRAFT) / path).read_bytes() == b"{}"


def test_drafts__a_file_where_a_folder_is__is_refused(tmp_path: Path) -> None:
    keep(tmp_path, DRAFT, "a/b", b"x")
    with pytest.raises(InputInvalid, match="a file and a folder"):
        keep(tmp_path, DRAFT, "a", b"x")
    with pytest.raises(InputInvalid, match="a file and a folder"):
        keep(tmp_path, DRAFT, "a/b/c", b"x")


@pytest.mark.parametrize("path", ["../x", ".hidden", "a/../../x", "/etc/passwd", "a\\b", "a//b"])
def test_drafts__path_out_of_the_folder__is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputInvalid):
        keep(tmp_path, DRAFT, path, b"x")
    assert list(tmp_path.rglob("*")) == []


def test_drafts__too_many_bytes__are_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "MAX_DRAFT", 10)
    keep(tmp_path, DRAFT, "a", b"123456")
    with pytest.raises(InputInvalid, match="more than 10 bytes"):
        keep(tmp_path, DRAFT, "b", b"12345")
    assert not (tmp_path / DRAFT / "b").exists()


def test_drafts__one_too_many__the_oldest_goes(tmp_path: Path) -> None:
    names = [f"{n:032x}" for n in range(drafts.KEPT + 2)]
    for name in names:
        keep(tmp_path, name, "a", b"x")
    assert len(list(tmp_path.iterdir())) == drafts.KEPT
    with pytest.raises(NotFound):
        Drafts(tmp_path).folder("ff" * 16)


def keep(place: Path, draft: str, path: str, data: bytes) -> int:
    async def body() -> AsyncIterator[bytes]:
        yield data

    return asyncio.run(Drafts(place).keep(draft, path, body()))


def test_drafts__server_for_strangers__takes_none(world: World, browse: Browse) -> None:
    found = browse().put(f"/page/drafts/{DRAFT}/model.json", content=b"{}")
    assert found.status_code == 403
    assert "takes no files" in browse().get("/publish").text


# ── API keys ────────────────────────────────────────────────────────────────────────────────────
def test_keys__for_a_deposit__one_works_at_a_time_for_who_paid(world: World) -> None:
    network, gateway = world.network, world.requester
    sponsor = WalletSponsor(network, gateway, budget=Amount(DOLLAR))
    app = FastAPI()
    app.include_router(router(network, PageOptions(), sponsor))
    browser = TestClient(app)
    payer = Wallet(network.rpc, dev_account(3))
    balances.fund(network, payer.address, Amount(3 * DOLLAR))
    receipts = Signer(browser, payer).act("prepay", amount="2", to=gateway.address)
    transaction = "0x" + receipts[-1].tx_hash.hex()
    signed = {
        n: Account.sign_message(
            encode_defunct(text=key_message(gateway.address, transaction)), dev_account(n).key
        ).signature.hex()
        for n in (2, 3)
    }

    def ask(signature: str, of: str = transaction, replacing: str = "") -> Any:
        given = {"transaction": of, "signature": signature, "replacing": replacing}
        return browser.post("/page/keys", params=given)

    assert ask("0x" + signed[2].removeprefix("0x")).status_code == 403, "not who paid"
    assert ask("0x12").status_code == 422
    made = ask("0x" + signed[3].removeprefix("0x"))
    assert made.json() == {"key": "tsk_1", "budget": "$2.00"}
    assert list(sponsor.minted.values()) == [2 * DOLLAR]
    assert ask("0x" + signed[3].removeprefix("0x")).json() == {"exists": "1"}
    assert ask("0x" + signed[3].removeprefix("0x"), replacing="1").status_code == 403, "not signed"
    message = key_message(gateway.address, transaction, "1")
    again = Account.sign_message(encode_defunct(text=message), dev_account(3).key).signature.hex()
    assert ask("0x" + again.removeprefix("0x"), replacing="1").json()["key"] == "tsk_2"
    assert ask("0x" + again.removeprefix("0x"), replacing="1").status_code == 403, "once"
    spelled = transaction + " "
    signature = Account.sign_message(
        encode_defunct(text=key_message(gateway.address, spelled)), dev_account(3).key
    ).signature.hex()
    assert ask("0x" + signature.removeprefix("0x"), spelled).json() == {"exists": "2"}, (
        "any spelling"
    )
    approval = "0x" + receipts[0].tx_hash.hex()
    assert ask("0x" + signed[3].removeprefix("0x"), approval).status_code == 422
    assert ask("0x" + signed[3].removeprefix("0x"), "0x" + "ab" * 32).status_code == 404


def test_keys__block_of_the_deposit_may_be_replaced__wait(world: World) -> None:
    """A reorganisation would have left a budget behind that nobody paid."""
    deep = replace(world.network.settings, finality_depth=2)
    network, gateway = replace(world.network, settings=deep), world.requester
    app = FastAPI()
    sponsor = WalletSponsor(network, gateway, budget=Amount(DOLLAR))
    app.include_router(router(network, PageOptions(), sponsor))
    browser = TestClient(app)
    payer = Wallet(network.rpc, dev_account(4))
    balances.fund(network, payer.address, Amount(3 * DOLLAR))
    receipt = Signer(browser, payer).act("prepay", amount="2", to=gateway.address)[-1]
    transaction = "0x" + receipt.tx_hash.hex()
    message = encode_defunct(text=key_message(gateway.address, transaction))
    signature = "0x" + Account.sign_message(
        message, dev_account(4).key
    ).signature.hex().removeprefix("0x")
    asked = {"transaction": transaction, "signature": signature}
    early = browser.post("/page/keys", params=asked)
    assert (early.status_code, early.json()["title"]) == (503, "DepositNotFinal")
    assert sponsor.minted == {}
    network.rpc.call("anvil_mine", "0x2")
    assert browser.post("/page/keys", params=asked).status_code == 200
