"""A text model with real weights at an endpoint: streamed as it is written, and as it is signed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.protocol import channel_wire
from tests.services.conftest import DOLLAR, World
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_refusals_on_anvil import SIGNER, Customer
from tests.worker.text.conftest import weights
from worker.runtimes import gguf

__all__ = ["weights"]
pytestmark = pytest.mark.real
BODY = {
    "model": "gemma", "prompt": "The capital of France is", "max_tokens": 12, "temperature": 0.8,
    "seed": 3,
}  # fmt: skip


@pytest.fixture
def alice(world: World, weights: Path, tmp_path: Path) -> Customer:
    """Who pays for Gemma by voucher."""
    folder = tmp_path / "gemma"
    folder.mkdir()
    shutil.copy(weights, folder / "gemma.gguf")
    described = {**gguf.described(folder / "gemma.gguf"), "name": "gemma", "tolerance": 300_000_000}
    given = {name: value for name, value in described.items() if value}
    (folder / "model.json").write_text(json.dumps(given))
    sells = replace(world, folder=folder)
    sells.publish()
    sells.serve(1)
    sells.prepay(50 * DOLLAR)
    shop = Shop(sells, tmp_path / "endpoint")
    shop.offer = shop.cover()
    return Customer(shop)


def paid(alice: Customer, number: int) -> dict[str, str]:
    return {channel_wire.VOUCHER: channel_wire.voucher_header(alice.sign(number), SIGNER)}


def test_completions__same_seed__pieces_are_what_is_signed_whole(alice: Customer) -> None:
    with alice.shop.serving():
        alice.fund(9 * FEE)
        whole = alice.http.post("/v1/completions", json=BODY, headers=paid(alice, 1)).json()
        assert whole["usage"]["completion_tokens"] == 12
        streamed = alice.http.post(
            "/v1/completions", json={**BODY, "stream": True}, headers=paid(alice, 2)
        )
        lines = [line[6:] for line in streamed.text.split("\n") if line.startswith("data: ")]
        pieces = [json.loads(line)["choices"][0]["text"] for line in lines[:-1]]
        assert "".join(pieces) == whole["choices"][0]["text"]
        assert sum(map(bool, pieces)) > 3
        above = {**BODY, "prompt": "word " * 6000, "stream": True}
        refused = alice.http.post("/v1/completions", json=above, headers=paid(alice, 3))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "PromptTooLong")
        assert alice.held()["answered"] == 2
