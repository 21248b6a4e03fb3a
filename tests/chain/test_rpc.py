"""JSON-RPC over HTTP: what is retried, what is refused, and how a broken answer is named."""

from collections.abc import Callable
from typing import Any

import pytest
from urllib3 import exceptions

from oracle.chain.rpc import (
    Rpc,
    RpcError,
    RpcMalformed,
    RpcTimeout,
    RpcUnavailable,
    WrongChain,
    block_param,
    hexbytes,
    quantity,
)
from oracle.errors import ConfigInvalid, PermanentError, TransientError
from tests.support.answering import Answering, Response, answered

SECRET = "http://user:hunter2@node.example:8545/v3/api-key"


def rpc_over(answer: Callable[[Any], Response], attempts: int = 3) -> tuple[Rpc, list[Any]]:
    """Return a client whose network is a function, and the list of what was posted."""
    http = Answering(answer)
    return Rpc(SECRET, attempts=attempts, backoff=0.0, http=http), http.posted


def ok(result: Any) -> Callable[[Any], Response]:
    return lambda body: answered({"id": body["id"], "result": result})


# ── Failures ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("url", ["", "node:8545", "ws://node", "ftp://node", "http://"])
def test_rpc__not_an_http_url__refused(url: str) -> None:
    with pytest.raises(ConfigInvalid):
        Rpc(url)


@pytest.mark.parametrize(
    "response",
    [
        (200, b""),
        (200, b"<html>gateway</html>"),
        (200, b'{"id": 0, "resu'),
        (200, b"\xff\xfe\x00"),
        answered(None),
        answered(17),
        answered([{"id": 0, "result": "0x1"}]),
        answered({}),
        answered({"id": 0}),
        answered({"id": 7, "result": "0x1"}),
        answered({"id": 0, "error": "no"}),
        answered({"id": 0, "error": {"message": "no code"}}),
        (404, b"not found"),
    ],
)
def test_call__malformed_answer__rpc_malformed_after_all_attempts(response: Response) -> None:
    rpc, posted = rpc_over(lambda _: response, attempts=2)
    with pytest.raises(RpcMalformed) as caught:
        rpc.call("eth_blockNumber")
    assert isinstance(caught.value, TransientError)
    assert len(posted) == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_call__server_trouble__rpc_unavailable(status: int) -> None:
    rpc, posted = rpc_over(lambda _: (status, b""))
    with pytest.raises(RpcUnavailable):
        rpc.call("eth_blockNumber")
    assert len(posted) == 3


def test_call__limit_exceeded__rpc_unavailable() -> None:
    error = {"code": -32005, "message": "daily request count exceeded"}
    rpc, _ = rpc_over(lambda body: answered({"id": 0, "error": error}))
    with pytest.raises(RpcUnavailable, match="daily request count"):
        rpc.call("eth_getLogs", {})


def test_call__no_answer_in_time__rpc_timeout_without_repeat() -> None:
    def slow(_: Any) -> Response:
        raise exceptions.ReadTimeoutError(None, SECRET, "slow")

    rpc, posted = rpc_over(slow)
    with pytest.raises(RpcTimeout):
        rpc.call("eth_getLogs", {})
    assert len(posted) == 1


def test_call__node_refuses__rpc_error_at_once_with_code_and_data() -> None:
    error = {"code": 3, "message": "execution reverted", "data": "0x1234"}
    rpc, posted = rpc_over(lambda _: answered({"id": 0, "error": error}))
    with pytest.raises(RpcError) as caught:
        rpc.call("eth_call", {})
    assert (caught.value.code, caught.value.data) == (3, "0x1234")
    assert isinstance(caught.value, PermanentError)
    assert len(posted) == 1


@pytest.mark.parametrize("method", ["eth_sendRawTransaction", "evm_mine", "anvil_reorg"])
def test_call__sending_method_fails__never_repeated(method: str) -> None:
    rpc, posted = rpc_over(lambda _: (502, b""))
    with pytest.raises(RpcUnavailable):
        rpc.call(method, "0x")
    assert len(posted) == 1


def test_call__any_failure__secrets_of_the_url_stay_out_of_the_message() -> None:
    def refuse(_: Any) -> Response:
        raise exceptions.HTTPError("cannot connect to " + SECRET)

    rpc, _ = rpc_over(refuse)
    with pytest.raises(RpcUnavailable) as caught:
        rpc.call("eth_blockNumber")
    assert "node.example:8545" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "api-key" not in str(caught.value)


def test_batch__an_answer_is_missing__rpc_malformed() -> None:
    rpc, _ = rpc_over(lambda body: answered([{"id": 0, "result": 1}]))
    with pytest.raises(RpcMalformed):
        rpc.batch([("a",), ("b",)])


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "refusal",
    [
        answered({"id": None, "error": {"code": -32600, "message": "too large"}}),
        answered({"id": None, "error": {"code": -32005, "message": "limit"}}),
        answered([]),
        answered({"message": "batches are for paying customers"}, 400),
        (413, b"<html>Request Entity Too Large</html>"),
        (429, b""),
        (503, b""),
        exceptions.ProtocolError("hung up"),
    ],
)
def test_batch__node_takes_few_calls_at_once__all_answered_in_order(
    refusal: Any, most: int
) -> None:
    def few(body: Any) -> Response:
        if isinstance(body, dict):
            return answered({"id": body["id"], "result": body["method"]})
        if len(body) > most or most == 1:
            if isinstance(refusal, Exception):
                raise refusal
            return refusal
        return answered([{"id": e["id"], "result": e["method"]} for e in body])

    rpc, posted = rpc_over(few, attempts=1)
    names = [str(n) for n in range(40)]
    assert rpc.batch([(name,) for name in names]) == names
    posted.clear()
    assert rpc.batch([(name,) for name in names]) == names
    refused = [body for body in posted if isinstance(body, list) and len(body) > most]
    assert len(refused) <= 3  # it has learnt


def test_batch__refused_down_to_one_call__the_error_in_its_place() -> None:
    error = {"code": -32600, "message": "not here"}
    rpc, _ = rpc_over(lambda _: answered({"id": None, "error": error}))
    assert [str(found) for found in rpc.batch([("a",), ("b",)])] == [
        "the node refused: not here (code -32600)"
    ] * 2


def test_batch__no_server__not_asked_in_smaller_parts() -> None:
    def refuse(_: Any) -> Response:
        raise exceptions.NewConnectionError(None, "refused")

    rpc, posted = rpc_over(refuse, attempts=1)
    with pytest.raises(RpcUnavailable):
        rpc.batch([("a",)] * 64)
    assert len(posted) == 1


def test_batch__sending_method_is_refused__never_sent_in_parts() -> None:
    error = {"code": -32600, "message": "batch too large"}
    rpc, posted = rpc_over(lambda _: answered({"id": None, "error": error}))
    with pytest.raises(RpcError, match="batch too large"):
        rpc.batch([("eth_sendRawTransaction", "0x"), ("eth_blockNumber",)])
    assert len(posted) == 1


def test_expect_chain__other_chain__names_both() -> None:
    rpc, _ = rpc_over(ok("0x1"))
    with pytest.raises(WrongChain, match=r"chain 1\b.* chain 31337"):
        rpc.expect_chain(31337)


@pytest.mark.parametrize("value", [None, "", "0x", "ten", {}, 1.5])
def test_quantity__no_number__rpc_malformed(value: Any) -> None:
    with pytest.raises(RpcMalformed):
        quantity(value)


@pytest.mark.parametrize("value", [None, "", "00", "0x0", "0xzz", 7])
def test_hexbytes__no_bytes__rpc_malformed(value: Any) -> None:
    with pytest.raises(RpcMalformed):
        hexbytes(value)


def test_hexbytes__other_size__rpc_malformed() -> None:
    with pytest.raises(RpcMalformed, match="31 bytes where 32"):
        hexbytes("0x" + "00" * 31, 32)


# ── Successes ───────────────────────────────────────────────────────────────────────────────────
def test_call__fails_once_then_answers__result() -> None:
    answers = iter([(502, b""), answered({"id": 0, "result": "0x10"})])
    rpc, posted = rpc_over(lambda _: next(answers))
    assert rpc.call("eth_blockNumber") == "0x10"
    assert posted[0] == posted[1]


def test_call__null_result__none() -> None:
    rpc, _ = rpc_over(ok(None))
    assert rpc.call("eth_getTransactionReceipt", "0x") is None


def test_batch__answers_out_of_order__results_in_order_errors_in_place() -> None:
    def shuffled(body: list[Any]) -> Response:
        answers = [{"id": e["id"], "result": e["method"]} for e in body if e["method"] != "bad"]
        refused = {"code": -32601, "message": "no such method"}
        return answered([*reversed(answers), {"id": 1, "error": refused}])

    rpc, _ = rpc_over(shuffled)
    first, second, third = rpc.batch([("a",), ("bad",), ("c", 1)])
    assert (first, third) == ("a", "c")
    assert isinstance(second, RpcError)


def test_batch__nothing_asked__nothing_sent() -> None:
    rpc, posted = rpc_over(ok(None))
    assert rpc.batch([]) == []
    assert posted == []


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (0, "0x0"),
        (255, "0xff"),
        ("latest", "latest"),
        (b"\x01" * 32, {"blockHash": "0x" + "01" * 32, "requireCanonical": True}),
    ],
)
def test_block_param__number_tag_hash__as_in_eip_1898(block: Any, expected: Any) -> None:
    assert block_param(block) == expected
