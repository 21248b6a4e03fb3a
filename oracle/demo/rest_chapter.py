"""One question through REST: a program of the field's own, which knows nothing of chains.

What it is answered is checked as every other answer: bytes, digests and money from the chain.
"""

import json
import time
from typing import Any

import urllib3

from oracle.demo.answers import reading, test_image
from oracle.demo.asking import PATIENCE, Ordered, hexed, settle
from oracle.demo.stage import DemoContext
from oracle.devnet.rest import WALLET
from oracle.gateway import api_keys
from oracle.gateway import gateway as gateways
from oracle.services import access, quoting
from oracle.services.amounts import format_amount
from oracle.services.models import Selected
from oracle.services.quoting import Ask
from oracle.store import Store
from oracle.types import Amount, RequestId

BUDGET = Amount(1 * 10**6)
IMAGE = 2  # of the test images
WHAT = "test image 2, by REST"


def start(stage: DemoContext) -> None:
    """Serve REST with an account of its own, prepaid; the admin grants it what it will be asked."""
    stage.devnet.start_gateway()
    access.grant(
        stage.network,
        stage.wallet("admin"),
        stage.models["digits"].model_id,
        stage.address(WALLET),
        rate=(20, 3600),
    )
    stage.screen.fact("REST", stage.devnet.rest_url)


def ask(stage: DemoContext) -> None:
    """Ask about an image with an API key, as any KServe client would."""
    store = Store.open(gateways.store_url(stage.devnet.settings))
    try:
        minted = api_keys.mint(store, "demo", BUDGET)
        begun = time.monotonic()
        answered = _infer(stage, minted.secret)
        stage.expect("REST answers 200", answered.status == 200, answered.data[:200])
        (kept,) = (key for key in api_keys.listed(store) if key.name == "demo")
    finally:
        store.close()
    ordered = asked_before(stage, IMAGE, WHAT, answered.headers["tallystick-request-id"], begun)
    stage.screen.fact("key", f"{format_amount(kept.spent)} of {format_amount(kept.budget)} spent")
    stage.expect("the key's budget paid the fee, once", kept.spent == ordered.fee, kept.spent)
    info = settle(stage, ordered, lambda answer: reading(stage, IMAGE, answer))
    named = answered.headers["tallystick-output-digest"]
    stage.expect(
        "the header names the digest that the chain has",
        info.output_root is not None and named == hexed(info.output_root),
        named,
    )


def asked_before(
    stage: DemoContext, number: int, what: str, request_id: str, begun: float
) -> Ordered:
    """Return the request that the gateway made; the same image makes the same input again."""
    model, (image, _) = stage.models["digits"], test_image(stage, number)
    question = Ask(Selected(model.model_id, model.version), json.dumps([image]))
    prepayment = quoting.quote(stage.network, stage.address(WALLET), question, stdin=bytes)
    made = RequestId(bytes.fromhex(request_id[2:]))
    return Ordered(what, made, prepayment.quote.fee, prepayment, begun)


def infer_url(stage: DemoContext) -> str:
    """Return where the digits' model is asked."""
    return f"{stage.devnet.rest_url}/v2/models/{stage.models['digits'].name}/infer"


def infer_body(stage: DemoContext, number: int) -> dict[str, Any]:
    """Return the question about one of the test images, as KServe's clients send it."""
    image, _ = test_image(stage, number)
    given = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [image]}
    return {"inputs": [given]}


def _infer(stage: DemoContext, secret: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request(
        "POST",
        infer_url(stage),
        headers={"Authorization": f"Bearer {secret}"},
        json=infer_body(stage, IMAGE),
        timeout=5 * PATIENCE,
        retries=False,
    )
