"""One answer paid by x402: the protocol's own client, with an account that nobody here knows.

The payer has the price in tokens, no currency for gas and no API key. Its client is the package of
the protocol as it is, run by examples/x402_client.py.
"""

import json
import subprocess
import sys
import time
from typing import Any

import urllib3
from eth_account import Account

from oracle import whole_file
from oracle.chain.bindings.test_dollar import Transfer
from oracle.demo import rest_chapter
from oracle.demo.answers import reading
from oracle.demo.asking import PATIENCE, settle
from oracle.demo.report import PaymentFacts
from oracle.demo.stage import DemoContext
from oracle.devnet.rest import WALLET
from oracle.errors import PermanentError
from oracle.private_files import make_folder
from oracle.protocol import x402
from oracle.services import access, balances
from oracle.services.amounts import decimal, format_amount
from oracle.services.builders import PROJECT
from oracle.services.event_history import topic
from oracle.types import Address, Amount

IMAGE = 3  # of the test images
WHAT = "test image 3, by x402"


def pay(stage: DemoContext) -> None:
    """A stranger meets 402, signs what it says, and is answered."""
    network, asked = stage.network, rest_chapter.infer_body(stage, IMAGE)
    accepts = _demanded(stage, asked)
    price, payer = Amount(int(accepts["amount"])), Account.create()
    address = Address(payer.address)
    stage.wallet("requester").send(network.token.transfer(address, price))
    access.grant(network, stage.wallet("admin"), stage.models["digits"].model_id, address)
    folder = make_folder(stage.devnet.plan.home / "payer")
    whole_file.write_new(folder / "key", payer.key.hex())
    whole_file.write_new(folder / "question.json", json.dumps(asked))
    begun = time.monotonic()
    with stage.screen.working("the x402 client pays and waits"):
        found = _run(
            rest_chapter.infer_url(stage),
            *(str(folder / name) for name in ("question.json", "key")),
            *("--asset", f"{accepts['network']}/{accepts['asset']}"),
            *("--at-most", str(price)),
        )
    seconds = time.monotonic() - begun
    paid, request_id = found["paid"], found["answer"]["parameters"]["request_id"]
    stage.screen.fact("payer", address)
    stage.screen.fact("transfer", paid["transaction"])
    between = topic(address), topic(stage.address(WALLET))
    (sent,) = network.history.read(network.token.address, (Transfer,), *between)
    assert isinstance(sent.event, Transfer)
    stage.expect(
        "one transfer paid the price, and it is the one that the answer names",
        (sent.event.value, "0x" + sent.tx_hash.hex()) == (price, paid["transaction"]),
        paid,
    )
    left = balances.balances(network, address)
    stage.expect("the payer had no currency for gas", (left.tokens, left.ether) == (0, 0), left)
    ordered = rest_chapter.asked_before(stage, IMAGE, WHAT, request_id, begun)
    stage.record.payments.append(
        PaymentFacts(
            request_id=ordered.request_id,
            payer=address,
            pay_to=accepts["payTo"],
            network=accepts["network"],
            asset=accepts["asset"],
            paid=decimal(price),
            transaction=paid["transaction"],
            seconds=round(seconds, 2),
        )
    )
    settle(stage, ordered, lambda answer: reading(stage, IMAGE, answer))


def _demanded(stage: DemoContext, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask without a payment; return what the answer costs."""
    refused = urllib3.request(
        "POST", rest_chapter.infer_url(stage), json=asked, timeout=5 * PATIENCE, retries=False
    )
    stage.expect("who brings no payment meets 402", refused.status == 402, refused.data[:200])
    required = x402.decode(refused.headers[x402.REQUIRED])
    accepts: dict[str, Any] = required["accepts"][0]
    price = format_amount(Amount(int(accepts["amount"])))
    stage.screen.tell(f"402: {required['error']}")
    stage.screen.tell(f"{accepts['scheme']}: {price} of {accepts['asset']} to {accepts['payTo']}")
    return accepts


def _run(*arguments: str) -> dict[str, Any]:
    """Run the example; return what it prints."""
    done = subprocess.run(  # noqa: S603 - argv is ours, no shell
        [sys.executable, "-m", "examples.x402_client", *arguments],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PermanentError(
            f"the x402 client failed:\n{done.stderr[-2000:]}",
            hint="`pip install 'tallystick[x402]'` has its needs",
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
