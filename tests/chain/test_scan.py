"""Scanning and reorgs, on a chain in memory."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from oracle.chain.blocks import Reorganised
from oracle.chain.memory import MemoryNode
from oracle.chain.reorg import common_block
from oracle.chain.rpc import RpcError, RpcMalformed, RpcTimeout, RpcUnavailable
from oracle.chain.scan import DENSE, Chunk, Scanner
from oracle.types import Address, BlockRef, Bytes32, Log

HERE = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
ELSEWHERE = Address("0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512")
TOPIC, OTHER = Bytes32(b"\x01" * 32), Bytes32(b"\x02" * 32)


def log(number: int, address: Address = HERE, topic: Bytes32 = TOPIC) -> Log:
    """A log whose data is a number; its position is set by the chain."""
    return Log(address, (topic,), number.to_bytes(32), 0, Bytes32(b""), Bytes32(b""), 0)


def numbers(chunks: Sequence[Chunk]) -> list[int]:
    return [int.from_bytes(entry.data) for chunk in chunks for entry in chunk.logs]


class Limited(MemoryNode):
    """A node that refuses ranges above a size, as public ones do."""

    limit = 100
    error: Exception = RpcError(-32000, "query returned more than 10000 results")
    asked: list[int]

    def call(self, method: str, *params: Any) -> Any:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            size = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
            self.asked = [*getattr(self, "asked", []), size]
            if size > self.limit:
                raise self.error
        return super().call(method, *params)


class Turning(MemoryNode):
    """A node that reorganises after a number of calls."""

    after = 0
    depth = 1

    def call(self, method: str, *params: Any) -> Any:
        answer = super().call(method, *params)
        self.after -= 1
        if self.after == 0:
            self.reorg(self.depth)
        return answer


# ── Failures ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "error", [RpcError(-32000, "too much"), RpcTimeout("slow"), RpcMalformed("cut off")]
)
def test_scan__even_a_single_block_is_refused__the_error(error: Exception) -> None:
    node = Limited()
    node.error, node.limit = error, 0
    node.mine(200)
    with pytest.raises(type(error)):
        list(Scanner(node, [HERE]).scan(0, 200))
    assert node.asked[-1] == 1


def test_scan__node_is_away__no_smaller_ranges_tried() -> None:
    node = Limited()
    node.error, node.limit = RpcUnavailable("gone"), 0
    node.mine(200)
    with pytest.raises(RpcUnavailable):
        list(Scanner(node, [HERE]).scan(0, 200))
    assert len(node.asked) == 1


def test_scan__beyond_the_head__reorganised() -> None:
    node = MemoryNode()
    node.mine(5)
    with pytest.raises(Reorganised, match="block 6"):
        list(Scanner(node, [HERE]).scan(3, 6))


def test_scan__does_not_stand_on_the_known_parent__reorganised_before_a_chunk() -> None:
    node = MemoryNode()
    node.mine(100)
    scanner = Scanner(node, [HERE])
    parent = scanner.block(10)
    node.reorg(95)
    with pytest.raises(Reorganised):
        next(scanner.scan(11, 100, parent))


@pytest.mark.parametrize("depth", [1, 5, 40, 99])
@pytest.mark.parametrize("after", range(1, 16))
def test_scan__reorg_between_any_two_calls__never_two_histories(after: int, depth: int) -> None:
    node = Turning()
    for number in range(100):
        node.emit(log(number))
    node.after, node.depth = after, depth
    scanner = Scanner(node, [HERE])
    chunks: list[Chunk] = []
    try:
        for chunk in scanner.scan(1, 100):
            chunks.append(chunk)
    except Reorganised:
        pass
    known: list[BlockRef] = [block for chunk in chunks for block in chunk.blocks]
    for chunk in chunks:
        by_number = {block.number: block.hash for block in chunk.blocks}
        for entry in chunk.logs:
            assert by_number.get(entry.block_number, entry.block_hash) == entry.block_hash
    common = common_block(scanner, known[::-1])
    start = common.number if common else 0
    kept = [e for chunk in chunks for e in chunk.logs if e.block_number <= start]
    again = list(scanner.scan(start + 1, 100, common))
    everything = [int.from_bytes(e.data) for e in kept] + numbers(again)
    node.after = 0
    assert everything == numbers(list(Scanner(node, [HERE]).scan(1, 100)))


# ── Ranges ──────────────────────────────────────────────────────────────────────────────────────
def test_scan__range_limit_of_the_node__halved_until_it_fits_and_complete() -> None:
    node = Limited()
    for number in range(500):
        node.emit(log(number))
    assert numbers(list(Scanner(node, [HERE]).scan(1, 500))) == list(range(500))
    assert max(node.asked[5:]) <= 200  # it doubles when fast, and learns


def test_scan__fast_node__ranges_grow() -> None:
    node = MemoryNode()
    node.mine(8000)
    chunks = list(Scanner(node, [HERE]).scan(0, 8000))
    sizes = [chunk.end - chunk.start + 1 for chunk in chunks]
    assert sizes[:4] == [128, 256, 512, 1024]


def test_scan__slow_node__ranges_shrink() -> None:
    ticks = iter(range(0, 10**6, 5))
    node = MemoryNode()
    node.mine(3000)
    chunks = list(Scanner(node, [HERE], clock=lambda: next(ticks)).scan(0, 3000))
    sizes = [chunk.end - chunk.start + 1 for chunk in chunks]
    assert sizes[:3] == [128, 64, 32]


def test_scan__ranges__consecutive_and_complete() -> None:
    node = MemoryNode()
    node.mine(3000)
    chunks = list(Scanner(node, [HERE]).scan(17, 2999))
    assert chunks[0].start == 17
    assert chunks[-1].end == 2999
    assert all(b.start == a.end + 1 for a, b in itertools.pairwise(chunks))
    assert all(chunk.blocks[-1].number == chunk.end for chunk in chunks)


def test_scan__near_the_end__every_block_is_there() -> None:
    node = MemoryNode()
    node.mine(300)
    blocks = [b.number for c in Scanner(node, [HERE]).scan(0, 300) for b in c.blocks]
    assert blocks[-DENSE:] == list(range(301 - DENSE, 301))


def test_scan__start_above_end__nothing() -> None:
    assert list(Scanner(MemoryNode(), [HERE]).scan(1, 0)) == []


def test_scan__other_contracts_and_events__left_out() -> None:
    node = MemoryNode()
    node.emit(log(1), log(2, ELSEWHERE), log(3, topic=OTHER), log(4))
    node.mine(DENSE + 5)
    scanner = Scanner(node, [HERE], [TOPIC])
    assert numbers(list(scanner.scan(0, scanner.head()))) == [1, 4]


# ── Reorg ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("depth", [0, 1, 2, 9, 10])
@pytest.mark.parametrize("step", [1, 3])
def test_common_block__reorg_of_a_depth__newest_block_still_there(depth: int, step: int) -> None:
    node = MemoryNode()
    node.mine(10)
    scanner = Scanner(node, [HERE])
    known = [block for n in range(10, 0, -step) if (block := scanner.block(n))]
    if depth:
        node.reorg(depth)
    expected = next((b for b in known if b.number <= 10 - depth), None)
    assert common_block(scanner, known) == expected


def test_common_block__nothing_known__none() -> None:
    assert common_block(Scanner(MemoryNode(), []), []) is None


def test_has__same_number_other_block__false() -> None:
    node = MemoryNode()
    node.mine(3)
    scanner = Scanner(node, [HERE])
    block = scanner.block(3)
    assert block is not None
    assert scanner.has(block)
    node.reorg(1)
    assert not scanner.has(block)
    assert scanner.block(4) is None
