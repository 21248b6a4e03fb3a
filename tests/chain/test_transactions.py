"""Fees, signing and receipts as values."""

from typing import Any

import pytest
from eth_account import Account

from oracle.chain.bindings.inference_market import Deposited, Withdrawn
from oracle.chain.deploy import created_address
from oracle.chain.memory import read_transaction
from oracle.chain.rpc import RpcError, RpcMalformed
from oracle.chain.transactions import (
    Fees,
    fees_from,
    funds_error,
    hash_of,
    parse_receipt,
    sign,
    with_margin,
)
from oracle.errors import NotFound
from oracle.types import Address

KEY = Account.from_key(b"\x07" * 32)
MARKET = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
RECEIPT = {
    "transactionHash": "0x" + "01" * 32,
    "blockNumber": "0x5",
    "blockHash": "0x" + "02" * 32,
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x3b9aca00",
    "contractAddress": None,
    "logs": [],
}


# ── Failures ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "history",
    [None, {}, [], {"baseFeePerGas": []}, {"baseFeePerGas": ["x"]}, {"baseFeePerGas": [None]}],
)
def test_fees_from__no_fee_history__rpc_malformed(history: Any) -> None:
    with pytest.raises(RpcMalformed):
        fees_from(history)


@pytest.mark.parametrize("key", sorted(RECEIPT.keys() - {"contractAddress"}))
def test_parse_receipt__a_field_is_missing__rpc_malformed(key: str) -> None:
    with pytest.raises(RpcMalformed):
        parse_receipt({k: v for k, v in RECEIPT.items() if k != key})


@pytest.mark.parametrize("raw", [None, [], "0x", 7])
def test_parse_receipt__no_receipt__rpc_malformed(raw: Any) -> None:
    with pytest.raises(RpcMalformed):
        parse_receipt(raw)


def test_one__no_such_event__names_it() -> None:
    with pytest.raises(NotFound, match="Deposited"):
        parse_receipt(RECEIPT).one(Deposited)


# ── Successes ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("fee", [1, 7, 10**6, 10**9, 123_456_789])
def test_bumped__any_fee__at_least_an_eighth_more(fee: int) -> None:
    bumped = Fees(fee, fee).bumped()
    assert bumped.max_fee * 1000 >= fee * 1125
    assert bumped.priority_fee * 1000 >= fee * 1125


def test_bumped__market_is_higher__the_market() -> None:
    assert Fees(100, 10).bumped(Fees(1000, 5)) == Fees(1000, 12)


def test_fees_from__median_of_the_tips__and_twice_the_base_fee() -> None:
    history = {
        "baseFeePerGas": ["0x1", "0x3b9aca00"],
        "reward": [["0x77359400"], ["0x3b9aca00"], ["0xb2d05e00"]],
    }
    assert fees_from(history) == Fees(2 * 10**9 + 2 * 10**9, 2 * 10**9)


def test_fees_from__nobody_tips__still_outbiddable() -> None:
    assert fees_from({"baseFeePerGas": ["0x0"], "reward": None}).priority_fee > 0


def test_with_margin__estimate__a_fifth_more() -> None:
    assert with_margin(100_000) == 120_000


def test_sign__read_back__what_was_signed() -> None:
    raw = sign(KEY, 31337, 9, MARKET, b"\x01\x02", 0, 50_000, Fees(30, 2))
    found = read_transaction(raw)
    assert (found.sender, found.nonce, found.to) == (KEY.address, 9, MARKET)
    assert (found.data, found.max_fee, found.priority_fee) == (b"\x01\x02", 30, 2)
    assert found.hash == hash_of(raw)


def test_parse_receipt__as_a_node_answers__typed() -> None:
    receipt = parse_receipt({**RECEIPT, "contractAddress": MARKET.lower()})
    assert (receipt.block_number, receipt.succeeded, receipt.gas_used) == (5, True, 21_000)
    assert receipt.contract == MARKET
    assert receipt.all(Withdrawn) == []


def test_funds_error__only_where_money_is_the_matter() -> None:
    address = Address(KEY.address)
    assert funds_error(RpcError(-32000, "nonce too low"), address) is None
    found = funds_error(RpcError(-32003, "Insufficient funds for gas * price + value"), address)
    assert KEY.address in str(found)


def test_created_address__first_contract_of_the_first_anvil_account__well_known() -> None:
    deployer = Address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")
    assert created_address(deployer, 0) == "0x5FbDB2315678afecb367f032d93F642f64180aa3"
    assert created_address(deployer, 1) == "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
