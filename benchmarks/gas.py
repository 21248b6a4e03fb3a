"""Gas per function in steady state on Anvil, with Chainlink's `Operator` on the same chain.

Steady state: the lane was used and settled before, the balances, the grant's counter, the stake's
lock and the model's earnings are not zero. Access control (a grant), its rate limit and the stake
lock are on. Every figure is a receipt's `gasUsed`, the 21,000 of its transaction included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import chainlink
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.inference_market import Claimed, Delivered, InferenceMarket, Requested
from oracle.chain.bindings.model_access import ModelAccess, Policy
from oracle.chain.bindings.model_registry import ModelRegistered, ModelRegistry, Publication
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.chain.bindings.test_dollar import TestDollar
from oracle.chain.deploy import deploy
from oracle.chain.transactions import Receipt
from oracle.chain.wallet import Wallet
from oracle.protocol.canonical import keccak
from oracle.types import (
    NO_CLAIM,
    ZERO32,
    ZERO_ADDRESS,
    Amount,
    Assurance,
    Bytes32,
    Claim,
    Delivery,
    OperatorAnswer,
    Order,
    Request,
    Timestamp,
)

BATCH = 64
PRIORITY = 600  # seconds
WINDOW = 10  # seconds
INFERNET_PAIR = 123_323 + 94_275  # request + deliver, read in its repository's gas report
GOALS = {"request + deliver": 100_000, "whole life, batched": 125_000, "deliverBatch, each": 20_000}


@dataclass
class Market:
    """A deployment with one model, one operator and one requester, all of them used before."""

    anvil: Anvil
    gas: dict[str, int]

    def __post_init__(self) -> None:
        rpc = self.anvil.rpc
        self.owner, self.operator, self.requester = (Wallet(rpc, dev_account(i)) for i in range(3))
        at = self.at = deploy(self.owner)
        self.registry = ModelRegistry(rpc, at.model_registry)
        self.access = ModelAccess(rpc, at.model_access)
        self.operators = OperatorRegistry(rpc, at.operator_registry)
        self.market = InferenceMarket(rpc, at.inference_market)
        self.token = TestDollar(rpc, at.token)
        self._open()

    def note(self, name: str, receipt: Receipt, parts: int = 1) -> Receipt:
        self.gas[name] = round(receipt.gas_used / parts)
        return receipt

    def pass_time(self, seconds: int) -> None:
        self.anvil.rpc.call("evm_increaseTime", seconds)
        self.anvil.rpc.call("evm_mine")

    def _open(self) -> None:
        registered = self.note(
            "registerModel", self.owner.send(self.registry.register_model("bench", 0))
        )
        model_id = self.model_id = registered.one(ModelRegistered).model_id
        for manifest in (b"one", b"two"):
            publication = Publication(
                manifest_digest=keccak(manifest),
                model_root=keccak(b"root"),
                assurance=Assurance.COMMITTEE,
                tolerance=1000,
                fee=Amount(50_000),
                operator_bps=7000,
                data_bps=500,
                insured_multiple=2,
                challenge_window=WINDOW,
                max_units=0,
            )
            head = self.registry.head_of(model_id)
            call = self.registry.publish_version(model_id, head, publication)
            self.note("publishVersion", self.owner.send(call))
        self.owner.send(self.access.set_policy(model_id, Policy.ON_REQUEST, 0, 0))
        self.note(
            "submitApplication",
            self.requester.send(self.access.submit_application(model_id, "for the benchmark")),
        )
        call = self.access.grant(
            model_id,
            self.requester.address,
            Timestamp(2**39),
            max_per_window=100_000,
            window=86_400,
        )
        self.note("grant", self.owner.send(call))
        for wallet in (self.operator, self.requester):
            wallet.send(self.token.faucet(wallet.address, Amount(900 * 10**6)))
        self.operator.send(self.token.approve(self.operators.address, Amount(10**12)))
        self.requester.send(self.token.approve(self.market.address, Amount(10**12)))
        self.note("register", self.operator.send(self.operators.register(ZERO32, "")))
        self.note(
            "authorize",
            self.owner.send(self.operators.authorize(model_id, self.operator.address, True)),
        )
        for _ in range(2):
            stake = self.operators.stake(self.operator.address, Amount(400 * 10**6))
            self.note("stake", self.operator.send(stake))
            deposit = self.market.deposit(self.requester.address, Amount(400 * 10**6))
            self.note("deposit", self.requester.send(deposit))

    # ── One request's life ──────────────────────────────────────────────────────────────────────

    def ask(self, lane: int, *, preferred: bool = True) -> tuple[Request, Receipt]:
        order = Order(
            model_id=self.model_id,
            version=2,
            lane=lane,
            input_root=keccak(b"input%d" % lane),
            input_cid=ZERO32,
            params=ZERO32,
            max_fee=Amount(50_000),
            priority_window=PRIORITY if preferred else 0,
            lifetime=2 * PRIORITY,
            operator=self.operator.address if preferred else ZERO_ADDRESS,
        )
        receipt = self.requester.send(self.market.request(order))
        return receipt.one(Requested).request, receipt

    def deliver(self, request: Request, claim: Claim = NO_CLAIM) -> tuple[Delivery, Receipt]:
        receipt = self.operator.send(
            self.market.deliver(request, claim, OperatorAnswer(keccak(b"output"), ZERO32))
        )
        return _delivery(receipt.one(Delivered)), receipt

    def finalize(self, requests: list[Request], deliveries: list[Delivery]) -> Receipt:
        self.pass_time(WINDOW + 1)
        return self.operator.send(self.market.finalize(requests, deliveries))


def measure(build: Path) -> dict[str, Any]:
    """Return gas per function, the totals with their goals, and the peers' figures."""
    with Anvil() as anvil:
        market = Market(anvil, {})
        _round(market, lanes=BATCH + 1)  # warm every lane and every slot
        _round(market, lanes=BATCH + 1)
        _rarer(market)
        peer = chainlink.measure(anvil.url, build)
    gas = market.gas
    return {
        "gas": gas,
        "totals": {
            "request + deliver": gas["request"] + gas["deliver"],
            "whole life, batched": gas["request"] + gas["deliver"] + gas["finalize, each of 64"],
            "deliverBatch, each": gas["deliverBatch, each of 64"],
        },
        "goals": GOALS,
        "peers": {"Chainlink Operator": peer, "Infernet (published)": {"pair": INFERNET_PAIR}},
    }


def _round(market: Market, lanes: int) -> None:
    asked = [market.ask(lane) for lane in range(lanes)]
    market.note("request", asked[-1][1])
    first, answered = market.deliver(asked[0][0])
    market.note("deliver", answered)
    rest = [request for request, _ in asked[1:]]
    batch = market.operator.send(
        market.market.deliver_batch(
            rest, [NO_CLAIM] * BATCH, [OperatorAnswer(keccak(b"output"), ZERO32)] * BATCH
        )
    )
    market.note("deliverBatch, each of 64", batch, BATCH)
    deliveries = [_delivery(e) for e in batch.all(Delivered)]
    market.note("finalize, each of 64", market.finalize(rest, deliveries), BATCH)
    market.note("finalize, one", market.finalize([asked[0][0]], [first]))


def _rarer(market: Market) -> None:
    request, _ = market.ask(0, preferred=False)
    claimed = market.note("claim", market.operator.send(market.market.claim(request, NO_CLAIM)))
    event = claimed.one(Claimed)
    delivery, receipt = market.deliver(request, Claim(event.operator, event.until))
    market.note("deliver, claimed", receipt)
    market.finalize([request], [delivery])
    request, _ = market.ask(0)
    market.pass_time(2 * PRIORITY + 1)
    market.note(
        "cancelExpired", market.requester.send(market.market.cancel_expired(request, NO_CLAIM))
    )
    collect = market.market.collect_model_earnings(market.model_id)
    market.note("collectModelEarnings", market.owner.send(collect))
    withdraw = market.market.withdraw(market.operator.address, Amount(1000))
    market.note("withdraw", market.operator.send(withdraw))


def _delivery(event: Delivered) -> Delivery:
    return Delivery(event.operator, event.stamp, Bytes32(event.output_root))


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per figure."""
    result = measure(build)
    for name, gas in result["gas"].items():
        report(f"{name:28} {gas:>9,}")
    pair = result["totals"]["request + deliver"]
    for name, total in result["totals"].items():
        report(f"{name:28} {total:>9,}   goal ≤ {GOALS[name]:,}")
    for name, peer in result["peers"].items():
        report(f"{name:28} {peer['pair']:>9,}   ours is {pair / peer['pair']:.2f}×")
    return result


if __name__ == "__main__":
    run(print, Path("build/bench"))
