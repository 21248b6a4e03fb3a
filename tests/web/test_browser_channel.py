"""A channel of the page in Chromium: the wallet signs once, then a key of the page pays."""

import datetime
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Page, Route, expect

from oracle.chain.anvil import dev_account
from oracle.devnet.network import DevnetPlan, running
from oracle.errors import TallystickError
from oracle.services import balances, operators, publishing
from oracle.services.channels import deposits
from oracle.services.channels.endpoint_client import offer_at
from oracle.services.publishing import SaleTerms
from oracle.types import Address, Amount
from tests.support.waiting import wait_until
from tests.web.browser import PATIENCE, Visit, chromium, executable, inject_wallet, violations
from tests.web.test_browser import DOLLAR, FEE, LABELS, OPEN, PICTURES, Site
from tests.worker.builders import write_digits

pytestmark = pytest.mark.real
expect.set_options(timeout=PATIENCE)
TRY = f"/models/{OPEN}/try"
INFER = "**/infer"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A network whose operator sells answers of model 1 over channels."""
    executable()
    folder = tmp_path_factory.mktemp("page")
    plan = DevnetPlan(folder / "home", operators=("alpha",), selling=("alpha",), rest=True)
    with running(plan, environ={"PATH": os.environ["PATH"]}) as devnet, chromium() as browser:
        owner, network = devnet.wallet("owner"), devnet.network
        made = write_digits(folder / "digits", name="digits", labels=LABELS, preprocess=PICTURES)
        model_id = publishing.publish(network, owner, made, SaleTerms(fee=FEE)).model_id
        operators.authorize(network, owner, model_id, devnet.accounts["alpha"])
        visitor = Address(dev_account(3).address)
        balances.fund(network, visitor, Amount(20 * DOLLAR))
        network.rpc.call("anvil_impersonateAccount", visitor)
        wait_until(lambda: sells(devnet.channel_endpoint("alpha")), "an endpoint that sells")
        yield Site(devnet, browser)


def sells(url: str) -> bool:
    """Whether an endpoint sells model 1: its offer is covered, and the model loaded."""
    with suppress(TallystickError):
        return bool(offer_at(url, OPEN, 1))
    return False


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """A visitor; whatever the browser complains about fails the test."""
    visitor = Visit(site.browser, site.devnet.rest_url)
    yield visitor
    assert visitor.complaints == []


@pytest.fixture
def prepaid(site: Site) -> None:
    """Money of the visitor in the market."""
    network, visitor = site.devnet.network, site.visitor
    payer = site.devnet.wallet("requester")
    balances.fund(network, payer.address, Amount(5 * DOLLAR))
    payer.send(network.token.approve(network.market.address, Amount(5 * DOLLAR)))
    payer.send(network.market.deposit(visitor, Amount(5 * DOLLAR)))


def prompts(page: Page, site: Site) -> list[str]:
    """What the visitor's wallet is asked to sign from now on."""
    asked: list[str] = []

    def note(body: str) -> None:
        asked.extend(m for m in ("eth_sendTransaction", "personal_sign") if m in body)

    page.on("request", lambda request: note(request.post_data or "") if request.method == "POST"
            and request.url.startswith(site.devnet.network.settings.rpc_url) else None)  # fmt: skip
    return asked


def opened(page: Page, limit: str) -> None:
    """Open a channel from the form."""
    page.goto(TRY)
    page.click("#example")
    page.fill("#channel-limit", limit)
    page.click("#channel-open button")
    expect(page.locator("#channel-said")).to_have_class("result good")


def ask(page: Page, receipts: int) -> None:
    """Ask over the channel; so many receipts are shown then."""
    page.click("#ask-channel")
    expect(page.locator("#channel-receipts li")).to_have_count(receipts)
    expect(page.locator("#said")).to_have_class("result good")


def later(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


@pytest.mark.usefixtures("prepaid")
def test_channel__allowed_once__asks_without_the_wallet_until_it_expires_and_pays_back(
    site: Site, visit: Visit
) -> None:
    network, visitor = site.devnet.network, site.visitor
    before = network.market.balance_of(visitor)
    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, visitor)
        asked = prompts(page, site)
        opened(page, "0.25")
        assert asked == ["eth_sendTransaction"]
        (channel,) = deposits.list_channels(network, visitor, every=False)
        assert (channel.deposit, channel.signer != visitor) == (5 * FEE, True)
        assert channel.closes_at > network.history.now()
        for number in (1, 2, 3):
            ask(page, number)
        expect(page.locator("#channel-left")).to_have_text("$0.10")
        expect(page.locator(".verdict")).to_be_visible()
        assert violations(page) == []

        page.goto("/receipts")
        page.get_by_role("button", name="Check the last 3").click()
        expect(page.locator("#said")).to_have_class("result good")
        expect(page.locator("#found .card dl")).to_have_count(3)
        expect(page.locator("#found [data-result=wrong]")).to_have_count(0)
        assert violations(page) == []

        page.goto(TRY)  # another visit: the channel is still there, and no wallet is connected
        page.click("#example")
        ask(page, 4)
        expect(page.locator("#channel-left")).to_have_text("$0.05")
        assert asked == ["eth_sendTransaction"]

        page.clock.set_fixed_time(later(days=2))
        page.reload()
        expect(page.locator("#channel-said")).to_contain_text("The key has expired")
        expect(page.locator("#ask-channel")).to_be_disabled()
        page.click("#channel-close")
        expect(page.locator("#channel-said")).to_contain_text("$0.05 came back")
        expect(page.locator("#channel-open")).to_be_visible()
        assert asked == ["eth_sendTransaction"] * 2
    assert network.market.balance_of(visitor) == before - 4 * FEE


@pytest.mark.usefixtures("prepaid")
def test_channel__reply_is_lost__same_answer_comes_again_and_is_paid_once(
    site: Site, visit: Visit
) -> None:
    lost = []

    def lose(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch().status)  # the operator has answered
            route.abort()
        else:
            route.continue_()

    with visit.page() as page:
        inject_wallet(page, site.devnet.network.settings.rpc_url, site.visitor)
        opened(page, "0.25")
        page.route(INFER, lose)
        ask(page, 1)
        ask(page, 2)
        expect(page.locator("#channel-left")).to_have_text("$0.15")
        page.click("#channel-close")
        expect(page.locator("#channel-said")).to_contain_text("$0.15 came back")
    assert lost == [200]
    visit.complaints.clear()  # the browser logs the reply that was lost


@pytest.mark.usefixtures("prepaid")
def test_channel__other_answer_than_was_signed__nothing_more_is_asked_in_chinese_too(
    site: Site, visit: Visit
) -> None:
    with visit.page(locale="zh") as page:
        inject_wallet(page, site.devnet.network.settings.rpc_url, site.visitor)
        opened(page, "0.25")
        assert "不再弹窗" in page.inner_text("#channel-said")
        assert violations(page) == []

        def change(route: Route) -> None:
            if route.request.method != "POST":
                route.continue_()
                return
            answer = route.fetch()
            body = bytearray(answer.body())
            body[-1] ^= 1
            route.fulfill(response=answer, body=bytes(body))

        page.route(INFER, change)
        page.click("#ask-channel")
        expect(page.locator("#said")).to_contain_text("收据对应的是另一个答案")
        expect(page.locator("#channel-receipts li")).to_have_count(0)
        page.unroute(INFER)
        page.reload()
        expect(page.locator("#ask-channel")).to_be_disabled()
        page.click("#channel-close")
        expect(page.locator("#channel-said")).to_contain_text("$0.20 已退回您的预付余额")


def test_channel__limit_above_the_balance__says_so_and_signs_nothing(
    site: Site, visit: Visit
) -> None:
    with visit.page() as page:
        inject_wallet(page, site.devnet.network.settings.rpc_url, site.visitor)
        asked = prompts(page, site)
        page.goto(TRY)
        page.fill("#channel-limit", "1000")
        page.click("#channel-open button")
        expect(page.locator("#channel-said")).to_contain_text("smaller than this limit")
        expect(page.locator("#channel-said").get_by_role("link")).to_be_visible()
        page.fill("#channel-limit", "0.01")
        page.click("#channel-open button")
        expect(page.locator("#channel-said")).to_contain_text("does not pay for one answer")
        assert asked == []
