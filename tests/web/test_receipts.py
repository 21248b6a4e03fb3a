"""The page of receipts: what was signed, each check, in both languages; in Chromium as well."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect

from oracle.api.header_limits import BoundedServer
from oracle.chain.anvil import dev_account
from oracle.ports import free_port
from oracle.protocol import receipt_file, tensor, vouchers
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_file import ReceiptFile, SignedChannel
from oracle.services.channels import offers
from oracle.types import ZERO32, Bytes32
from oracle.web.pages import router
from oracle.web.rendering import PageOptions
from tests.services.conftest import DOLLAR, World
from tests.support.waiting import wait_until
from tests.web.browser import PATIENCE, Visit, chromium, executable, violations
from tests.web.conftest import Browse

pytestmark = pytest.mark.real
QUESTION = b"the canonical bytes of a question"
HOSTILE = "<script>alert(1)</script>"
expect.set_options(timeout=PATIENCE)


@pytest.fixture
def receipt(world: World) -> ReceiptFile:
    """A receipt of an operator whose offer has stake."""
    world.publish()
    world.serve(1)
    world.prepay(2 * DOLLAR)
    drafted = offers.draft(world.network, world.operator.address, "digits")
    offers.cover(world.network, world.operator, drafted, 2)
    payer = world.requester.address
    channel = SignedChannel.on(world.network.contracts, drafted.offer, payer, payer)
    answer = AnswerReceipt(
        1, world.network.history.now(), tensor.digest(QUESTION), ZERO32, ZERO32,
        Bytes32(b"o" * 32), ZERO32, b"",
    )  # fmt: skip
    file = signed(ReceiptFile(channel, answer, input=QUESTION))
    return replace(file, proof=receipt_file.proof_of([file.digest], 1))


def signed(file: ReceiptFile) -> ReceiptFile:
    signature = vouchers.sign(bytes(dev_account(1).key), file.digest)
    return replace(file, receipt=replace(file.receipt, signature=signature))


def document(file: ReceiptFile) -> Any:
    return json.loads(receipt_file.write(file))


def checked(browse: Browse, given: Any, language: str = "en") -> Any:
    page = browse()
    page.cookies.set("language", language)
    answer = page.post("/page/receipts", content=json.dumps(given))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_receipts__one__says_what_was_checked_and_what_not(
    receipt: ReceiptFile, browse: Browse
) -> None:
    found = checked(browse, document(receipt))
    (shown,) = found["receipts"]
    results = {one["what"]: one["result"] for one in shown["checks"]}
    assert results == {
        "Signature": "checked", "Question": "checked", "Answer": "unknown", "Root": "checked",
        "Network": "checked", "Offer": "checked", "Operator": "checked", "Price": "checked",
        "Access": "checked", "Payment": "checked", "Claimed voucher": "unknown",
        "Summons": "checked", "Computed again": "unknown",
    }  # fmt: skip
    assert "tallystick channel summon" in shown["next"]
    facts = [value for _, value in shown["facts"]]
    assert receipt.channel.payer in facts
    assert any(receipt.channel.offer.operator in value for value in facts)
    assert not found["wrong"]


def test_receipts__in_chinese__say_the_same(receipt: ReceiptFile, browse: Browse) -> None:
    (english,) = checked(browse, document(receipt))["receipts"]
    (chinese,) = checked(browse, document(receipt), "zh")["receipts"]
    assert [one["result"] for one in chinese["checks"]] == [
        one["result"] for one in english["checks"]
    ]
    for one in (*chinese["checks"], {"what": "", "why": chinese["next"]}):
        assert any("\u4e00" <= letter <= "\u9fff" for letter in one["what"] + one["why"]), one


def test_receipts__two_of_one_index__equivocation(receipt: ReceiptFile, browse: Browse) -> None:
    other = signed(replace(receipt, receipt=replace(receipt.receipt, output_root=ZERO32)))
    found = checked(browse, [document(receipt), document(other)])
    assert found["wrong"]
    assert [one["result"] for one in found["together"]] == ["wrong"]


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "{}", "[" * 50_000, json.dumps([{}] * 21), '{"schema": 1}', "\xff"]
)
def test_receipts__no_receipt__refused_with_a_sentence(browse: Browse, body: str) -> None:
    answer = browse().post("/page/receipts", content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"]


# ── Chromium ────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def shown(world: World) -> Iterator[str]:
    """The page over this world, served to a browser; its URL."""
    app, port = FastAPI(), free_port()
    app.include_router(router(world.network, PageOptions(), None))
    server = BoundedServer(app, host="127.0.0.1", port=port, log_config=None)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the page")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        wait_until(lambda: not thread.is_alive(), "the page's end")


def results(page: Page, result: str) -> Any:
    return page.locator(f"#found [data-result={result}]")


def test_page__receipts_given_dropped_and_pasted__are_shown_green_red_and_grey(
    world: World, receipt: ReceiptFile, tmp_path: Path
) -> None:
    executable()
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(receipt_file.write(receipt))
    forged = replace(receipt.receipt, output_root=Bytes32(b"p" * 32))
    bad.write_text(receipt_file.write(replace(receipt, receipt=forged)))
    with shown(world) as url, chromium() as browser:
        visit = Visit(browser, url)
        with visit.page() as page:
            page.goto("/")
            page.get_by_role("link", name="Check a receipt").click()
            page.set_input_files("#files", good)
            page.get_by_role("button", name="Check").click()
            expect(page.locator("#said")).to_have_class("result good")
            expect(results(page, "wrong")).to_have_count(0)
            expect(results(page, "unknown")).to_have_count(3)
            expect(page.locator("#found")).to_contain_text(receipt.channel.offer.operator)
            assert violations(page) == []
            page.evaluate(
                """text => {
                  const data = new DataTransfer();
                  data.items.add(new File([text], "bad.json"));
                  document.dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
                }""",
                bad.read_text(),
            )
            expect(page.locator("#said")).to_have_class("result bad")
            expect(results(page, "wrong")).not_to_have_count(0)
            expect(page.locator("#found .next")).to_contain_text("proves nothing")
            page.set_viewport_size({"width": 375, "height": 700})
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
            page.set_input_files("#files", [])
            page.fill("#pasted", HOSTILE)
            page.get_by_role("button", name="Check").click()
            expect(page.locator("#said")).to_contain_text("no receipt's file")
            page.get_by_role("link", name="中文").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("核验收据")
        assert visit.complaints == []
