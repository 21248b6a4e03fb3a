"""Nodes that lag, leave logs out, add some, or refuse what is asked: over HTTP, through `Rpc`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from urllib3 import exceptions

from oracle.chain.blocks import Blocks, LogsMissing
from oracle.chain.memory import MemoryNode
from oracle.chain.rpc import Rpc, RpcBusy, RpcError, RpcMalformed, RpcUnavailable
from oracle.chain.scan import Scanner
from oracle.types import Bytes32
from tests.chain.test_scan import ELSEWHERE, HERE, OTHER, TOPIC, log, numbers
from tests.support.answering import (
    REFUSALS,
    Answering,
    Refused,
    Response,
    answered,
    answered_each,
)

Answer = Callable[[str, list[Any], Callable[[], Any]], Any]


def scanner_over(node: MemoryNode, answer: Answer, *, kept: int = 0, **more: Any) -> Scanner:
    """Return a scanner whose node answers through `answer(method, params, do)`."""

    def result(method: str, params: list[Any]) -> Any:
        return answer(method, params, lambda: node.call(method, *params))

    answering = Answering(lambda body: answered_each(body, result))
    rpc = Rpc("http://node", attempts=1, http=answering)
    blocks = Blocks(rpc, kept, pause=lambda _: None)
    return Scanner(rpc, [HERE], [TOPIC], blocks=blocks, **more)


def chain(logs: int, gap: int = 0) -> MemoryNode:
    """Return a chain with a log in every block, or with empty blocks between."""
    node = MemoryNode()
    for number in range(logs):
        node.emit(log(number, ELSEWHERE), log(number))
        node.mine(gap)
    return node


def everything(scanner: Scanner) -> list[int]:
    return numbers(list(scanner.scan(1, scanner.head())))


def size(params: list[Any]) -> int:
    """Return the blocks of a range, 0 of a question by hash."""
    asked = params[0]
    return int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) + 1 if "toBlock" in asked else 0


# ── Left out ────────────────────────────────────────────────────────────────────────────────────
def test_scan__hash_that_the_node_lacks_answered_empty_once__asked_again() -> None:
    seen: set[str] = set()

    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        if method == "eth_getLogs" and str(params) not in seen:
            seen.add(str(params))
            return []
        return do()

    assert everything(scanner_over(chain(50), answer)) == list(range(50))


@pytest.mark.parametrize("checked", [16, 1024])
def test_scan__range_from_a_node_far_behind__asked_again(checked: int) -> None:
    """go-ethereum#24078: a range is answered up to the node's own head."""
    asked = 0

    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        nonlocal asked
        if method == "eth_getLogs" and size(params) > 1:
            asked += 1
            if asked % 3:
                return [one for one in do() if int(one["blockNumber"], 16) < 300]
        return do()

    assert everything(scanner_over(chain(200, gap=2), answer, checked=checked)) == list(range(200))


def test_scan__deep_range_from_a_node_without_its_end__read_smaller() -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        if method == "eth_blockNumber" and asked_for_range:
            return hex(100)
        return do()

    node, asked_for_range = chain(200, gap=2), []
    scanner = scanner_over(node, answer, checked=16)
    head = scanner.head()
    asked_for_range.append(True)
    assert numbers(list(scanner.scan(1, head))) == list(range(200))


@pytest.mark.parametrize("left_out", [slice(1, None), slice(0, -1), slice(0, 0)])
def test_scan__logs_left_out_of_every_range__read_by_block(left_out: slice) -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        return do()[left_out] if method == "eth_getLogs" and size(params) else do()

    node = MemoryNode()
    for three in (range(n, n + 3) for n in range(0, 90, 3)):
        node.emit(*[replace(log(n), topics=(TOPIC, Bytes32(n.to_bytes(32)))) for n in three])
    assert everything(scanner_over(node, answer)) == list(range(90))


def test_scan__logs_left_out_of_every_answer__logs_missing_with_the_block() -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        return [] if method == "eth_getLogs" else do()

    with pytest.raises(LogsMissing, match=r"block 1\b"):
        everything(scanner_over(chain(50), answer))


def test_scan__logs_only_by_contract__two_answers_from_nodes_that_have_the_block() -> None:
    behind = iter(range(10**6))

    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        if method == "eth_getBlockByHash":
            return do() if next(behind) % 7 else None
        if method == "eth_getLogs" and "address" not in params[0]:
            raise RpcError(-32602, "Please specify an address in your request")
        return do()

    assert everything(scanner_over(chain(21), answer)) == list(range(21))


# ── Added ───────────────────────────────────────────────────────────────────────────────────────
def _other_block(found: list[Any]) -> list[Any]:
    return [*found, found[0] | {"blockHash": "0x" + "77" * 32, "logIndex": "0x77"}]


def _other_number(found: list[Any]) -> list[Any]:
    return [one | {"blockNumber": "0x7777"} for one in found]


def _other_contract(found: list[Any]) -> list[Any]:
    return [*found, found[-1] | {"address": ELSEWHERE, "logIndex": "0x77"}]


def _other_topic(found: list[Any]) -> list[Any]:
    return [*found, found[-1] | {"topics": ["0x" + OTHER.hex()], "logIndex": "0x77"}]


def _twice(found: list[Any]) -> list[Any]:
    return [one for one in found for _ in range(2)]


def _invented(found: list[Any]) -> list[Any]:
    topics = ["0x" + TOPIC.hex(), "0x" + "99" * 32]
    return [*found, found[-1] | {"topics": topics, "logIndex": "0x77"}]


def _removed(found: list[Any]) -> list[Any]:
    return [one | {"removed": True} for one in found]


ADDED = [_other_number, _other_contract, _other_topic, _twice, _removed]


@pytest.mark.parametrize(
    ("change", "checked"),
    [(one, 1024) for one in (*ADDED, _other_block, _invented)] + [(one, 16) for one in ADDED],
)
def test_scan__logs_that_were_not_asked_for__never_taken(
    change: Callable[[list[Any]], list[Any]], checked: int
) -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        found = do()
        if method == "eth_getLogs" and found and ("toBlock" in params[0]):
            return change(found)
        return found

    scanner = scanner_over(chain(150, gap=2), answer, checked=checked)
    assert everything(scanner) == list(range(150))


@pytest.mark.parametrize("change", [_other_number, _twice, _invented, _removed])
def test_scan__such_logs_in_every_answer__logs_missing(
    change: Callable[[list[Any]], list[Any]],
) -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        return change(do()) if method == "eth_getLogs" and do() else do()

    with pytest.raises(LogsMissing):
        everything(scanner_over(chain(5), answer))


def test_scan__logs_in_reverse_order__in_the_order_of_the_chain() -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        return do()[::-1] if method == "eth_getLogs" else do()

    assert everything(scanner_over(chain(50), answer)) == list(range(50))


def test_scan__header_of_another_number__malformed() -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        return do() | {"number": "0x7"} if method == "eth_getBlockByNumber" else do()

    with pytest.raises(RpcMalformed, match="block 7 instead of"):
        everything(scanner_over(chain(1), answer))


# ── Refused ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("checked", [16, 1024])
@pytest.mark.parametrize("limit", [1, 10, 100])
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: f"{r[0]} {r[1]} {r[2][:12]}")
def test_scan__large_ranges_refused__complete_and_learnt(
    refusal: tuple[int, int, str], limit: int, checked: int
) -> None:
    asked: list[int] = []

    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        if method == "eth_getLogs" and size(params):
            asked.append(size(params))
            if size(params) > limit:
                raise Refused(*refusal)
        return do()

    scanner = scanner_over(chain(100, gap=2), answer, checked=checked)
    assert everything(scanner) == list(range(100))
    assert sum(one > limit for one in asked) < 20
    assert max(one for one in asked if one <= limit) >= limit * 0.7  # and no smaller than it takes


def test_scan__limit_of_a_while_ago__ranges_grow_again() -> None:
    limit = [3]

    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        if method == "eth_getLogs" and size(params) > limit[0]:
            raise Refused(200, -32005, "limit exceeded")
        return do()

    node = MemoryNode()
    node.mine(2_000)
    scanner = scanner_over(node, answer)
    list(scanner.scan(1, 300))
    limit[0] = 10**9
    chunks = list(scanner.scan(301, 2_000))
    assert max(chunk.end - chunk.start + 1 for chunk in chunks) >= 128


@pytest.mark.parametrize("most", [0, 1, 20])
def test_look_and_scan__node_takes_few_calls_a_batch__complete(most: int) -> None:
    node = chain(150)

    def handle(body: Any) -> Response:
        if isinstance(body, list) and len(body) > most:
            error = {"code": -32600, "message": "batch too large"}
            return answered({"jsonrpc": "2.0", "id": None, "error": error})
        return answered_each(body, lambda method, params: node.call(method, *params))

    rpc = Rpc("http://node", attempts=1, http=Answering(handle))
    scanner = Scanner(rpc, [HERE])
    assert scanner.look(31337, None) == (150, False)
    assert everything(scanner) == list(range(150))


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: f"{r[0]} {r[1]} {r[2][:12]}")
def test_scan__even_one_block_refused__the_node_s_words(refusal: tuple[int, int, str]) -> None:
    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        if method == "eth_getLogs":
            raise Refused(*refusal)
        return do()

    with pytest.raises((RpcError, RpcBusy, RpcMalformed)) as caught:
        everything(scanner_over(chain(5), answer))
    assert refusal[2] in str(caught.value) or str(refusal[0]) in str(caught.value)


def test_scan__nobody_listens__one_question() -> None:
    posted = 0

    def handle(_: Any) -> Response:
        nonlocal posted
        posted += 1
        raise exceptions.NewConnectionError(None, "refused")

    rpc = Rpc("http://node", attempts=1, http=Answering(handle))
    with pytest.raises(RpcUnavailable):
        list(Scanner(rpc, [HERE]).scan(1, 1000))
    assert posted == 1


# ── Headers that are kept ───────────────────────────────────────────────────────────────────────
def test_scan__same_blocks_again__one_header_is_read() -> None:
    asked: list[str] = []

    def answer(method: str, params: list[Any], do: Callable[[], Any]) -> Any:
        asked.append(method)
        return do()

    node = chain(100)
    scanner = scanner_over(node, answer, kept=128)
    everything(scanner)
    asked.clear()
    assert everything(scanner) == list(range(100))
    assert asked.count("eth_getBlockByNumber") == 1
    node.emit(log(100))
    asked.clear()
    assert everything(scanner) == list(range(101))
    assert asked.count("eth_getBlockByNumber") == 2


@pytest.mark.parametrize("depth", [1, 5, 99])
def test_scan__reorg_since__kept_headers_are_forgotten(depth: int) -> None:
    node = chain(100)
    scanner = scanner_over(node, lambda method, params, do: do(), kept=128)
    everything(scanner)
    node.reorg(depth)
    assert everything(scanner) == list(range(100 - depth))
    node.emit(log(777))
    assert everything(scanner) == [*range(100 - depth), 777]
