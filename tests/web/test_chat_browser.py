"""The chat in Chromium: streamed, stopped, proven, and nothing that is written is run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from examples.minilm import build as minilm
from oracle.protocol import text
from oracle.protocol.cid import raw_cid
from oracle.protocol.search_index import FoundPassage, Passage
from oracle.services import models, operators
from oracle.services.conversation import ChainPayment, Conversation
from oracle.services.models import Selected
from oracle.services.quoting import Ask
from oracle.services.search import answering, indexes
from oracle.types import Amount, Bytes32
from oracle.web.pages import router
from oracle.web.rendering import PageOptions
from tests.services.conftest import DOLLAR, World, anvil, contracts, world
from tests.support.parrot import NAME, Parrot, write_parrot
from tests.support.text_site import Site
from tests.web.browser import PATIENCE, Visit, chromium, violations
from tests.web.wallet_sponsor import WalletSponsor

__all__ = ["anvil", "contracts", "world"]
pytestmark = pytest.mark.real
expect.set_options(timeout=PATIENCE)
TRY = "/models/1/try"
TEXTS = {
    "fees.md": "When nobody answers before the request expires, the fee is refunded.",
    "wallets.md": "Nobody can restore a lost password; <b>this</b> is a tag.",
}
EVIL = (
    "<img src=x onerror=document.title='owned'> <script>document.title='owned'</script>"
    " [click](javascript:document.title='owned')"
).replace("\\", "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def unit() -> dict[str, Any] | None:
    """What the parrot is paid by; None = each answer costs the same."""
    return None


@pytest.fixture
def site(world: World, tmp_path: Path, unit: dict[str, Any] | None) -> Iterator[Site]:
    """A parrot that the site asks for its visitors."""
    sells = replace(world, folder=write_parrot(tmp_path / "parrot", unit=unit))
    sells.publish()
    sells.serve(1)
    with sponsored(sells, tmp_path) as made:
        yield made


@pytest.fixture
def informed(world: World, tmp_path: Path) -> Iterator[Site]:
    """A parrot whose version names an index, and the model of sentences that made the index."""
    embedder = replace(world, folder=minilm.build(tmp_path / "minilm"))
    embedder.publish(fee=DOLLAR // 100)
    embedder.serve(1, stake=400)
    texts, index = tmp_path / "texts", tmp_path / "index"
    texts.mkdir()
    for name, said in TEXTS.items():
        (texts / name).write_text(said)
    indexes.build(world.network, Selected(1, 1), texts, index, lambda *_: None)
    cid = indexes.publish(world.network, index)
    sells = replace(world, folder=write_parrot(tmp_path / "parrot", runtime=knowing(cid)))
    sells.publish()
    operators.authorize(world.network, world.owner, 2, world.operator.address)
    with sponsored(sells, tmp_path) as made:
        made.parrot.says = "It is refunded [1]. So is this [9]."
        yield made


def knowing(cid: str) -> dict[str, Any]:
    """What a parrot that answers from an index says of how it runs."""
    return {"format": text.FORMAT, "entry": "model.gguf", "options": {"knowledge": cid}}


@contextmanager
def sponsored(sells: World, path: Path) -> Iterator[Site]:
    """Run a site that asks for its visitors."""
    sells.prepay(500 * DOLLAR)
    made = Site(sells, Parrot(), path)
    sponsor = WalletSponsor(sells.network, sells.requester, budget=Amount(100 * DOLLAR))
    options = PageOptions(events="/api/requests/{id}/events", rpc_url=sells.network.rpc.url)
    with made.running(
        lambda app, _state: app.include_router(router(sells.network, options, sponsor))
    ):
        yield made


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Visit]:
    with visiting(site, browser) as visitor:
        yield visitor


@contextmanager
def visiting(site: Site, browser: Browser) -> Iterator[Visit]:
    """Visit a site, whose pages complain of nothing."""
    visitor = Visit(browser, site.url)
    yield visitor
    assert visitor.complaints == []


def ask(page: Page, words: str) -> None:
    page.fill("#words", words)
    page.press("#words", "Enter")


def test_chat__streamed__shown_before_it_is_done_then_proven(site: Site, visit: Visit) -> None:
    site.parrot.held_after = 2
    site.parrot.gate.clear()
    with visit.page() as page:
        page.goto(TRY)
        assert violations(page) == []
        ask(page, "the tally stick")
        answer = page.locator("#talk .assistant .words")
        expect(answer).to_have_text("the")
        site.parrot.gate.set()
        expect(page.locator("#said")).to_have_class("result good")
        assert answer.inner_text().startswith("the tally stick [")
        expect(page.locator("#spent")).to_have_text("$1.00")
        ask(page, "again")
        expect(page.locator("#talk .assistant .beside a")).to_have_count(2)
        expect(page.locator("#spent")).to_have_text("$2.00")
        assert violations(page) == []
        page.locator("#talk .assistant .beside a").last.click()
        expect(page.locator("#question .words").first).to_have_text("the tally stick")
        expect(page.locator("#answer .words")).to_contain_text("again [")
        page.click("#check")
        expect(page.locator("#said")).to_have_class("result good")
        assert violations(page) == []


@pytest.mark.parametrize("unit", [{"output": "tokens", "maximum": 10}])
def test_chat__paid_by_tokens__costs_those_that_were_written(site: Site, visit: Visit) -> None:
    with visit.page() as page:
        page.goto(TRY)
        ask(page, "the tally stick")
        expect(page.locator("#said")).to_have_class("result good")
        expect(page.locator("#spent")).to_have_text("$0.50")  # four words, and the end


def test_chat__operator_cannot_answer__cost_so_far_is_what_it_was(site: Site, visit: Visit) -> None:
    with visit.page() as page:
        page.goto(TRY)
        ask(page, "first")
        expect(page.locator("#said")).to_have_class("result good")
        ask(page, "x" * 5000)  # above the model's context
        expect(page.locator("#said")).to_have_class("result bad")
        expect(page.locator("#said")).to_contain_text("4096")
        expect(page.locator("#spent")).to_have_text("$1.00")
        expect(page.locator("#words")).to_have_value("x" * 5000)


def test_chat__html_asked_and_answered__is_text(site: Site, visit: Visit) -> None:
    site.parrot.says = EVIL
    with visit.page() as page:
        page.goto(TRY)
        title = page.title()
        ask(page, EVIL)
        expect(page.locator("#said")).to_have_class("result good")
        for place in page.locator("#talk .words").all():
            assert place.inner_text() == EVIL
            assert place.locator("*").count() == 0
        page.locator("#talk .assistant .beside a").click()
        expect(page.locator("#answer .words")).to_have_text(EVIL)
        assert page.locator("#exchange img, #exchange script").count() == 0
        page.goto(TRY)
        assert page.title() == title


def test_chat__stopped__goes_on_with_what_was_shown(site: Site, visit: Visit) -> None:
    site.parrot.held_after = 3
    site.parrot.gate.clear()
    with visit.page() as page:
        page.goto(TRY)
        ask(page, "one two three")
        expect(page.locator("#talk .assistant .words")).to_contain_text("one")
        page.click("#stop")
        expect(page.locator("#talk .beside").last).to_have_text("Stopped. What was asked is paid.")
        site.parrot.gate.set()
        site.parrot.held_after = -1
        ask(page, "four")
        expect(page.locator("#talk .assistant .words").last).to_contain_text("four [")
        expect(page.locator("#spent")).to_have_text("$2.00")


def test_chat__thousand_turns__still_answers_quickly(site: Site, visit: Visit) -> None:
    with visit.page() as page:
        page.goto(TRY)
        ask(page, "first")
        expect(page.locator("#said")).to_have_class("result good")
        page.evaluate(
            """() => {
              const [user, model] = document.querySelectorAll("#talk li");
              for (let i = 0; i < 999; i++)
                user.parentNode.append(user.cloneNode(true), model.cloneNode(true));
            }"""
        )
        took = page.evaluate(
            """async () => {
              const words = document.getElementById("words"), began = performance.now();
              for (let i = 0; i < 20; i++) {
                words.value += "x";
                document.querySelector("#talk .assistant:last-child .words").append("x");
                document.getElementById("talk").scrollTop = 1e9;
                await new Promise(requestAnimationFrame);
              }
              return (performance.now() - began) / 20;
            }"""
        )
        assert took < 250, f"{took:.0f} ms a piece"
        ask(page, "last")
        expect(page.locator("#talk .assistant .words").last).to_contain_text("last [")


def test_chat__in_chinese__says_everything(site: Site, visit: Visit) -> None:
    with visit.page(locale="zh-CN") as page:
        page.goto(TRY)
        expect(page.locator("h1")).to_have_text("与它交谈")
        ask(page, "你好")
        expect(page.locator("#talk .assistant .words")).to_contain_text("你好 [")
        assert violations(page) == []


def test_chat__version_names_an_index__passages_stand_with_the_answer_and_are_paid(
    informed: Site, browser: Browser
) -> None:
    with visiting(informed, browser) as visit, visit.page() as page:
        page.goto("/models/2/try")
        expect(page.locator("#knowledge-about")).to_contain_text("$0.01 more for each question")
        expect(page.locator("#consult")).to_be_checked()
        assert violations(page) == []
        ask(page, "When is the fee refunded?")
        expect(page.locator("#said")).to_have_class("result good")
        expect(page.locator("#spent")).to_have_text("$1.01")
        shown = page.locator("#talk .passages li")
        expect(shown).to_have_count(2)
        assert shown.locator("cite").all_inner_texts() == ["fees.md", "wallets.md"]
        assert shown.first.locator("strong").inner_text() == "cited"
        assert shown.nth(1).locator(".words").inner_text() == TEXTS["wallets.md"]
        assert shown.locator(".words *, cite *").count() == 0
        assert violations(page) == []
        page.uncheck("#consult")
        ask(page, "And when not?")
        expect(page.locator("#spent")).to_have_text("$2.01")
        expect(page.locator("#talk .assistant .beside a")).to_have_count(2)
        assert shown.count() == 2
        page.locator("#talk .assistant .beside a").first.click()
        expect(page.locator("#answer .passages li")).to_have_count(2)
    with visiting(informed, browser) as visit, visit.page(locale="zh-CN") as page:
        page.goto("/models/2/try")
        expect(page.locator("#knowledge-about")).to_contain_text("每个问题另付 $0.01")


def test_chat__index_that_nobody_serves__says_so_and_answers_without(
    world: World, browser: Browser, tmp_path: Path
) -> None:
    lost = knowing(raw_cid(Bytes32(bytes(32))))
    sells = replace(world, folder=write_parrot(tmp_path / "parrot", runtime=lost))
    sells.publish()
    sells.serve(1)
    with sponsored(sells, tmp_path) as site:
        visitor = Visit(browser, site.url)
        with visitor.page() as page:
            page.goto(TRY)
            expect(page.locator("#knowledge-about")).to_contain_text("without passages")
            expect(page.locator("#consult")).to_be_disabled()
            ask(page, "first")
            expect(page.locator("#said")).to_have_class("result good")
            expect(page.locator("#spent")).to_have_text("$1.00")


def proven(site: Site, says: str) -> str:
    """Ask a parrot from passages, one of which is a page's code; return the proof's address."""
    site.parrot.says = says
    found = [
        FoundPassage(0, 0.9, Passage("fees.md", "The fee comes back.")),
        FoundPassage(1, 0.8, Passage("<b>evil</b>.md", EVIL)),
    ]
    network, requester = site.world.network, site.world.requester
    ask = Ask(models.select(network, NAME), None)
    talk = Conversation(ChainPayment(network, requester, ask), ask)
    source = {"prompt": answering.prompt("When?", found), "stop": list(answering.STOP)}
    told = talk.answer(talk.prepare_source(source), lambda _piece: None)
    return f"/requests/0x{told.request_id.hex()}"


@pytest.mark.parametrize(("locale", "cited"), [("en", "cited"), ("zh-CN", "已引用")])
def test_proof__answer_from_passages__shows_each_with_its_source_as_text(
    site: Site, visit: Visit, locale: str, cited: str
) -> None:
    place = proven(site, "It comes back [2], they say [7].")
    with visit.page(locale=locale) as page:
        page.goto(place)
        shown = page.locator("#answer .passages li")
        expect(shown).to_have_count(2)
        assert shown.locator("cite").all_inner_texts() == ["fees.md", "<b>evil</b>.md"]
        assert shown.nth(1).locator(".words").inner_text() == EVIL
        assert shown.locator(".words *, cite *").count() == 0
        assert shown.locator("strong").all_inner_texts() == [cited]
        assert shown.nth(1).get_attribute("class") == "cited"
        assert "owned" not in page.title()
        assert violations(page) == []
