"""Plays the demo, opens its pages in Chromium and writes pictures of them to docs/web.

    python scripts/screenshots.py [FOLDER]

Takes about three minutes; needs Chromium and what the test suite needs.
"""

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console

from oracle.demo import answers, contributors, liars, opening
from oracle.demo.report import Record
from oracle.demo.screen import Screen
from oracle.demo.stage import DemoContext
from oracle.devnet.network import Devnet, DevnetPlan
from oracle.errors import TallystickError
from oracle.services import requests
from oracle.services.builders import Build
from oracle.services.data import rounds
from oracle.services.request_timeline import RequestState

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 1180, 760
COLOURS = 255  # of a picture's palette
PATIENCE = 60_000  # milliseconds
WALLET = """
window.ethereum = { request: async ({ method, params = [] }) => {
  const [rpc, account] = ["%s", "%s"];
  if (method === "eth_requestAccounts") return [account];
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const headers = { "content-type": "application/json" };
  return (await (await fetch(rpc, { method: "POST", headers, body })).json()).result;
} };
"""


def main() -> None:
    """Play, photograph, stop everything."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "web"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        devnet = play(Path(folder), stack)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            for scheme in ("light", "dark"):
                photograph(browser, devnet, scheme, target)
            browser.close()


def play(folder: Path, stack: ExitStack) -> Devnet:
    """Bring a network to the point where every page has something to show."""
    models = folder / "models"
    parts = ("--samples", models / "samples.json", "--calibration", models / "samples.npz")
    digits = stack.enter_context(
        Build("examples.digits.build", models / "digits", *map(str, parts))
    )
    sentences = stack.enter_context(Build("examples.minilm.build", models / "minilm"))
    screen = Screen(Console(stderr=True))
    plan = DevnetPlan(folder / "home", faults=liars.FAULTS, people=contributors.PEOPLE, rest=True)
    devnet = Devnet(plan, {"PATH": os.environ["PATH"]}, screen.tell)
    stack.callback(devnet.stop)
    stage = DemoContext(devnet, Record(), screen, models)
    devnet.start_servers()
    devnet.deploy()
    devnet.start_operators()
    compiled: list[Build] = []
    opening.publish_models(
        stage,
        digits,
        sentences,
        lambda: compiled.append(
            stack.enter_context(
                Build(
                    "worker.exact",
                    models / "exact",
                    "--samples",
                    str(models / "samples.npz"),
                    "--name",
                    "digits-exact",
                    source=models / "digits",
                )
            )
        ),
    )
    opening.join_operators(stage)
    opening.grant_access(stage)
    answers.ask_both(stage)
    liars.start(stage)
    liars.publish_exact(stage, compiled[0])
    liars.join(stage)
    for chapter in (liars.judge, contributors.value_data):
        with suppress(TallystickError):  # a slow machine misses a window: the pictures show that
            chapter(stage)
    devnet.start_gateway()
    return devnet


class Camera:
    """One browser window, and where its pictures go."""

    def __init__(self, browser: Browser, url: str, scheme: str, target: Path, **options: Any):
        context = browser.new_context(base_url=url, color_scheme=scheme, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        self.page, self._scheme, self._target = context.new_page(), scheme, target

    def shot(self, name: str) -> None:
        """Write what is to be seen, with few colours."""
        self.page.wait_for_timeout(600)  # transitions
        path = self._target / f"{name}-{self._scheme}.png"
        self.page.screenshot(path=path, full_page=True)
        with Image.open(path) as image:
            few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(path, optimize=True)

    def show(self, path: str, name: str, *presses: tuple[str, str]) -> None:
        """Open a page, press what is named, wait for what follows, take the picture."""
        self.page.goto(path)
        for button, awaited in presses:
            self.page.click(button)
            self.page.wait_for_selector(awaited)
        self.shot(name)


def photograph(browser: Browser, devnet: Devnet, scheme: str, target: Path) -> None:
    """Write one picture of every page."""
    network = devnet.network
    names = {network.registry.name_of(i): i for i in (1, 2, 3)}
    exact, sentences = names["digits-exact"], names["all-MiniLM-L6-v2"]
    every = requests.list_requests(network)
    told = next((r for r in every if r.state is RequestState.CONVICTED), every[0])
    verified = ("#verify-button", "#verify-result.good")
    asked = ("#ask-sponsored", "#answer svg")
    camera = Camera(
        browser, devnet.rest_url, scheme, target, viewport={"width": WIDTH, "height": HEIGHT}
    )
    camera.show("/", "models")
    camera.show(f"/models/{exact}", "model", verified)
    camera.show(f"/models/{exact}/try", "try", ("#example", "#seen canvas"), asked)
    camera.show(f"/models/{sentences}/try", "sentences", ("#example", "#seen table"), asked)
    camera.show(f"/requests/0x{told.request_id.hex()}", "proof", ("#check", "#said.good"))
    camera.show("/operators", "operators")
    camera.show(f"/operators/{devnet.accounts['beta']}", "operator")
    camera.show("/publish", "publish")
    camera.show("/data", "data")
    if found := rounds.list_rounds(network):
        camera.show(f"/data/{found[-1].round_id}", "round")
    camera.page.add_init_script(WALLET % (network.settings.rpc_url, devnet.accounts["owner"]))
    camera.show("/account", "account", ("#account-connect", "#requests li"))
    camera.page.route("**/ipfs/**", lambda route: route.fulfill(body="{}"))
    camera.show(f"/models/{exact}", "tampered", ("#verify-button", "#verify-result.bad"))
    narrow: dict[str, Any] = {"viewport": {"width": 390, "height": 760}}
    chinese = Camera(browser, devnet.rest_url, scheme, target, locale="zh-CN", **narrow)
    chinese.show(f"/models/{exact}", "narrow-zh", verified)
    chinese.show(f"/requests/0x{told.request_id.hex()}", "narrow-proof-zh")
    Camera(browser, devnet.rest_url, scheme, target, **narrow).show(
        f"/models/{exact}/try", "narrow-try", ("#example", "#seen canvas"), asked
    )


if __name__ == "__main__":
    main()
