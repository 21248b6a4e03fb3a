"""Chromium for tests, a wallet to inject into its pages, and what every page must keep to."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from oracle.types import Address

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
PATIENCE = 300_000  # milliseconds
ARGUMENTS = (
    "--no-sandbox",  # of a container that runs as root
    "--disable-features=LocalNetworkAccessChecks",  # pages that a test rewrote count as foreign
)
NAMES = ("chromium", "chromium-browser", "google-chrome")

_PROVIDER = """
(({ rpc, account, name }) => {
  let id = 0;
  const request = async ({ method, params = [] }) => {
    if (method === "eth_requestAccounts" || method === "eth_accounts") return [account];
    const answer = await fetch(rpc, {
      method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: ++id, method, params }),
    });
    const body = await answer.json();
    if (body.error) throw new Error(body.error.message);
    return body.result;
  };
  const info = { uuid: name, name, icon: "data:,", rdns: "test." + name };
  const detail = Object.freeze({ info, provider: { request, on() {} } });
  const announce = () =>
    window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})
"""


def executable() -> str:
    """Return Chromium's path; skip when there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found:
        return found
    pytest.skip(
        "no Chromium on PATH: the page is not tested in a browser (apt-get install chromium)"
    )


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """A headless browser; `more` are arguments of its command line."""
    path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *more])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """One visitor's pages; what the browser complains about is kept."""

    browser: Browser
    url: str
    complaints: list[str] = field(default_factory=list)

    @contextmanager
    def page(self, **options: Any) -> Iterator[Page]:
        """A page in a context of its own."""
        context = self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        try:
            yield page
        finally:
            context.close()


def inject_wallet(page: Page, rpc: str, account: Address, name: str = "Stub") -> None:
    """Let every page of the context find a wallet whose account the node itself holds."""
    page.add_init_script(f"{_PROVIDER}({{rpc:{rpc!r},account:{account!r},name:{name!r}}})")


def violations(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical on a page."""
    page.evaluate(AXE.read_text())  # not as a tag: the page's policy would forbid it
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{v['id']}: {v['help']} {[n['html'][:120] for n in v['nodes'][:3]]}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]
