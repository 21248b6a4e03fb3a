"""Pages over a real chain: what they show, escape, refuse, and send along."""

import json
import re

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from oracle.chain.bindings.model_access import Policy
from oracle.chain.rpc import Rpc
from oracle.protocol import tensor
from oracle.protocol.cid import raw_cid
from oracle.services import access, operators, publishing, requests
from oracle.services.network import Network
from oracle.services.publishing import SaleTerms
from oracle.types import Amount
from oracle.web import bytes_served
from oracle.web.locale import LANGUAGES
from oracle.web.pages import router
from oracle.web.rendering import PageOptions
from tests.services.conftest import DESCRIPTION, DOLLAR, World
from tests.web.conftest import Browse

pytestmark = [pytest.mark.real]

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
IMAGE = [[[[0.0, 1.0], [0.5, 0.25]]]]
FIRST_PAGE = 100_000  # bytes


def described(world: World, **fields: object) -> None:
    (world.folder / "model.json").write_text(json.dumps({**DESCRIPTION, **fields}))


def asked(world: World, browse: Browse) -> str:
    """Ask the served model once, sponsored; return the request's id."""
    found = browse(questions=3).post(
        "/page/ask?model=1&version=1&name=x.json", content=json.dumps(IMAGE)
    )
    assert found.status_code == 200, found.text
    return str(found.json()["request"])


@pytest.fixture
def served(world: World) -> World:
    """A model with an operator behind it and money to ask it with."""
    described(world, preprocess={"kind": "image", "height": 2, "width": 2, "channels": 1,
                                 "scale": 1.0, "mean": [], "std": []})  # fmt: skip
    world.publish()
    world.serve(1)
    world.prepay(20 * DOLLAR)
    return world


def test_models__nothing_published__says_so(browse: Browse) -> None:
    page = browse().get("/")
    assert page.status_code == 200
    assert "No model has been published here yet" in page.text
    assert "tallystick model publish" in page.text, "what to do first"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_pages__hostile_names_and_texts__are_escaped(
    world: World, browse: Browse, language: str
) -> None:
    described(
        world,
        name=HOSTILE[:60],
        description=HOSTILE,
        license=HOSTILE,
        labels=[HOSTILE, "b", "c"],
        inputs=[{**DESCRIPTION["inputs"][0], "description": HOSTILE}],  # type: ignore[index]
        parameters=[{**DESCRIPTION["parameters"][0], "description": HOSTILE}],  # type: ignore[index]
    )
    world.publish()
    world.serve(1)
    access.set_policy(world.network, world.owner, 1, Policy.ON_REQUEST)
    access.apply(world.network, world.stranger, 1, HOSTILE)
    for path in (
        "/",
        f"/?q={HOSTILE}",
        "/models/1",
        "/models/1/try",
        "/operators",
        f"/x?{HOSTILE}",
    ):
        page = browse().get(path, headers={"accept-language": language})
        assert "<script>alert" not in page.text, path
        assert "<img src=x" not in page.text, path


def test_pages__every_one__has_a_strict_policy_and_nothing_inline(
    served: World, browse: Browse
) -> None:
    request = asked(served, browse)
    browser = browse(rpc_url="http://127.0.0.1:1")
    for path in (
        "/",
        "/models/1",
        "/models/1/try",
        "/operators",
        "/account",
        "/receipts",
        f"/requests/{request}",
    ):
        page = browser.get(path)
        assert page.status_code == 200, path
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "connect-src 'self' http://127.0.0.1:1;" in policy
        assert not re.search(r"<[^>]+\s(style|on\w+)=", page.text), path
        scripts = re.findall(r"<script\b([^>]*)>", page.text)
        assert all('src="/static/' in s or 'type="application/json"' in s for s in scripts)
        assert "<style" not in page.text
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page.text), "nothing from elsewhere"


def test_pages__name_that_turns_the_direction_of_writing__is_shown_without(
    world: World, browse: Browse
) -> None:
    described(world, name="harmless\u202egnp.exe", description="a\u2066b\x1bc")
    world.publish()
    for path in ("/", "/models/1"):
        page = browse().get(path).text
        assert "harmless\ufffdgnp.exe" in page
        assert not set("\u202e\u2066\x1b") & set(page)


def test_model__shown__has_its_digests_and_terms(served: World, browse: Browse) -> None:
    page = browse().get("/models/1")
    head = served.network.registry.head_of(1)
    assert f'data-head="0x{head.hex()}"' in page.text
    assert "$1.00" in page.text
    assert served.operator.address in page.text
    assert "operator 70%, data 0%, owner 27.5%, protocol 2.5%" in page.text


def test_model__name_taken_by_an_earlier_one__says_whose_and_programs_ask_by_number(
    served: World, browse: Browse
) -> None:
    publishing.publish(served.network, served.stranger, served.folder, SaleTerms())
    browser = browse()
    listing = browser.get("/").text
    assert served.owner.address in listing
    assert served.stranger.address in listing
    page = browser.get("/models/2").text
    assert "Model 1 had this name first" in page
    assert "network.ask(2, " in page
    assert "had this name first" not in browser.get("/models/1").text


def test_model__in_chinese__speaks_chinese(served: World, browse: Browse) -> None:
    page = browse().get("/models/1", headers={"accept-language": "zh-CN"})
    assert '<html lang="zh"' in page.text
    assert "版本历史" in page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/99", 404), ("/models/x", 404), ("/models/1e9", 404), ("/models/%00", 404),
        ("/models/" + "9" * 50, 404), ("/models/1?version=7", 404), ("/requests/0x12", 422),
        ("/requests/0x" + "ab" * 32, 404), ("/operators/0x12", 422), ("/static/../pages.py", 404),
        ("/operators/0x" + "00" * 20, 404), ("/ipfs/x", 422), ("/static/none.js", 404),
        ("/page/requests/0x1", 422), ("/page/accounts/me", 422), ("/?page=0", 422),
        ("/models/1/versions/1/files/../../x", 404), ("/models/1/versions/1/files/none.onnx", 404),
        ("/models/1/versions/9/files/model.onnx", 404), ("/models/1?version=0", 422),
        ("/models/9" + "9" * 60 + "/versions/1/files/x", 422),
        ("/page/requests/0x" + "00" * 32 + "?since=" + "9" * 40, 422),
    ],
)  # fmt: skip
def test_pages__what_is_not_there__is_a_4xx(
    served: World, browse: Browse, path: str, status: int
) -> None:
    assert browse().get(path).status_code == status


def test_models__search__finds_by_description(world: World, browse: Browse) -> None:
    described(world, description="reads handwriting")
    world.publish()
    browser = browse()
    assert "/models/1" in browser.get("/?q=HANDwriting").text
    assert "/models/1" not in browser.get("/?q=nothing").text
    assert "/models/1" in browser.get("/?q=digits&page=99").text


def test_models__bytes_lost__page_still_shows(world: World, browse: Browse) -> None:
    published = world.publish()
    world.ipfs.forget(published.manifest_cid)
    browser = browse()
    assert browser.get("/").status_code == 200
    assert browser.get("/models/1").status_code == 200
    assert browser.get("/models/1/try").status_code == 404


@pytest.mark.parametrize(
    "back", ["//evil.example/", "https://evil.example/", "/\\evil.example", ""]
)
def test_preferences__foreign_place__goes_home_instead(browse: Browse, back: str) -> None:
    found = browse().get("/preferences", params={"back": back}, follow_redirects=False)
    assert found.status_code == 303
    assert found.headers["location"] == "/"


def test_pages__chain_unreachable__say_so(world: World) -> None:
    node = Rpc("http://127.0.0.1:9", attempts=1)
    app = FastAPI()
    app.include_router(router(Network.over(world.network.settings, node, world.ipfs)))
    browser = TestClient(app)
    for path in ("/", "/models/1", "/operators", "/data", "/requests/0x" + "ab" * 32):
        page = browser.get(path)
        assert page.status_code == 503, path
        assert "That did not work" in page.text
    assert browser.get("/account").status_code == 200  # it needs no chain before a wallet comes
    assert browser.get("/page/accounts/" + world.owner.address).status_code == 503


def test_preferences__chosen__are_kept_and_shown(browse: Browse) -> None:
    browser = browse()
    browser.get("/preferences?theme=dark&language=zh&back=/account")
    page = browser.get("/account").text
    assert '<html lang="zh" data-theme="dark">' in page
    browser.get("/preferences?theme=evil&language=xx")
    assert '<html lang="zh" data-theme="dark">' in browser.get("/account").text


def test_static__known_file__is_revalidated(browse: Browse) -> None:
    browser = browse()
    first = browser.get("/static/style.css")
    assert first.headers["content-type"].startswith("text/css")
    again = browser.get("/static/style.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304


def test_first_page__everything_together__is_small(served: World, browse: Browse) -> None:
    browser, seen, total = browse(), set(), 0
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        body = browser.get(path).text
        total += len(body.encode())
        found = re.findall(r'(?:src|href)="(/static/[^"]+)"', body)
        found += ["/static/" + name for name in re.findall(r'from "\./([\w.]+)"', body)]
        waiting += [p for p in dict.fromkeys(found) if p not in seen and p not in waiting]
    assert {"/static/style.css", "/static/page.js", "/static/wallet.js"} <= seen
    assert total <= FIRST_PAGE, f"{total} bytes"


def test_ipfs__a_block__is_sealed_bytes(world: World, browse: Browse) -> None:
    cid = world.ipfs.publish_bytes(b"<script>alert(1)</script>").cid
    found = browse().get(f"/ipfs/{cid}")
    assert found.content == b"<script>alert(1)</script>"
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["content-disposition"] == "attachment"
    assert "sandbox" in found.headers["content-security-policy"]


def test_ipfs__lost_or_tampered__is_an_error(world: World, browse: Browse) -> None:
    cid = world.ipfs.publish_bytes(b"good").cid
    world.ipfs.tamper(cid, b"evil")
    assert browse().get(f"/ipfs/{cid}").status_code == 502
    world.ipfs.forget(cid)
    assert browse().get(f"/ipfs/{cid}").status_code == 404


def test_file__listed__is_served(world: World, browse: Browse) -> None:
    world.publish()
    found = browse().get("/models/1/versions/1/files/model.onnx")
    assert found.content == b"weights of the first version"


def test_preview__a_sample__is_seen_and_costs_nothing(served: World, browse: Browse) -> None:
    found = browse().post("/page/preview?model=1&version=1&name=x.json", content=json.dumps(IMAGE))
    (seen,) = found.json()["tensors"]
    assert seen["shape"] == [1, 1, 2, 2]
    assert seen["values"] == [0.0, 1.0, 0.5, 0.25]
    data = tensor.encode({"image": np.array(IMAGE, np.float32)})
    assert found.json()["digest"] == "0x" + tensor.digest(data).hex()
    assert served.network.market.balance_of(served.requester.address) == 20 * DOLLAR


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("x.svg", b"<svg onload=alert(1)>", 422), ("x.png", b"not a picture", 422),
        ("x.npz", b"PK\x03\x04 broken", 422), ("x.json", b"{", 422), ("x.json", b"[NaN]", 422),
        ("x.json", b"[[1]]", 422), ("x.csv", b"a,b", 422), ("x.npy", b"\x93NUMPY", 422),
        ("x.json", b"[" * 100_000, 422), ("x.txt", b"hi", 422),
        ("x.safetensors", b"\xff" * 64, 422),
        ("x.json", b"", 422), ("", b"[]", 422), ("x.json", b" " * (8 * 2**20 + 1), 422),
    ],
    ids=range(14),
)  # fmt: skip
def test_preview__what_is_no_sample__is_refused_with_a_sentence(
    served: World, browse: Browse, name: str, body: bytes, status: int
) -> None:
    found = browse().post(
        "/page/preview", params={"model": 1, "version": 1, "name": name}, content=body
    )
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    assert found.json()["detail"]


def test_ask__sponsored__is_answered_and_proven(served: World, browse: Browse) -> None:
    request_id = asked(served, browse)
    info = requests.list_requests(served.network)[0]
    assert "0x" + info.request_id.hex() == request_id
    browser = browse()
    state = browser.get(f"/page/requests/{request_id}").json()
    assert (state["state"], state["output"], state["open"]) == ("REQUESTED", None, True)
    assert browser.get(f"/page/requests/{request_id}/answer").status_code == 409
    served.deliver(info, [1.0, 5.0, 2.0])
    state = browser.get(f"/page/requests/{request_id}?since={state['block']}").json()
    assert state["state"] == "DELIVERED"
    answer = browser.get(f"/page/requests/{request_id}/answer").json()
    assert answer["outputs"][0]["values"] == [1.0, 5.0, 2.0]
    assert answer["labels"] == ["zero", "one", "two"]
    page = browser.get(f"/requests/{request_id}").text
    assert "Delivered" in page
    assert answer["root"] in page
    assert re.search(r"[\d,]{5,} gas", page)


def test_ask__more_than_allowed__is_refused(served: World, browse: Browse) -> None:
    browser = browse(questions=1)
    send = lambda: browser.post(  # noqa: E731
        "/page/ask?model=1&version=1&name=x.json", content=json.dumps(IMAGE)
    )
    assert send().json()["left"] == 0
    refused = send()
    assert refused.status_code == 403
    assert "sponsored questions" in refused.json()["detail"]
    browser.cookies.clear()
    assert send().status_code == 200, "another visit asks anew"


def test_ask__budget_spent__is_refused_and_spends_nothing(served: World, browse: Browse) -> None:
    before = served.network.market.balance_of(served.requester.address)
    found = browse(questions=9, budget=DOLLAR // 2).post(
        "/page/ask?model=1&version=1&name=x.json", content=json.dumps(IMAGE)
    )
    assert found.status_code == 403
    assert served.network.market.balance_of(served.requester.address) == before


def test_ask__input_that_does_not_fit__costs_no_question(served: World, browse: Browse) -> None:
    browser = browse(questions=1)
    bad = browser.post("/page/ask?model=1&version=1&name=x.json", content="[[1]]")
    assert bad.status_code == 422
    good = browser.post("/page/ask?model=1&version=1&name=x.json", content=json.dumps(IMAGE))
    assert good.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"}, {"origin": "null"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["ask", "prepare"])
def test_ask__from_another_site__is_refused(
    served: World, browse: Browse, headers: dict[str, str], path: str
) -> None:
    found = browse(questions=1).post(
        f"/page/{path}?model=1&version=1&name=x.json&requester={served.requester.address}",
        content=json.dumps(IMAGE),
        headers=headers,
    )
    assert found.status_code == 403
    assert requests.list_requests(served.network) == ()


def test_ask__nobody_sponsors__is_refused(served: World, browse: Browse) -> None:
    found = browse().post("/page/ask?model=1&version=1&name=x.json", content=json.dumps(IMAGE))
    assert found.status_code == 403
    assert "wallet" in found.json()["hint"]


@pytest.mark.parametrize("params", ["{", "[]", '{"a":"b"}', '{"temperature":true}', '{"x":1}'])
def test_ask__parameters_that_are_none__are_refused(
    served: World, browse: Browse, params: str
) -> None:
    found = browse(questions=1).post(
        "/page/ask",
        params={"model": 1, "version": 1, "name": "x.json", "params": params},
        content=json.dumps(IMAGE),
    )
    assert found.status_code == 422


def test_prepare__for_a_wallet__publishes_the_input_and_sends_nothing(
    served: World, browse: Browse
) -> None:
    found = browse().post(
        f"/page/prepare?model=1&version=1&name=x.json&requester={served.requester.address}",
        content=json.dumps(IMAGE),
    )
    order = found.json()["order"]
    digest = bytes.fromhex(order["inputRoot"][2:])
    assert served.ipfs.fetch_bytes(raw_cid(digest), 4096)  # type: ignore[arg-type]
    assert requests.list_requests(served.network) == ()
    assert (order["modelId"], order["version"], order["maxFee"]) == (1, 1, str(DOLLAR))


def test_prepare__wallet_without_money__is_told(served: World, browse: Browse) -> None:
    found = browse().post(
        f"/page/prepare?model=1&version=1&name=x.json&requester={served.stranger.address}",
        content=json.dumps(IMAGE),
    )
    assert found.status_code == 403
    assert found.json()["title"] == "BalanceTooLow"
    assert "balance" in found.json()["detail"]


def test_account__admin_and_applicant__see_their_sides(served: World, browse: Browse) -> None:
    access.set_policy(served.network, served.owner, 1, Policy.ON_REQUEST)
    access.apply(served.network, served.stranger, 1, "post codes")
    browser = browse()
    (decision,) = browser.get(f"/page/accounts/{served.owner.address}").json()["decide"]
    assert (decision["requester"], decision["note"]) == (served.stranger.address, "post codes")
    stranger = browser.get(f"/page/accounts/{served.stranger.address}").json()
    assert [entry["status"] for entry in stranger["access"]] == ["APPLIED"]
    assert stranger["decide"] == []
    requester = browser.get(f"/page/accounts/{served.requester.address}").json()
    assert requester["prepaid"] == "$20.00"


def test_operators__listed__with_stake(served: World, browse: Browse) -> None:
    operators.start_unstake(served.network, served.operator, Amount(5 * DOLLAR))
    page = browse().get("/operators").text
    assert "$100.00" in page or "$95.00" in page
    assert browse().get(f"/operators/{served.operator.address}").status_code == 200


def test_files__of_the_page__have_no_foreign_addresses() -> None:
    for name, (data, _) in bytes_served.files().items():
        if "secp256k1" in name:  # not ours, and kept as it is: its comments name papers
            data = re.sub(rb"(?m)^\s*(?://|\*).*$", b"", data)  # noqa: PLW2901
        found = re.findall(rb"https?://[\w./-]+", data)
        assert [url for url in found if b"www.w3.org" not in url] == [], name


def test_pages__wallets_of_this_server__have_names(served: World, browse: Browse) -> None:
    keys = served.network.settings.home / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    keystore = keys / "erika.json"
    keystore.write_text(json.dumps({"address": served.operator.address.lower()}))
    keystore.chmod(0o600)
    page = browse().get("/models/1").text
    assert re.search(rf'<a href="/operators/{served.operator.address}"[^>]*>erika</a>', page)
    assert f'data-copy="{served.operator.address}"' in page


def test_models__served_and_asked__say_that_they_can_be_asked(
    served: World, browse: Browse
) -> None:
    assert "has not answered yet" in browse().get("/").text
    asked(served, browse)
    served.deliver(requests.list_requests(served.network)[0], [1.0, 5.0, 2.0])
    page = browse().get("/").text
    assert re.search(r"answers in (under 1|[1-9]\d*\.\d) s", page)
    assert "last answer 20" in page


def test_models__nobody_authorised__say_that_nobody_can_answer(
    world: World, browse: Browse
) -> None:
    world.publish()
    assert "nobody can answer now" in browse().get("/").text
    assert "nobody can answer now" in browse().get("/models/1").text


def test_operator__shown__names_models_and_latest_answers(served: World, browse: Browse) -> None:
    request_id = asked(served, browse)
    served.deliver(requests.list_requests(served.network)[0], [1.0, 5.0, 2.0])
    page = browse().get(f"/operators/{served.operator.address}").text
    assert f'<a href="/requests/{request_id}">' in page
    assert ">digits</a>" in page


def test_try__site_without_a_grant__offers_to_request_access(served: World, browse: Browse) -> None:
    access.set_policy(served.network, served.owner, 1, Policy.ON_REQUEST)
    browser = browse(questions=3)
    page = browser.get("/models/1/try").text
    assert 'id="apply-sponsored"' in page
    assert 'id="ask-sponsored"' not in page
    assert browser.post("/page/apply?model=1").status_code == 200
    (applied,) = access.show(served.network, 1).wallets
    assert applied.requester == served.requester.address
    assert "applied for access" in browser.get("/models/1/try").text
    access.grant(served.network, served.owner, 1, served.requester.address)
    assert 'id="ask-sponsored"' in browser.get("/models/1/try").text


def test_apply__from_another_site__is_refused(served: World, browse: Browse) -> None:
    found = browse(questions=1).post(
        "/page/apply?model=1", headers={"sec-fetch-site": "cross-site"}
    )
    assert found.status_code == 403


def test_question__of_a_request__is_what_the_model_saw(served: World, browse: Browse) -> None:
    request_id = asked(served, browse)
    browser = browse()
    found = browser.get(f"/page/requests/{request_id}/question").json()
    assert found["kind"] == "image"
    assert found["tensors"][0]["values"] == [0.0, 1.0, 0.5, 0.25]
    info = requests.list_requests(served.network)[0]
    served.ipfs.tamper(raw_cid(info.request.input_root), b"evil")
    assert browser.get(f"/page/requests/{request_id}/question").status_code == 502


def test_foot__of_every_page__leads_to_the_interface_and_where_the_package_says(
    served: World,
) -> None:
    app = FastAPI()
    links = (("Source", "https://code.example/x?a=1&b"),)
    app.include_router(router(served.network, PageOptions(links=links)))
    foot = TestClient(app).get("/").text.partition("<footer>")[2]
    assert re.findall(r'href="([^"]*)"[^>]*>([^<]+)</a>', foot)[-2:] == [
        ("/openapi.json", "REST interface (OpenAPI)"),
        ("https://code.example/x?a=1&amp;b", "Source"),
    ]
