"""Request → delivered on a development network: blocks and milliseconds, alone and in a crowd.

Everything is real: Anvil, Redis, the IPFS node, an operator's watcher, worker and submitter, and a
small CNN on the CPU. The clock starts when the block with the request is mined and stops when the
block with the delivery is; both are seen by polling every few milliseconds. Two chains: one that
mines a block for every transaction (what is left is our own time), and one with a block a second.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import quantiles
from typing import Any

from oracle.chain.bindings.inference_market import Delivered, Requested
from oracle.chain.logs import decode, topic_of
from oracle.chain.logs import parse as parse_log
from oracle.chain.rpc import quantity
from oracle.devnet.network import Devnet, DevnetPlan, running
from oracle.services import balances, operators, publishing, quoting
from oracle.services.builders import Build
from oracle.services.models import Selected
from oracle.services.publishing import SaleTerms
from oracle.services.quoting import Ask
from oracle.types import Amount, Order, RequestId

ALONE = 30  # requests, one after the other
CROWD = 100  # requests at once
POLL = 0.004  # seconds
PATIENCE = 120.0  # seconds
IMAGE = '{"image": [[[' + ",".join(["[0,0.2,0.9,1,0.7,0.1,0,0]"] * 8) + "]]]}"


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles over the requests of one run."""

    requests: int
    ms_p50: float
    ms_p99: float
    blocks_p50: float
    blocks_p99: float
    answers_per_second: float


class Bench:
    """One requester on one network."""

    def __init__(self, devnet: Devnet, order: Order) -> None:
        self._network = devnet.network
        self._wallet = devnet.wallet("requester")
        self._order = order
        self._lanes = 0  # used so far: the requests of one run need not be settled by the next
        self._seen = 0  # blocks whose deliveries were looked at

    def run(self, count: int) -> Latency:
        """Send `count` requests at once and wait for all deliveries."""
        market = self._network.market
        lanes = range(self._lanes, self._lanes + count)
        self._lanes += count
        calls = [market.request(replace(self._order, lane=lane)) for lane in lanes]
        self._seen = quantity(self._network.rpc.call("eth_blockNumber"))
        began = time.perf_counter()
        receipts = self._wallet.send_all(calls)
        mined: dict[RequestId, tuple[float, int]] = {}
        done: dict[RequestId, tuple[float, int]] = {}
        for receipt in receipts:
            mined[receipt.one(Requested).request_id] = (time.perf_counter(), receipt.block_number)
        while len(done) < count:
            for request_id, block in self._delivered():
                done[request_id] = (time.perf_counter(), block)
            if time.perf_counter() - began > PATIENCE:
                raise TimeoutError(f"{len(done)} of {count} answers in {PATIENCE} s")
            time.sleep(POLL)
        took = time.perf_counter() - began
        return _latency(
            [1000 * (done[i][0] - at) for i, (at, _) in mined.items()],
            [done[i][1] - block for i, (_, block) in mined.items()],
            count / took,
        )

    def _delivered(self) -> Iterator[tuple[RequestId, int]]:
        rpc = self._network.rpc
        head = quantity(rpc.call("eth_blockNumber"))
        if head <= self._seen:
            return
        question = {
            "address": self._network.market.address,
            "topics": ["0x" + topic_of(Delivered).hex()],
            "fromBlock": hex(self._seen + 1),
            "toBlock": hex(head),
        }
        self._seen = head
        for raw in rpc.call("eth_getLogs", question):
            log = parse_log(raw)
            event = decode(log)
            assert isinstance(event, Delivered)
            yield event.request_id, log.block_number


def measure(alone: int = ALONE, crowd: int = CROWD) -> dict[str, Latency]:
    """Run all four cases on one network."""
    results = {}
    with _network() as (devnet, order):
        bench = Bench(devnet, order)
        bench.run(3)  # the model is loaded
        results["instant blocks, alone"] = _alone(bench, alone)
        results["instant blocks, crowd"] = bench.run(crowd)
        rpc = devnet.network.rpc
        rpc.call("evm_setAutomine", False)
        rpc.call("evm_setIntervalMining", 1)
        results["a block a second, alone"] = _alone(bench, max(5, alone // 3))
        results["a block a second, crowd"] = bench.run(crowd)
    return results


def _alone(bench: Bench, count: int) -> Latency:
    runs = [bench.run(1) for _ in range(count)]
    rate = count / sum(1 / run.answers_per_second for run in runs)
    return _latency([run.ms_p50 for run in runs], [run.blocks_p50 for run in runs], rate)


def _latency(ms: Sequence[float], blocks: Sequence[float], rate: float) -> Latency:
    def percentile(values: Sequence[float], percent: int) -> float:
        if len(values) == 1:
            return values[0]
        return quantiles(values, n=100, method="inclusive")[percent - 1]

    return Latency(
        len(ms),
        percentile(ms, 50),
        percentile(ms, 99),
        percentile(blocks, 50),
        percentile(blocks, 99),
        rate,
    )


@contextmanager
def _network() -> Iterator[tuple[Devnet, Order]]:
    """A network of one operator with the digits model published, and an order for it."""
    with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
        home = Path(folder)
        with (
            Build("examples.digits.build", home / "digits") as build,
            running(DevnetPlan(home / "net", operators=("alpha",)), os.environ) as devnet,
        ):
            model = build.wait(lambda _done, _total: None)
            network, owner = devnet.network, devnet.wallet("owner")
            published = publishing.publish(network, owner, model, SaleTerms(challenge_window=2))
            alpha = devnet.accounts["alpha"]
            operators.authorize(network, owner, published.model_id, alpha)
            requester = devnet.wallet("requester")
            balances.deposit(network, requester, Amount(1_000 * 10**6))
            ask = Ask(
                Selected(published.model_id, published.version),
                IMAGE,
                operator=alpha,
                priority=3_600,
                lifetime=86_400,
            )
            prepared = quoting.quote(network, requester.address, ask, stdin=bytes)
            network.ipfs.publish_bytes(prepared.prepared.data)
            yield devnet, prepared.order


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per case."""
    results = measure()
    report(
        f"{'request → delivered':28} {'ms p50':>8} {'p99':>8} {'blocks':>7} {'p99':>5}  answers/s"
    )
    for name, found in results.items():
        report(
            f"  {name:26} {found.ms_p50:>8.0f} {found.ms_p99:>8.0f} "
            f"{found.blocks_p50:>7.0f} {found.blocks_p99:>5.0f} {found.answers_per_second:>10.1f}"
        )
    return {name: asdict(found) for name, found in results.items()}


if __name__ == "__main__":
    run(print, Path("build/bench"))
