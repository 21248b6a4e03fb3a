"""Plays the demo, opens its pages in Chromium and writes pictures of them to docs/web.

    python scripts/screenshots.py [FOLDER]

Takes about three minutes; needs Chromium and what the test suite needs.
"""

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from oracle.services import requests
from oracle.services.builders import Build
from oracle.services.context import Context
from oracle.services.data import rounds
from oracle.services.demo import answers, contributors, liars, opening
from oracle.services.demo.record import Record
from oracle.services.demo.screen import Screen
from oracle.services.demo.stage import Stage
from oracle.services.devnet.network import Devnet, Plan
from oracle.services.timeline import State

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 1180, 760
COLOURS = 128  # of a picture's palette
PATIENCE = 60_000  # milliseconds


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
    plan = Plan(
        folder / "home", faults=liars.FAULTS, game=liars.GAME, people=contributors.PEOPLE, rest=True
    )
    devnet = Devnet(plan, {"PATH": os.environ["PATH"]}, screen.tell)
    stack.callback(devnet.stop)
    stage = Stage(devnet, Record(), screen, models)
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
    liars.judge(stage)
    contributors.value_data(stage)
    devnet.start_gateway()
    return devnet


def photograph(browser: Browser, devnet: Devnet, scheme: str, target: Path) -> None:
    """Write one picture of every page."""
    context = browser.new_context(
        base_url=devnet.rest_url,
        color_scheme=scheme,  # type: ignore[arg-type]  # a literal
        viewport={"width": WIDTH, "height": HEIGHT},
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()

    def shot(name: str, whole: bool = True) -> None:
        page.wait_for_timeout(600)  # transitions
        path = target / f"{name}-{scheme}.png"
        page.screenshot(path=path, full_page=whole)
        Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
            path, optimize=True
        )

    network = devnet.context
    names = {network.registry.name_of(i): i for i in (1, 2, 3)}
    exact, sentences = names["digits-exact"], names["all-MiniLM-L6-v2"]
    page.goto("/")
    shot("models")
    page.goto(f"/models/{exact}")
    page.click("#verify-button")
    page.wait_for_selector("#verify-result.good")
    shot("model")
    tampered(page, network, exact)
    shot("tampered")
    page.unroute_all()
    page.goto(f"/models/{exact}/try")
    page.click("#example")
    page.wait_for_selector("#seen canvas")
    page.click("#ask-sponsored")
    page.wait_for_selector("#answer svg")
    shot("try")
    page.goto(f"/models/{sentences}/try")
    page.click("#example")
    page.wait_for_selector("#seen table")
    page.click("#ask-sponsored")
    page.wait_for_selector("#answer svg")
    shot("sentences")
    convicted = requests.list_requests(network, state=State.CONVICTED)[0]
    page.goto(f"/requests/0x{convicted.request_id.hex()}")
    page.click("#check")
    page.wait_for_selector("#said.good")
    shot("proof")
    page.goto("/operators")
    shot("operators")
    page.goto("/data")
    shot("data")
    page.goto(f"/data/{rounds.list_rounds(network)[-1].round_id}")
    shot("round")
    context.close()
    narrow = browser.new_context(
        base_url=devnet.rest_url, color_scheme=scheme, locale="zh-CN",  # type: ignore[arg-type]
        viewport={"width": 375, "height": 760},
    )  # fmt: skip
    page = narrow.new_page()
    page.goto(f"/models/{exact}")
    shot("narrow-zh")
    narrow.close()


def tampered(page: Page, network: Context, model_id: int) -> None:
    """Let the page verify against an IPFS gateway that lies."""
    page.route("**/ipfs/**", lambda route: route.fulfill(body="{}"))
    page.goto(f"/models/{model_id}")
    page.click("#verify-button")
    page.wait_for_selector("#verify-result.bad")


if __name__ == "__main__":
    main()
