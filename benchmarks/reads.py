"""Views read per second from Anvil: through a binding, as a raw question, and by web3's contract.

All three ask the same node the same question, in turns, and decode the answer; the best round of
each counts. `encoded_*` are the same without a node: arguments to calldata, nothing else. What a
binding costs over the raw question is what web3's client and the typed result cost.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from eth_utils.address import to_checksum_address
from web3 import HTTPProvider, Web3

from oracle.chain import artifacts
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.inference_market import InferenceMarket
from oracle.chain.codec import interface
from oracle.chain.deploy import deploy
from oracle.chain.rpc import hexbytes
from oracle.chain.wallet import Wallet

READS = 400
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """Per second."""

    binding: float
    raw: float
    web3_contract: float
    encoded_by_binding: float
    encoded_by_web3_contract: float


def measure(count: int = READS) -> Result:
    """Deploy, then read one view in all ways."""
    with Anvil() as anvil:
        wallet = Wallet(anvil.rpc, dev_account(0))
        place, me = deploy(wallet).inference_market, wallet.address
        market = InferenceMarket(anvil.rpc, place)
        function = interface("InferenceMarket")["balanceOf"]
        theirs: Any = Web3(HTTPProvider(anvil.url)).eth.contract(
            address=to_checksum_address(place),
            abi=artifacts.load("InferenceMarket").abi,
        )

        def raw() -> int:
            call = {"to": place, "data": "0x" + function.encode([me]).hex()}
            answer = anvil.rpc.call("eth_call", call, "latest")
            return int(function.decode(hexbytes(answer))[0])

        ways: tuple[Callable[[], Any], ...] = (
            lambda: market.balance_of(me),
            raw,
            lambda: theirs.functions.balanceOf(me).call(),
            lambda: function.encode([me]),
            lambda: theirs.encode_abi("balanceOf", [me]),
        )
        assert len({way() for way in ways[:3]}) == 1
        rounds = [[_rate(count, way) for way in ways] for _ in range(ROUNDS)]
    return Result(*map(max, zip(*rounds, strict=True)))


def _rate(count: int, way: Callable[[], Any]) -> float:
    began = time.perf_counter()
    for _ in range(count):
        way()
    return count / (time.perf_counter() - began)


def run(report: Callable[[str], None], build: object) -> dict[str, Any]:
    """Measure and report."""
    found = measure()
    for name, rate in asdict(found).items():
        report(f"{name.replace('_', ' '):<28}{rate:>10,.0f} /s")
    return asdict(found)
