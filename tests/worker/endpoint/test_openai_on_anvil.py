"""OpenAI's API at an endpoint: with a voucher by hand, and in front of a channel, all checked."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import httpx
import httpx2
import numpy as np
import pytest

from examples.minilm import build as minilm_build
from oracle.protocol import channel_wire
from tests.services.conftest import DOLLAR, World
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_refusals_on_anvil import SIGNER, Customer

pytestmark = pytest.mark.real
PYTHON = Path(__file__).parents[3] / "build" / "clients" / "bin" / "python"
NAME = "all-MiniLM-L6-v2"
TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "A cat sits on the mat."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentence model."""
    try:
        return minilm_build.build(tmp_path_factory.mktemp("minilm"))
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def library(world: World, folder: Path, tmp_path: Path) -> Shop:
    """MiniLM for sale."""
    sells = replace(world, folder=folder)
    sells.publish()
    sells.serve(1)
    sells.prepay(500 * DOLLAR)
    made = Shop(sells, tmp_path / "endpoint")
    made.offer = made.cover()
    return made


def test_embeddings__with_a_voucher__paid_answered_and_signed(library: Shop) -> None:
    with library.serving():
        alice = Customer(library)
        alice.fund(3 * FEE)
        body = {"model": NAME, "input": TEXTS}
        unpaid = alice.http.post("/v1/embeddings", json=body)
        assert (unpaid.status_code, unpaid.json()["error"]["code"]) == (402, "VoucherMissing")
        assert unpaid.json()["error"]["tallystick"]["price"] == str(FEE)
        (listed,) = alice.http.get("/v1/models").json()["data"]
        assert (listed["id"], listed["owned_by"]) == (NAME, library.offer.operator)
        headers = {channel_wire.VOUCHER: channel_wire.voucher_header(alice.sign(1), SIGNER)}
        for bad in (
            {"input": []},
            {"dimensions": 9999},
            {"input": [f"row {n}" for n in range(500)]},
        ):
            refused = alice.http.post("/v1/embeddings", json={**body, **bad}, headers=headers)
            assert refused.status_code in (400, 422), bad
        paid = alice.http.post("/v1/embeddings", json=body, headers=headers)
        assert paid.status_code == 200, paid.text[:300]
        document = paid.json()
        rows = np.array([one["embedding"] for one in document["data"]])
        assert rows.shape == (3, 384)
        np.testing.assert_array_equal(rows[0], rows[2])
        assert document["usage"]["total_tokens"] == 3 * 9
        receipt = channel_wire.read_receipt(paid.headers[channel_wire.RECEIPT])
        assert document["tallystick"]["receipt"] == channel_wire.receipt_json(receipt)
        assert receipt.index == 1
        text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["A cat."]}
        headers[channel_wire.VOUCHER] = channel_wire.voucher_header(alice.sign(2), SIGNER)
        asked = alice.http.post(
            f"/v2/models/{NAME}/infer", json={"inputs": [text]}, headers=headers
        )
        assert asked.status_code == 200, asked.text[:300]


@pytest.mark.parametrize("library_of_http", [httpx, httpx2])
def test_channel__openai_in_front__same_vectors_and_receipts_checked(
    library: Shop, library_of_http: object
) -> None:
    http = library_of_http
    with library.serving():
        channel = library.channel(deposit=2 * FEE)
        transport = http.WSGITransport(app=channel.openai())
        with http.Client(transport=transport, base_url="http://channel/v1") as client:
            reply = client.post("/embeddings", json={"model": NAME, "input": TEXTS})
            assert reply.status_code == 200, reply.text[:300]
            rows = np.array([one["embedding"] for one in reply.json()["data"]])
            own = channel.ask(TEXTS[:2])
            (output,) = (v for v in own.outputs.values() if v.ndim == 2)
            np.testing.assert_allclose(rows[:2], output, atol=1e-6)
            assert channel.answered == 2
            spent = client.post("/embeddings", json={"model": NAME, "input": "one more"})
            assert spent.status_code in (400, 402, 403, 409), spent.text[:300]
            for path, body in (("/embeddings", {"model": "other", "input": "x"}), ("/files", {})):
                assert client.post(path, json=body).status_code == 404
            assert client.post("/embeddings", content=b"{").status_code == 422
            assert client.get(f"/models/{NAME}").json()["id"] == NAME


PROGRAM = """
import json, sys
import openai
url, voucher, name = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
paid = {"Tallystick-Voucher": voucher}
found = client.embeddings.create(model=name, input=["A cat."], extra_headers=paid)
try:
    client.embeddings.create(model=name, input=["A cat."], extra_headers=paid)
    refused = ""
except openai.APIStatusError as error:
    refused = f"{error.status_code} {error.code}"
listed = [one.id for one in client.models.list()]
print(json.dumps([len(found.data[0].embedding), refused, listed]))
"""


@pytest.mark.clients
def test_openai__unchanged_with_a_voucher__embeds_once(library: Shop) -> None:
    if not (PYTHON.parent.parent / ".stamp").exists():
        pytest.skip("no build/clients: `make test-clients` makes it")
    with library.serving() as url:
        alice = Customer(library)
        alice.fund(FEE)
        voucher = channel_wire.voucher_header(alice.sign(1), SIGNER)
        words = [str(PYTHON), "-c", PROGRAM, url, voucher, NAME]
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [384, "402 VoucherEqual", [NAME]]
