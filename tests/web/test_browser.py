"""The page in Chromium, on a network with an operator and the gateway that serves the page."""

import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import urllib3
from fastapi.routing import APIRoute
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from examples.digits import build, strokes
from examples.digits.build import strip
from examples.recommend.films import Field
from examples.recommend.models import TwoTower, WithReasons
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.model_access import GrantStatus, Policy
from oracle.devnet.network import Devnet, DevnetPlan, running
from oracle.protocol.cid import raw_cid
from oracle.services import access, balances, models, operators, publishing, requests
from oracle.services.data import rounds
from oracle.services.publishing import SaleTerms
from oracle.types import Address, Amount
from oracle.web import pages
from oracle.web.pages import router
from tests.services.data.people import PLAN, SCHEMA, data_set
from tests.web.browser import PATIENCE, Visit, chromium, executable, inject_wallet, violations
from tests.worker.builders import write_digits

pytestmark = pytest.mark.real

DOLLAR = 10**6
FEE = Amount(50_000)
LABELS = [str(digit) for digit in range(10)]
PICTURES = {"kind": "image", "height": 8, "width": 8, "channels": 1, "scale": 1 / 255,
            "mean": [1.0], "std": [-1.0]}  # fmt: skip
OPEN, ON_REQUEST, TABLE = 1, 2, 3  # models
FILMS = ("unknown", "Fargo", "Clerks", "Alien")
expect.set_options(timeout=PATIENCE)


@dataclass(frozen=True)
class Site:
    """A network with its page: model 1 is open and has two versions, model 2 is used on request."""

    devnet: Devnet
    browser: Browser

    @property
    def visitor(self) -> Address:
        """An account that the node signs for."""
        return Address(dev_account(3).address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    executable()  # skips before a network is started for nothing
    folder = tmp_path_factory.mktemp("page")
    plan = DevnetPlan(folder / "home", operators=("alpha",), rest=True)
    with running(plan, environ={"PATH": os.environ["PATH"]}) as devnet, chromium() as browser:
        owner, network = devnet.wallet("owner"), devnet.network
        for name, text in (("digits", "first"), ("digits", "second"), ("private", "")):
            made = write_digits(
                folder / f"{name}{text}", name=name, description=text, labels=LABELS,
                preprocess=PICTURES,
            )  # fmt: skip
            sale = SaleTerms(fee=FEE, challenge_window=5)
            published = publishing.publish(network, owner, made, sale)
            operators.authorize(network, owner, published.model_id, devnet.accounts["alpha"])
        publishing.publish(network, owner, unserved(folder / "rows"), SaleTerms(fee=FEE))
        rounds.open_round(network, owner, OPEN, test=data_set(99), data=SCHEMA, plan=PLAN)
        access.set_policy(network, owner, ON_REQUEST, Policy.ON_REQUEST)
        access.set_admin(network, owner, ON_REQUEST, devnet.accounts["admin"], True)
        balances.fund(network, Address(dev_account(3).address), Amount(20 * DOLLAR))
        yield Site(devnet, browser)


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """A visitor; whatever the browser complains about fails the test."""
    visitor = Visit(site.browser, site.devnet.rest_url)
    yield visitor
    assert visitor.complaints == []


def unserved(folder: Path) -> Path:
    """Write a model that takes rows of numbers; nobody can run it."""
    folder.mkdir()
    (folder / "rows.onnx").write_bytes(b"no weights")
    described = {
        "name": "rows",
        "runtime": {"format": "onnx", "entry": "rows.onnx"},
        "inputs": [{"name": "rows", "dtype": "F32", "shape": [None, 4]}],
        "outputs": [{"name": "score", "dtype": "F32", "shape": [None, 1]}],
        "tolerance": 1_000,
        "features": [
            {"name": "alcohol", "unit": "% vol", "minimum": 8, "maximum": 16},
            {"name": "acidity", "unit": "g/l"},
            {"name": "sugar"},
            {"name": "ash"},
        ],
        "parameters": [
            {"lane": 0, "name": "depth", "minimum": 1, "maximum": 20, "default": 10, "scale": 10}
        ],
    }
    (folder / "model.json").write_text(json.dumps(described))
    return folder


def picture(path: Path, shade: int) -> Path:
    """Write a grey picture with a dark stroke."""
    image = Image.new("L", (32, 32), 255)
    image.paste(shade, (12, 4, 20, 28))
    image.save(path)
    return path


def ask(page: Page, button: str = "#ask-sponsored") -> str:
    """Press a button of the form and wait for the answer; return the link to its proof."""
    page.click(button)
    expect(page.locator("#said")).to_have_class("result good")
    expect(page.locator("#answer svg")).to_be_visible()
    return str(page.locator("#proof-link a").get_attribute("href"))


def recommender(folder: Path) -> Path:
    """Write a model that scores three films for a person, with reasons."""
    folder.mkdir()
    fields = (Field("age", ("unknown", "young", "old")), *([Field("liked", FILMS)] * 3))
    torch.manual_seed(0)
    model = WithReasons(TwoTower((*fields, Field("film", FILMS))), len(fields)).eval()
    batch = {0: torch.export.Dim("n", min=1, max=8)}
    example = (torch.zeros(2, len(fields), dtype=torch.int64),)
    program = torch.export.export(model, example, dynamic_shapes=(batch,)).run_decompositions()
    torch.export.save(program, folder / "raw.pt2")
    strip(folder / "raw.pt2", folder / "model.pt2")
    names = ("age", "liked film 1", "liked film 2", "liked film 3")
    described = {
        "name": "films",
        "runtime": {"format": "torch.export", "entry": "model.pt2"},
        "files": ["model.pt2"],
        "inputs": [{"name": "ids", "dtype": "I64", "shape": [None, 4]}],
        "outputs": [
            {"name": "scores", "dtype": "F32", "shape": [None, 3]},
            {"name": "reasons", "dtype": "F32", "shape": [None, 4, 3]},
        ],
        "tolerance": 100_000,
        "features": [
            {"name": name, "categories": field.values}
            for name, field in zip(names, fields, strict=True)
        ],
        "labels": FILMS[1:],
    }
    (folder / "model.json").write_text(json.dumps(described))
    return folder


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def test_pages__without_javascript__can_be_read(visit: Visit) -> None:
    with visit.page(java_script_enabled=False) as page:
        page.goto("/?q=digits")
        page.get_by_role("link", name="digits", exact=True).click()
        expect(page.locator(".chain > li")).to_have_count(2)
        expect(page.locator("#verify-button")).to_be_hidden()
        page.goto(f"/models/{OPEN}/try")
        expect(page.get_by_text("needs JavaScript")).to_be_visible()


def test_verify__honest_server__fits(visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{OPEN}")
        page.click("#verify-button")
        expect(page.locator("#verify-result")).to_have_class("result good")
        expect(page.locator(".stick.fits")).to_have_count(2)
        assert "whole history fits (versions: 2)" in page.inner_text("#verify-result")


@pytest.mark.parametrize("tampered", ["head", "manifest", "file", "hidden version"])
def test_verify__tampered_answer_of_the_server__is_found_and_named(
    site: Site, visit: Visit, tampered: str
) -> None:
    network = site.devnet.network
    head, digest = network.registry.head_at(OPEN, 1), network.registry.manifest_of(OPEN, 1)
    with visit.page() as page:

        def change(route) -> None:  # type: ignore[no-untyped-def]  # Playwright's own
            answer = route.fetch()
            body = answer.text()
            if tampered == "head":
                body = body.replace(f'data-head="0x{head.hex()}"', f'data-head="0x{"ab" * 32}"')
            else:
                body = body.replace('data-version="2"', 'data-was="2"')
            route.fulfill(response=answer, body=body)

        if tampered in ("head", "hidden version"):
            page.route(f"**/models/{OPEN}", change)
        elif tampered == "manifest":
            page.route(f"**/ipfs/{raw_cid(digest)}", lambda r: r.fulfill(body='{"files":[]}'))
        else:
            page.route("**/files/**", lambda route: route.fulfill(body="other weights"))
        page.goto(f"/models/{OPEN}")
        page.click("#verify-button")
        expect(page.locator("#verify-result")).to_have_class("result bad")
        said = page.inner_text("#verify-result")
        if tampered in ("manifest", "file"):
            expect(page.locator("[data-version='1'] .stick.differs")).to_be_visible()
    wanted = {"head": "another version 1", "manifest": "manifest of version 1",
              "file": "digits.safetensors", "hidden version": "2 versions"}  # fmt: skip
    assert wanted[tampered] in said


# ── Asking ──────────────────────────────────────────────────────────────────────────────────────
def test_try__drawn_digit__is_answered_paid_and_proven(site: Site, visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{OPEN}/try")
        expect(page.locator("#ready")).to_contain_text("has not answered yet")
        box = page.locator("#pad").bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"]
        page.mouse.move(x, y + 40)
        page.mouse.down()
        page.mouse.move(x, y + 220, steps=8)
        page.mouse.up()
        expect(page.locator("#seen canvas")).to_be_visible()
        link = ask(page)
        expect(page.locator("[data-step=working] small")).to_contain_text("computes")
        expect(page.locator("[data-step=working] small")).to_be_hidden()  # it is done with it
        expect(page.locator("#ready")).to_contain_text("last answer 20")
        verdict = page.inner_text(".verdict")
        expect(page.locator("#steps li").last).to_have_class("done")  # settled in the meantime
        page.goto(link)
        page.click("#check")
        expect(page.locator("#said")).to_have_class("result good")
        expect(page.locator("#checks li")).to_have_count(3)
        expect(page.locator(".stick.fits")).to_be_visible()
        expect(page.locator(".event.finalized")).to_be_visible()
    info = requests.show(site.devnet.network, bytes.fromhex(link.removeprefix("/requests/0x")))  # type: ignore[arg-type]
    manifest = models.manifest(site.devnet.network, info.model_id, info.version)
    from oracle.services import inference

    shown, _ = inference.answer(site.devnet.network, info, manifest)
    assert shown.outputs[0].rows[0].top[0].label == verdict


def test_try__forty_drawings__are_read_by_the_example_model(visit: Visit) -> None:
    model, _ = build.train(lambda *_: None)
    drawings, digits = strokes.drawn()
    read = []
    with visit.page(viewport={"width": 1180, "height": 1600}) as page:  # nothing has to scroll
        page.goto(f"/models/{OPEN}/try")
        box = page.locator("#pad").bounding_box()
        assert box
        scale = box["width"] / 280
        for drawing in drawings:
            page.click("#clear")
            for stroke in drawing:
                page.mouse.up()
                places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in stroke]
                page.mouse.move(*places[0])
                page.mouse.down()
                for place in places[1:]:
                    page.mouse.move(*place)
            with page.expect_request("**/page/preview*") as seen:  # of all strokes: none waits
                page.mouse.up()
            answer = seen.value.response()
            assert answer
            read.append(answer.json()["tensors"][0]["values"])
    images = torch.tensor(read).reshape(-1, 1, 8, 8)
    with torch.inference_mode():
        answers = model.eval()(images).argmax(-1).tolist()
    wrong = [(n, digits[n], said) for n, said in enumerate(answers) if said != digits[n]]
    assert len(wrong) <= 2, wrong


def test_try__other_bytes_under_the_answer__proof_says_so(visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{OPEN}/try")
        page.click("#example")
        page.goto(ask(page))
        page.route("**/ipfs/**", lambda route: route.fulfill(body=b"\0" * 64))
        page.click("#check")
        expect(page.locator("#said")).to_have_class("result bad")
        expect(page.locator("#checks li.bad")).to_have_count(2)
        expect(page.locator(".stick.differs")).to_be_visible()


def test_try__occlusion__asks_once_more_and_says_so(site: Site, visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{OPEN}/try")
        page.click("#example")
        ask(page)
        before = len(requests.list_requests(site.devnet.network))
        button = page.locator("#after button")
        assert "$0.05" in button.inner_text()
        button.click()
        expect(page.locator("#after canvas")).to_be_visible()
        assert "occlusion" in page.inner_text("#after")
    assert len(requests.list_requests(site.devnet.network)) == before + 1


def test_try__several_files__are_a_batch_to_download(visit: Visit, tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{shade}.png", shade) for shade in (0, 60, 120)]
    bad = tmp_path / "bad.json"
    bad.write_text("[[1]]")
    with visit.page() as page:
        page.goto(f"/models/{OPEN}/try")
        page.get_by_text("Upload", exact=True).click()
        page.set_input_files("#file", [*map(str, files), str(bad)])
        page.click("#ask-sponsored")
        expect(page.locator("#batch-download a")).to_have_count(2)
        states = page.locator("#batch-table tbody tr td:last-child").all_inner_texts()
        assert [state.split()[0] for state in states] == ["answered"] * 3 + ["failed:"]
        with page.expect_download() as download:
            page.get_by_role("link", name="Download JSON").click()
        results = json.loads(Path(str(download.value.path())).read_text())
    assert [r["file"] for r in results] == ["0.png", "60.png", "120.png", "bad.json"]
    assert all(r["request"].startswith("0x") for r in results[:3])
    visit.complaints.clear()  # the browser logs the refused file's 422


def test_try__pasted_rows__are_seen_as_a_table(visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{TABLE}/try")
        page.get_by_text("Paste a table").click()
        page.fill("#words", "a,b,c,d\n1,2,3,4\n5,6,7,8.5\n")
        expect(page.locator("#seen tbody tr")).to_have_count(2)
        assert page.locator("#seen tbody tr").last.inner_text().split() == [
            "2",
            "5",
            "6",
            "7",
            "8.500",
        ]
        page.fill("#words", "1,2,three,4")
        expect(page.locator("#said")).to_contain_text("'three' is not a number")
        slider = page.locator("#p-depth")
        assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("0.1", "2")
        slider.fill("1.5")
        expect(page.locator("output[for=p-depth]")).to_have_text("1.5")
    visit.complaints.clear()  # the browser logs the 422 that was meant


def test_try__worker_cannot_answer__says_why_and_when_the_fee_comes_back(
    site: Site, visit: Visit
) -> None:
    network, owner = site.devnet.network, site.devnet.wallet("owner")
    operators.authorize(network, owner, TABLE, site.devnet.accounts["alpha"])
    try:
        with visit.page() as page:
            page.goto(f"/models/{TABLE}/try")
            page.get_by_text("Paste a table").click()
            page.fill("#words", "13,1,2,3")
            page.click("#ask-sponsored")
            expect(page.locator("#said")).to_have_class("result bad")
            said = page.inner_text("#said")
            assert "The operator cannot answer: " in said
            assert "the fee comes back after" in said
    finally:
        operators.authorize(network, owner, TABLE, site.devnet.accounts["alpha"], False)


def test_try__table_with_features__is_a_form_of_fields(visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{TABLE}/try")
        alcohol = page.get_by_label("alcohol")
        assert (alcohol.get_attribute("min"), alcohol.get_attribute("max")) == ("8", "16")
        assert "% vol" in page.inner_text(".features")
        assert "8 to 16" in page.inner_text(".features")
        alcohol.fill("13.5")
        page.get_by_label("ash").fill("2.25")
        expect(page.locator("#seen tbody tr")).to_have_text("113.50002.250")


def test_try__recommender__shows_films_with_reasons(
    site: Site, visit: Visit, tmp_path: Path
) -> None:
    network, owner = site.devnet.network, site.devnet.wallet("owner")
    sale = SaleTerms(fee=FEE, challenge_window=5)
    published = publishing.publish(network, owner, recommender(tmp_path / "films"), sale)
    operators.authorize(network, owner, published.model_id, site.devnet.accounts["alpha"])
    with visit.page() as page:
        page.goto(f"/models/{published.model_id}/try")
        page.get_by_label("age", exact=True).select_option("young")
        page.get_by_label("liked film 1").select_option("Clerks")
        page.click("#ask-sponsored")
        expect(page.locator("#said")).to_have_class("result good")
        rows = page.locator("#answer .recommended tbody tr")
        expect(rows).to_have_count(len(FILMS) - 1)
        told = [row.locator("td").all_inner_texts() for row in rows.all()]
    assert sorted(film for film, _, _ in told) == sorted(FILMS[1:])
    scores = [float(score) for _, score, _ in told]
    assert scores == sorted(scores, reverse=True)
    assert all("liked film 1 " in why and "film 2" not in why for _, _, why in told)


def test_publish__from_the_page_alone__is_asked_and_paid_in_fifteen_clicks(
    site: Site, visit: Visit, tmp_path: Path
) -> None:
    network, alpha = site.devnet.network, site.devnet.accounts["alpha"]
    folder = write_digits(tmp_path / "mine", name="from-the-page", labels=LABELS,
                          preprocess=PICTURES, description="")  # fmt: skip
    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, site.visitor)
        page.add_init_script(_COUNT)
        page.goto("/")
        page.get_by_role("link", name="Publish a model").click()
        with page.expect_file_chooser() as chooser:
            page.click("#files")
        chooser.value.set_files([str(one) for one in folder.iterdir()])
        page.fill("#window", "5s")  # nobody waits a minute here
        page.get_by_role("button", name="Check, price and sign").click()
        expect(page.locator("form[data-act=publish] > .result")).to_have_class("result good")
        assert "logits F32" in page.inner_text(".checked")
        page.get_by_role("link", name="Models").first.click()
        page.get_by_role("link", name="from-the-page", exact=True).click()
        page.get_by_text("Authorise an operator").click()
        page.fill("#operator", alpha)
        page.get_by_role("button", name="Authorise", exact=True).click()
        expect(page.locator("form[data-act=authorize] .result")).to_have_class("result good")
        page.reload()
        expect(page.locator(".ready.yes")).to_be_visible()
        page.get_by_role("link", name="Try it for").click()
        page.click("#example")
        ask(page)
        expect(page.locator("#steps li").last).to_have_class("done")  # settled
        before = network.market.balance_of(site.visitor)
        page.get_by_role("link", name="Account").click()
        page.click("#account-connect")
        page.locator("#earnings").get_by_role("button", name="Pay out").click()
        expect(page.locator("#said")).to_have_class("result good")
        assert network.market.balance_of(site.visitor) > before
        assert int(page.evaluate("sessionStorage.clicks")) <= 15


def test_publish__name_of_anothers_model__is_told_before_signing(
    site: Site, visit: Visit, tmp_path: Path
) -> None:
    folder = write_digits(tmp_path / "mine", name="private", description="of another owner")
    with visit.page() as page:
        inject_wallet(page, site.devnet.network.settings.rpc_url, site.visitor)
        page.goto("/publish")
        page.set_input_files("#files", [str(one) for one in folder.iterdir()])
        page.get_by_role("button", name="Check, price and sign").click()
        expect(page.locator(".checked")).to_contain_text("another model's")
        expect(page.locator(".checked")).to_contain_text(f"{ON_REQUEST}, ")
        expect(page.locator("form[data-act=publish] > .result")).to_have_class("result good")


_COUNT = """addEventListener("click", (event) => {
    if (event.isTrusted) sessionStorage.clicks = 1 + Number(sessionStorage.clicks ?? 0);
}, true)"""


def test_operator__from_the_page_alone__is_registered_and_staked(site: Site, visit: Visit) -> None:
    network, account = site.devnet.network, Address(dev_account(5).address)
    balances.fund(network, account, Amount(20 * DOLLAR))
    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, account)
        page.goto("/operators")
        page.fill("#endpoint", "https://box.example")
        page.get_by_role("button", name="Register").click()
        expect(page.locator("form[data-act=register] .result")).to_have_class("result good")
        page.fill("#stake", "12")
        page.get_by_role("button", name="Stake", exact=True).click()
        expect(page.locator("form[data-act=stake] .result")).to_have_class("result good")
        page.reload()
        expect(page.get_by_text("$12.00")).to_be_visible()
    assert network.operators.stake_of(account).staked == 12 * DOLLAR


def test_key__paid_in_a_browser_that_keeps_nothing__asks(site: Site, visit: Visit) -> None:
    network, account = site.devnet.network, Address(dev_account(6).address)
    balances.fund(network, account, Amount(20 * DOLLAR))
    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, account)
        page.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw Error('blocked') } })"
        )
        page.goto("/account")
        page.click("#account-connect")
        page.get_by_role("button", name="Create a key").click()
        expect(page.locator("form[data-key] .result").first).to_have_class("result good")
        secret = page.inner_text("form[data-key] .result code")
    assert secret.startswith("tsk_")
    assert asking_with(site, secret) == 200


def test_key__reply_lost__another_works_in_its_place(site: Site, visit: Visit) -> None:
    network, account = site.devnet.network, Address(dev_account(7).address)
    balances.fund(network, account, Amount(20 * DOLLAR))
    lost: list[str] = []

    def lose(route: Route) -> None:
        lost.append(route.fetch().json().get("key", ""))
        route.abort() if lost[-1] else route.continue_()

    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, account)
        page.goto("/account")
        page.click("#account-connect")
        page.route("**/page/keys?**", lose)
        page.get_by_role("button", name="Create a key").click()
        expect(page.locator("form[data-key] .result").first).to_have_class("result bad")
        page.unroute("**/page/keys?**")
        page.goto("/account")
        page.click("#account-connect")
        page.get_by_role("button", name="Get its key").click()  # the deposit is remembered
        expect(page.locator("form[data-key] .result").last).to_have_class("result good")
        secret = page.locator("form[data-key] .result code").inner_text()
        page.goto("/account")
        assert page.input_value("#paid") == "", "it is forgotten once the key was shown"
    assert asking_with(site, lost[-1]) == 401
    assert asking_with(site, secret) == 200
    visit.complaints.clear()  # the browser logs the reply that was lost


def asking_with(site: Site, secret: str) -> int:
    """Ask with an API key; return the status."""
    given = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}
    return urllib3.request(
        "POST", f"{site.devnet.rest_url}/v2/models/{OPEN}/infer", json={"inputs": [given]},
        headers={"Authorization": f"Bearer {secret}"}, retries=False, timeout=PATIENCE / 1000,
    ).status  # fmt: skip


def test_answer__of_several_outputs__names_each(visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{OPEN}/try")
        page.evaluate(
            """async () => {
                const { showAnswer } = await import("/static/show.js");
                const output = (name) => ({ name, shape: [1, 2], values: [1, 2] });
                const answer = { outputs: ["scores", "boxes"].map(output), labels: null };
                showAnswer(document.getElementById("answer"), answer, {}, { texts: [] });
            }"""
        )
        expect(page.locator("#answer h3")).to_have_text(["scores", "boxes"])


# ── Wallets ─────────────────────────────────────────────────────────────────────────────────────
def test_wallet__deposit_then_ask__is_paid_by_it(site: Site, visit: Visit) -> None:
    network = site.devnet.network
    before = network.market.balance_of(site.visitor)
    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, site.visitor)
        page.goto(f"/models/{OPEN}/try")
        page.click("#example")
        page.click("#ask-wallet")
        more = page.locator("#said").get_by_role("link", name="Deposit more")
        expect(more).to_be_visible()
        with page.expect_response("**/page/preview*"):
            page.click("#example")  # a sample that can be shown takes back no refusal
        expect(page.locator("#seen")).to_be_visible()
        more.click()
        assert any("403" in said for said in visit.complaints)  # of the refusal
        visit.complaints.clear()
        page.click("#account-connect")
        expect(page.locator("#who")).to_contain_text(site.visitor[2:8])
        page.fill("#amount", "2.5")
        page.get_by_role("button", name="Deposit").click()
        expect(page.locator("#said")).to_have_class("result good")
        assert network.market.balance_of(site.visitor) == before + 2_500_000
        page.goto(f"/models/{OPEN}/try")
        page.click("#example")
        link = ask(page, "#ask-wallet")
        page.goto("/account")
        page.click("#account-connect")
        expect(page.locator(f"#requests a[href='{link}']")).to_be_visible()
    (info,) = requests.list_requests(network, requester=site.visitor)
    assert link.endswith(info.request_id.hex())


def test_wallet__application_and_grant__reach_the_chain(site: Site, visit: Visit) -> None:
    network, admin = site.devnet.network, site.devnet.accounts["admin"]
    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, site.visitor)
        page.goto(f"/models/{ON_REQUEST}")
        page.click("#connect")
        page.fill("#note", "post codes")
        page.get_by_role("button", name="Apply for access").click()
        expect(page.locator("#apply [role=status]")).to_have_class("result good")
    assert network.access.grant_of(ON_REQUEST, site.visitor).status is GrantStatus.APPLIED
    network.rpc.call("anvil_impersonateAccount", admin)
    with visit.page() as page:
        inject_wallet(page, network.settings.rpc_url, admin)
        page.goto("/account")
        page.click("#account-connect")
        expect(page.locator("#decide li")).to_contain_text("post codes")
        page.get_by_role("button", name="Grant").click()
        expect(page.locator("#said")).to_have_class("result good")
        expect(page.locator("#decide-card")).to_be_hidden()
    assert network.access.grant_of(ON_REQUEST, site.visitor).status is GrantStatus.GRANTED


def test_wallet__several_found__visitor_chooses(site: Site, visit: Visit) -> None:
    rpc = site.devnet.network.settings.rpc_url
    with visit.page() as page:
        inject_wallet(page, rpc, Address(dev_account(4).address), "First")
        inject_wallet(page, rpc, site.visitor, "Second")
        page.goto("/account")
        page.click("#connect")
        page.get_by_role("button", name="Second").click()
        expect(page.locator("#who")).to_contain_text(site.visitor[2:8])


def test_wallet__none_installed__is_explained(visit: Visit) -> None:
    with visit.page() as page:
        page.goto("/account")
        page.click("#account-connect")
        expect(page.locator("#said")).to_contain_text("No wallet was found")


# ── For everybody ───────────────────────────────────────────────────────────────────────────────
def every_page(site: Site, proof: str) -> list[str]:
    return [
        *("/", "/operators", "/data", "/data/1", "/receipts", "/account", "/publish", "/models/99"),
        proof,
        *(f"/models/{OPEN}", f"/models/{ON_REQUEST}", f"/models/{OPEN}/try"),
        *(f"/models/{TABLE}/try", f"/operators/{site.devnet.accounts['alpha']}"),
        f"/account?address={site.devnet.accounts['owner']}",
    ]


def test_pages__of_every_route__are_those_that_are_looked_at(site: Site) -> None:
    """A page that somebody adds is looked at, too."""
    seen = [path.partition("?")[0] for path in every_page(site, "/requests/0x")]
    missing = [
        route.path
        for route in router(site.devnet.network).routes
        if isinstance(route, APIRoute) and route.endpoint.__module__ == pages.__name__
        if not any(route.path_regex.fullmatch(path) for path in [*seen, "/preferences"])
    ]
    assert missing == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages__both_themes_and_widths__nothing_serious_and_nothing_to_scroll_sideways(
    site: Site, visit: Visit, language: str
) -> None:
    found: dict[str, object] = {}
    with visit.page(locale=language) as page:
        page.goto(f"/models/{OPEN}/try")
        page.click("#example")
        for path in every_page(site, ask(page)):
            page.goto(path, wait_until="networkidle")  # what modules fetch is there
            for scheme, width in itertools.product(("light", "dark"), (390, 1180)):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 800})
                if violated := violations(page):
                    found[f"{path} {scheme} {width}"] = violated
            page.set_viewport_size({"width": 375, "height": 700})
            if (width := page.evaluate("document.scrollingElement.scrollWidth")) > 375:
                found[f"{path} is wide"] = width
    visit.complaints.clear()  # the browser logs the 404 that was meant
    assert found == {}


def test_pages__printed_from_the_dark__are_dark_on_white(visit: Visit) -> None:
    with visit.page(color_scheme="dark") as page:
        page.goto(f"/models/{OPEN}")
        colour = "getComputedStyle(document.body)"
        assert page.evaluate(f"{colour}.backgroundColor") != "rgb(255, 255, 255)"
        page.emulate_media(media="print")
        assert page.evaluate(f"{colour}.backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate(f"{colour}.color") == "rgb(0, 0, 0)"
        expect(page.locator(".stick").first).to_be_visible()
        expect(page.locator("#verify-button")).to_be_hidden()


def test_pages__keyboard_alone__reaches_the_answer(visit: Visit) -> None:
    with visit.page() as page:
        page.goto(f"/models/{OPEN}/try")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.locator("#example").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#seen canvas")).to_be_visible()
        page.locator("#ask-sponsored").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".verdict")).to_be_visible()
