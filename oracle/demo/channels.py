"""A chapter on channels: a thousand answers paid by one transaction, a wrong receipt convicted.

```
 requester ─▶ beta's endpoint   1,000 vouchers and receipts ─▶ one claim ─▶ settled
           ─▶ oscar's endpoint  a signed wrong answer ─▶ verify ─▶ summon ─▶ challenger ─▶ convicted
```
Both endpoints load while the challenger of the chapter before is at work.
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import mean

from oracle.chain.bindings.payment_channels import VouchersClaimed
from oracle.demo import gas, liars
from oracle.demo.answers import test_image
from oracle.demo.asking import PATIENCE
from oracle.demo.report import ChannelFacts
from oracle.demo.stage import DemoContext
from oracle.devnet.operator_processes import endpoint_process
from oracle.errors import Unavailable
from oracle.patience import busy
from oracle.services import balances, inputs, models, quoting, wallets
from oracle.services.amounts import decimal, format_amount
from oracle.services.answer_check import CheckOutcome
from oracle.services.channels import asking, claims, deposits, kept, offers, receipt_check, summons
from oracle.services.channels.claims import HeldClaim
from oracle.services.channels.paid_channel import ChannelClient
from oracle.types import Amount, Offer

ANSWERS = 1_000
CLIENTS = 16  # questions at a time
IMAGES = 8  # of the test images, over and over
LOCKS = {liars.HONEST: 8, liars.WITHHOLDS: 1}  # convictions with stake behind the offer
POLL = 0.1  # seconds
_PATH = ("request", "deliver", "finalize")


def start(stage: DemoContext) -> None:
    """Two operators put stake behind offers and start their endpoints; nobody waits for them."""
    model, devnet = stage.models["exact"], stage.devnet
    for name, locks in LOCKS.items():
        drafted = offers.draft(stage.network, stage.address(name), str(model.model_id))
        offers.cover(stage.network, stage.wallet(name), drafted, locks)
        settings = replace(devnet.settings, fault=devnet.plan.faults.get(name, ""))
        listen = devnet.channel_endpoint(name).removeprefix("http://")
        wallet = wallets.find(devnet.settings, name)
        spec = endpoint_process(settings, wallet, (str(model.model_id),), listen)
        devnet.start_beside(_processes(name), [spec])
        stage.screen.tell(f"{name} put {locks} × {format_amount(drafted.lock)} behind its answers")


def tell(stage: DemoContext) -> None:
    """Play the chapter. The chain's clock is moved when every answer is claimed or summoned."""
    client, seconds = _ask(stage)
    held = _claim(stage, client)
    _convict(stage)
    _settle(stage, client, held, seconds)


def _ask(stage: DemoContext) -> tuple[ChannelClient, float]:
    """Ask a thousand times; return the channel, and the seconds that took."""
    network, name = stage.network, liars.HONEST
    fee = network.registry.terms_of(*_version(stage)).fee
    balances.deposit(network, stage.wallet("requester"), Amount(ANSWERS * fee))
    client = _client(stage, name, ANSWERS)
    images, params = (
        [_input(stage, client, n) for n in range(IMAGES)],
        client.manifest.pack_params({}),
    )
    begun = time.monotonic()
    with (
        stage.screen.working(f"asking {ANSWERS:,} times"),
        ThreadPoolExecutor(CLIENTS) as askers,
    ):
        asked = [images[number % IMAGES] for number in range(ANSWERS)]
        answers = list(askers.map(lambda data: client.ask_encoded(data, params), asked))
    seconds = time.monotonic() - begun
    labels = client.manifest.labels or ()
    best = [labels[int(next(iter(one.outputs.values())).argmax())] for one in answers]
    right = sum(best[n] == test_image(stage, n)[1] for n in range(IMAGES))
    stage.screen.tell(
        f"{ANSWERS:,} signed answers in {seconds:.1f} s, {ANSWERS / seconds:,.0f} a second; "
        f"{right} of {IMAGES} images are read as their labels say"
    )
    files = kept.find(network.settings.home, offers.name(client.channel_id)).files()
    found = receipt_check.verify(files, lambda: network, recompute=False)
    stage.expect(
        f"tallystick verify finds nothing wrong with {ANSWERS:,} receipts",
        len(found.receipts) == ANSWERS and not found.wrong,
    )
    return client, seconds


def _claim(stage: DemoContext, client: ChannelClient) -> HeldClaim:
    """Stop the endpoint, which claims at its end; return what it claimed."""
    network, name = stage.network, liars.HONEST
    info = offers.show(network, client.offer_id)
    stage.devnet.dismiss_operator(_processes(name))
    patience = busy(os.getpid(), PATIENCE)
    with stage.screen.working(f"{name} claims"):
        while not (held := claims.list_claims(network, [info])) and not patience.over():
            time.sleep(POLL)
    claimed = network.history.read(network.channels.address, (VouchersClaimed,), info.offer_id)
    stage.expect("one transaction claims them all", len(claimed) == len(held) == 1, len(claimed))
    total = held[0].total
    stage.expect("it claims what they cost", total == ANSWERS * info.fee, format_amount(total))
    return held[0]


def _convict(stage: DemoContext) -> None:
    """One receipt is of a wrong answer: its payer summons it, the challenger has it convicted."""
    network, name, requester = stage.network, liars.WITHHOLDS, stage.wallet("requester")
    fee = network.registry.terms_of(*_version(stage)).fee
    balances.deposit(network, requester, Amount(2 * fee))  # the answer, and its summons
    client = _client(stage, name, 1)
    client.ask_encoded(_input(stage, client, 0), client.manifest.pack_params({}))
    receipt = f"{offers.name(client.channel_id)[:10]}/1"
    files = kept.read(network.settings.home, receipt)
    (found,) = receipt_check.verify(files, lambda: network, recompute=True).receipts
    recomputed = next(check for check in found.checks if check.what == "recomputed")
    stage.screen.tell(f"tallystick verify {receipt}: {recomputed.result.value}, {recomputed.why}")
    stage.expect(f"{name} signed a wrong answer", found.verdict is CheckOutcome.WRONG)
    summoned = summons.summon(network, requester, files[0])
    stage.screen.tell(f"requester summons it: {summoned.transaction.gas_used:,} gas")
    liars.convict(stage, {name: summoned.request_id})
    stage.devnet.dismiss_operator(_processes(name))
    channel = deposits.find(network, requester.address, receipt[:10])
    channel = deposits.close(network, requester, channel)
    stage.reach(channel.closes_at)
    back = deposits.withdraw(network, requester, channel)
    stage.expect("nobody is paid for it", back.amount == fee, format_amount(back.amount))


def _settle(stage: DemoContext, client: ChannelClient, held: HeldClaim, seconds: float) -> None:
    """Settle the claim when its window has passed; show the gas of an answer."""
    network, name = stage.network, liars.HONEST
    stage.reach(held.ready_at)
    settled = claims.collect(network, stage.wallet(name), [offers.show(network, client.offer_id)])
    mined = gas.read(network, stage.devnet.accounts)

    def used_by(function: str) -> list[int]:
        return [used.gas_used for used in mined if used.function == function]

    (settle,) = (sent.gas_used for sent in settled.transactions)
    (claim,) = used_by("PaymentChannels.claim")
    spent = {"open": used_by("PaymentChannels.open")[0], "claim": claim, "settle": settle}
    each = sum(spent.values()) / ANSWERS
    one_by_one = sum(mean(used_by(f"InferenceMarket.{function}")) for function in _PATH)
    stage.screen.table(
        ("transaction", "gas", "of each answer"),
        [(what, f"{used:,}", f"{used / ANSWERS:,.0f}") for what, used in spent.items()],
    )
    stage.screen.fact("through a channel", f"{each:,.0f} gas an answer")
    stage.screen.fact("on the chain", f"{one_by_one:,.0f}: {', '.join(_PATH)}")
    stage.expect("that is less than a hundredth of the gas", each < one_by_one / 100)
    stage.record.channels.append(
        ChannelFacts(
            channel_id=client.channel_id,
            operator=name,
            answers=ANSWERS,
            seconds=round(seconds, 2),
            paid=decimal(held.total),
            gas=spent,
            gas_per_answer=round(each),
            gas_on_chain=round(one_by_one),
        )
    )


def _input(stage: DemoContext, client: ChannelClient, number: int) -> bytes:
    """Return a test image as the model takes it."""
    image, _ = test_image(stage, number)
    fetch = lambda entry: quoting.fetch_file(stage.network, entry, None)  # noqa: E731
    return inputs.prepare(json.dumps([image]), client.manifest, fetch, bytes).data


def _client(stage: DemoContext, name: str, answers: int) -> ChannelClient:
    """Return a channel of the requester's to an operator's endpoint, once that answers."""
    network, (model_id, version) = stage.network, _version(stage)
    manifest = models.manifest(network, model_id, version)

    def opened(offer: Offer, url: str) -> ChannelClient:
        deposit = Amount(answers * offer.terms.fee)
        return ChannelClient(
            network, stage.wallet("requester"), offer, manifest, url, deposit=deposit,
            limit=deposit, patience=PATIENCE,
        )  # fmt: skip

    patience = busy(os.getpid(), PATIENCE)
    with stage.screen.working(f"waiting for {name}'s endpoint"):
        while True:
            url = stage.devnet.channel_endpoint(name)
            try:
                return asking.open_at(network, model_id, version, url, opened)
            except Unavailable:
                if patience.over():
                    raise
                time.sleep(POLL)


def _version(stage: DemoContext) -> tuple[int, int]:
    model = stage.models["exact"]
    return model.model_id, model.version


def _processes(name: str) -> str:
    return f"{name}.channels"
