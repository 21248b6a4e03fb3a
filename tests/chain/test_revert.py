"""Revert data to sentences."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from oracle.chain import artifacts, codec, revert
from oracle.chain.rpc import RpcError
from oracle.errors import Refused

ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
REQUEST = bytes(range(32))
NOW = 1_700_000_000


def data(signature: str, *values: Any) -> bytes:
    types = signature.partition("(")[2][:-1]
    return keccak(text=signature)[:4] + encode(types.split(",") if types else [], values)


def say(signature: str, *values: Any) -> revert.ContractError:
    return revert.decode(data(signature, *values), clock=lambda: NOW)


# ── Failures: what is not ours, or broken ───────────────────────────────────────────────────────
@pytest.mark.parametrize("raw", [b"", b"\x01", b"\xde\xad\xbe\xef", b"\xde\xad\xbe\xef" * 40])
def test_decode__unknown_data__still_an_error_with_a_hint(raw: bytes) -> None:
    error = revert.decode(raw)
    assert isinstance(error, Refused)
    assert error.name == ""
    assert error.hint


def test_decode__arguments_cut_off__names_the_error() -> None:
    error = revert.decode(data("GrantMissing(uint256,address)", 1, ALICE)[:-1])
    assert error.name == "GrantMissing"
    assert "unreadable" in str(error)


def test_decode__error_without_a_sentence__name_and_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(revert.SENTENCES, "ModelUnknown")
    error = revert.decode(data("ModelUnknown(uint256)", 7))
    assert str(error) == "The contract refused: ModelUnknown {'modelId': 7}."


def test_from_rpc__no_revert__none() -> None:
    assert revert.from_rpc(RpcError(-32000, "header not found")) is None


@pytest.mark.parametrize(
    "error",
    [
        RpcError(3, "execution reverted"),
        RpcError(-32000, "execution reverted"),
        RpcError(3, "execution reverted", "0xnonsense"),
        RpcError(3, "execution reverted", {"unexpected": 1}),
    ],
)
def test_from_rpc__revert_without_usable_data__no_reason(error: RpcError) -> None:
    found = revert.from_rpc(error)
    assert found is not None
    assert "no reason" in str(found)


# ── Sentences ───────────────────────────────────────────────────────────────────────────────────
def test_decode__balance_insufficient__amounts_as_dollars() -> None:
    error = say("BalanceInsufficient(address,uint256,uint256)", ALICE, 50_000, 1_234_567_890_001)
    assert str(error) == (f"{ALICE} has a prepaid balance of $0.05; $1,234,567.890001 is needed.")
    assert error.values == {"account": ALICE, "balance": 50_000, "needed": 1_234_567_890_001}
    assert error.permanent


def test_decode__window_open__time_in_utc_and_relative_and_when_to_retry() -> None:
    error = say("ChallengeWindowOpen(bytes32,uint256)", REQUEST, NOW + 90)
    assert "until 2023-11-14 22:14:50 UTC (in 90 seconds)" in str(error)
    assert "0x00010203…1e1f" in str(error)
    assert error.retry_at == NOW + 90
    assert not error.permanent


def test_decode__expired__time_in_the_past() -> None:
    error = say("GrantExpired(uint256,address,uint256)", 3, ALICE, NOW - 7200)
    assert "(2 hours ago)" in str(error)
    assert "tallystick access apply 3" in error.hint


def test_decode__disputes_open__may_heal_at_an_unknown_time() -> None:
    assert say("DisputesOpen(bytes32,uint256)", REQUEST, 2).retry_at == 0


@pytest.mark.parametrize(
    ("signature", "values", "expected"),
    [
        ("Error(string)", ("nope",), "The contract said: nope."),
        ("Panic(uint256)", (0x11,), "a number overflows"),
        ("Panic(uint256)", (0x99,), "panic 0x99"),
        ("ApplicationsClosed(uint256,uint8)", (1, 1), "allow-list"),
        ("ERC20InsufficientAllowance(address,uint256,uint256)", (ALICE, 0, 10**6), "$1.00"),
        ("LifetimeInvalid(uint256,uint256,uint256)", (1, 60, 86400), "1 second"),
        ("BondTooLow(uint256,uint256)", (0, 10**16), "0.01 ETH"),
        ("GrantExpired(uint256,address,uint256)", (1, ALICE, 2**256 - 1), "the end of time"),
    ],
)
def test_decode__each_way_to_show_a_value__in_the_message(
    signature: str, values: tuple[Any, ...], expected: str
) -> None:
    assert expected in str(say(signature, *values))


SAMPLES = {"address": ALICE, "string": "x", "bool": True, "bytes32": REQUEST, "bytes": b"x"}
ERRORS = {
    abi_to_signature(item): item
    for contract in codec.NAMES
    for item in artifacts.load(contract).abi
    if item["type"] == "error"
}


@pytest.mark.parametrize("signature", ERRORS)
def test_decode__every_error_of_every_contract__a_sentence(signature: str) -> None:
    values = [SAMPLES.get(i["type"], 1) for i in ERRORS[signature]["inputs"]]
    error = say(signature, *values)
    assert error.name == ERRORS[signature]["name"]
    assert str(error).endswith((".", ":"))
    assert "{" not in str(error) + error.hint
    assert "0x" not in error.name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1, "1 second"), (90, "90 seconds"), (120, "2 minutes"),
     (3600, "1 hour"), (5400, "90 minutes"), (9000, "2.5 hours"), (172800, "2 days")],
)  # fmt: skip
def test_span__seconds__largest_fitting_unit(seconds: int, text: str) -> None:
    assert revert.span(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (10**6, "$1.00"),
        (1_500_000, "$1.50"),
        (10**15, "$1,000,000,000.00"),
    ],
)
def test_dollars__token_units__exact(amount: int, text: str) -> None:
    assert revert.dollars(amount) == text
