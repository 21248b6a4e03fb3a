"""Events per second from Anvil into SQLite, reorg handling on; what bounds it beside it.

The chain holds the logs of whole lives (`Requested` with its 256 bytes, `Delivered`, `Finalized`),
spread over many blocks by a contract that does nothing but log. What is measured is what the
watcher does with a range: connect it to the block known below, read logs by raw JSON-RPC, check
that the range did not change meanwhile, and commit logs, block hashes and cursor. Beside it:
- the same logs fetched and read as JSON, range after range and nothing else: what node and parser
  alone cost on this machine, at this moment;
- the watcher's whole way, which also decodes every log and folds what concerns its operator
  (nothing does here);
- web3.py.

Every round measures the first three, for others may use the machine; the best of each counts. At
the end the chain is reorganised and the store follows.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address
from web3 import HTTPProvider, Web3

from oracle.chain import artifacts, logs
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.bindings.inference_market import Delivered, Finalized, Requested
from oracle.chain.contract import Call
from oracle.chain.reorg import common_block
from oracle.chain.rpc import Rpc, quantity
from oracle.chain.scan import Scanner
from oracle.chain.transactions import Fees, sign
from oracle.operator.follower import Follower
from oracle.protocol.records import pack_request
from oracle.store import Store, StoredLog
from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    Amount,
    Assurance,
    BlockRef,
    Contracts,
    Request,
    Terms,
    Timestamp,
)

LOGS = 42_000
LIVES_PER_BLOCK = 14
PER_BLOCK = 3 * LIVES_PER_BLOCK  # logs
WEB3_LOGS = 4_200  # its rate does not depend on the number
KEPT_BLOCKS = 512
REORG = 5  # blocks
ROUNDS = 5
BARE_SPAN = 128  # blocks to a question, about what the scanner comes to
GOAL = 50_000  # events per second
LOGGER = Address("0x00000000000000000000000000000000000010c5")
GAS_PER_LOG = 6_000


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured."""

    logs: int
    blocks: int
    ours_per_second: float
    bare_per_second: float  # fetched and read as JSON, nothing else
    watcher_per_second: float  # indexed, every log decoded, jobs folded
    ours_decoding_per_second: float
    web3_decoding_per_second: float
    web3_per_second: float  # fetching and decoding, without a store
    reorg_seconds: float  # to notice a reorg of REORG blocks, rewind and read again


def measure(count: int = LOGS) -> Result:
    """Fill a chain, index it, decode it with both, reorganise it."""
    with (
        Anvil(extra=("--gas-limit", "1000000000")) as anvil,
        tempfile.TemporaryDirectory() as folder,
    ):
        _fill(anvil.rpc, count)
        scanner = Scanner(anvil.rpc, [LOGGER])
        head = scanner.head()
        rates: list[tuple[float, ...]] = []
        for attempt in range(ROUNDS):
            store, watched = (
                Store.open(f"sqlite:///{Path(folder) / f'{name}{attempt}.db'}")
                for name in ("store", "watched")
            )
            rates.append(
                (
                    _rate(count, partial(follow, Scanner(anvil.rpc, [LOGGER]), store)),
                    _rate(count, partial(bare, anvil.rpc, head)),
                    _rate(count, partial(_follow_all, _watcher(anvil.rpc, watched))),
                )
            )
            watched.close()
        with store.read() as tx:
            kept = tx.logs_above(-1)
        ours_decoding = max(_rate(count, lambda: len(logs.decode_all(kept))) for _ in range(ROUNDS))
        web3_decoding, web3_all = (
            max(found)
            for found in zip(*[_web3(anvil.url, head) for _ in range(ROUNDS)], strict=True)
        )

        with store.read() as tx:
            lost = len(tx.logs_above(head - REORG))
        anvil.rpc.call("anvil_reorg", REORG, [])
        began = time.perf_counter()
        follow(scanner, store)
        reorg = time.perf_counter() - began
        with store.read() as tx:
            left = len(tx.logs_above(-1))
        assert left == count - lost < count, (left, lost)
        store.close()
    ours, bare_rate, watcher = (max(found) for found in zip(*rates, strict=True))
    return Result(
        count, head, ours, bare_rate, watcher, ours_decoding, web3_decoding, web3_all, reorg
    )


def follow(scanner: Scanner, store: Store) -> int:
    """Bring the store up to the head, rewinding first where the chain was changed."""
    with store.read() as tx:
        known = tx.blocks()
    parent: BlockRef | None = known[0] if known else None
    if parent is not None and not scanner.has(parent):
        parent = common_block(scanner, known)
        with store.begin() as tx:
            tx.rewind(parent.number if parent else -1)
    indexed = 0
    for chunk in scanner.scan(parent.number + 1 if parent else 0, scanner.head(), parent):
        with store.begin() as tx:
            indexed += len(tx.add_logs([StoredLog(log, *logs.keys(log)) for log in chunk.logs]))
            tx.add_blocks(chunk.blocks)
            tx.prune_blocks(KEPT_BLOCKS)
            tx.set_cursor(chunk.end)
    return indexed


def bare(rpc: Rpc, head: int) -> int:
    """Fetch the logs and read them as JSON, and do nothing about them."""
    found = 0
    for start in range(0, head + 1, BARE_SPAN):
        end = min(start + BARE_SPAN - 1, head)
        question = {"address": [LOGGER], "fromBlock": hex(start), "toBlock": hex(end)}
        found += len(rpc.call("eth_getLogs", question))
    return found


def _watcher(rpc: Rpc, store: Store) -> Follower:
    """Return what the watcher follows the chain with, for an operator whom nobody asked."""
    places: dict[str, Any] = {field.name: LOGGER for field in fields(Contracts)}
    everywhere = Contracts(**places | {"chain_id": 31337, "deployed_at": 0})
    stranger = Address(Account.from_key(b"\x02" * 32).address)
    return Follower(Scanner(rpc, [LOGGER]), store, stranger, everywhere)


def _follow_all(follower: Follower) -> int:
    return follower.follow().logs


def _rate(count: int, work: Callable[[], int]) -> float:
    """Return events per second of work that must bring `count` of them."""
    began = time.perf_counter()
    found = work()
    took = time.perf_counter() - began
    assert found == count, (found, count)
    return count / took


def _web3(url: str, head: int) -> tuple[float, float]:
    """Return web3.py's (decoded logs per second, the same with fetching)."""
    w3 = Web3(HTTPProvider(url))
    events = w3.eth.contract(abi=artifacts.load("InferenceMarket").abi).events
    readers = {
        bytes(logs.topic_of(kind)): getattr(events, kind.__name__)()
        for kind in (Requested, Delivered, Finalized)
    }
    began = time.perf_counter()
    last = min(head, WEB3_LOGS // PER_BLOCK)
    raw: Sequence[Any] = w3.eth.get_logs(
        {"address": to_checksum_address(LOGGER), "fromBlock": 0, "toBlock": last}
    )
    fetched = time.perf_counter()
    for log in raw:
        readers[bytes(log["topics"][0])].process_log(log)
    done = time.perf_counter()
    return len(raw) / (done - fetched), len(raw) / (done - began)


def _fill(rpc: Rpc, count: int) -> None:
    """Put `count` logs on the chain, PER_BLOCK to a block."""
    rpc.call("anvil_setCode", LOGGER, "0x" + _logger_code().hex())
    body = pack_request(_request())
    account: Any = dev_account(0)
    fees, gas = Fees(10**12, 10**9), PER_BLOCK * GAS_PER_LOG + 100_000
    call = Call(LOGGER, LIVES_PER_BLOCK.to_bytes(32) + body)
    blocks = count // PER_BLOCK
    for nonce in range(blocks):
        raw = sign(account, 31337, nonce, call.to, call.data, 0, gas, fees)
        rpc.call("eth_sendRawTransaction", "0x" + raw.hex())  # mined at once, mostly alone
    while quantity(rpc.call("eth_getTransactionCount", account.address, "latest")) < blocks:
        time.sleep(0.05)


def _logger_code() -> bytes:
    """Return code that logs calldata[0] lives; the 256 bytes that follow are their request."""
    request_id = "436040 1b17"  # NUMBER << 64 | (what is on the stack)
    start = bytes.fromhex(
        "6101006020600037"  # CALLDATACOPY(0, 32, 256)
        "600035"  # i = CALLDATALOAD(0)
    )
    body = bytes.fromhex(
        f"33600182{request_id}7f{logs.topic_of(Requested).hex()}"  # caller, model 1, id, topic
        "6101006000a4"  # LOG4(0, 256, …)
        f"3381{request_id}7f{logs.topic_of(Delivered).hex()}"  # caller, id, topic
        "60606060a3"  # LOG3(96, 96, …)
        f"3381{request_id}7f{logs.topic_of(Finalized).hex()}"
        "60806060a3"  # LOG3(96, 128, …)
        "60019003"  # i = i - 1
    )
    loop = len(start)
    end = loop + 7 + len(body) + 3
    head = bytes([0x5B, 0x80, 0x15, 0x61, *end.to_bytes(2), 0x57])  # loop: if i == 0 goto end
    return start + head + body + bytes([0x60, loop, 0x56, 0x5B, 0x00])  # goto loop; end: stop


def _request() -> Request:
    account = Address(Account.from_key(b"\x01" * 32).address)
    return Request(
        model_id=1,
        version=1,
        lane=3,
        nonce=4,
        requester=account,
        operator=account,
        priority_until=Timestamp(1_700_000_000),
        expires_at=Timestamp(1_700_003_600),
        consumer=ZERO_ADDRESS,
        callback_gas=0,
        input_root=ZERO32,
        input_cid=ZERO32,
        params=ZERO32,
        envelope=ZERO32,
        terms=Terms(Amount(50_000), 8000, 500, 2, 3600, 1000, Assurance.COMMITTEE),
    )


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report one line per figure."""
    result = measure()
    report(f"{'events/s into SQLite':28} {result.ours_per_second:>9,.0f}   goal ≥ {GOAL:,}")
    report(f"{'  fetch + JSON alone':28} {result.bare_per_second:>9,.0f}")
    report(f"{'  whole watcher, decoding':28} {result.watcher_per_second:>9,.0f}")
    report(f"{'  decoded, ours':28} {result.ours_decoding_per_second:>9,.0f}")
    report(f"{'  decoded, web3.py':28} {result.web3_decoding_per_second:>9,.0f}")
    report(f"{'  fetch + decode, web3.py':28} {result.web3_per_second:>9,.0f}")
    report(f"{'  reorg followed, seconds':28} {result.reorg_seconds:>9.3f}")
    ours = result.ours_per_second
    return asdict(result) | {
        "goal": GOAL,
        "of_bare": ours / result.bare_per_second,
        "times_web3": ours / result.web3_per_second,
        "counted": "logs committed to SQLite with block hashes and cursor, ranges checked for "
        "reorganisations; best of rounds",
    }


if __name__ == "__main__":
    run(print, Path("build/bench"))
