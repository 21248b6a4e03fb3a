"""Raw logs to events: hostile and truncated ones, and every kind of value."""

from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from oracle.chain import logs
from oracle.chain.bindings.data_rounds import RoundOpened, RoundTerms
from oracle.chain.bindings.inference_market import OutputPosted, Requested
from oracle.chain.bindings.model_access import Policy, PolicySet
from oracle.chain.bindings.model_registry import (
    ModelRegistered,
    ModelTransferred,
    TermsSet,
    VersionPublished,
)
from oracle.chain.bindings.operator_registry import OperatorAuthorized
from oracle.chain.bindings.test_dollar import Transfer
from oracle.chain.bindings.valuation_game import ValuationPublished, ValuationRoots
from oracle.chain.rpc import RpcMalformed
from oracle.protocol.records import pack_request
from oracle.types import (
    ZERO32,
    Address,
    Amount,
    Assurance,
    Bytes32,
    Log,
    RequestId,
    Terms,
    Timestamp,
)
from tests.support import samples

ALICE = Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
BOB = Address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
TERMS = Terms(Amount(50_000), 8000, 500, 2, 3600, 1000, Assurance.COMMITTEE)
REQUEST = samples.request(
    model_id=7,
    version=2,
    lane=3,
    nonce=4,
    requester=ALICE,
    operator=BOB,
    priority_until=Timestamp(1700000000),
    expires_at=Timestamp(1700003600),
    callback_gas=5,
    input_root=Bytes32(b"\x01" * 32),
    params=Bytes32(b"\x02" * 32),
    terms=TERMS,
)
REQUEST_ID = RequestId(b"\x09" * 32)


def word(value: int | str | bytes) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value[2:]).rjust(32, b"\0")
    return value if isinstance(value, bytes) else value.to_bytes(32)


def log(signature: str, indexed: tuple[Any, ...], data: bytes) -> Log:
    topics = (keccak(text=signature), *(word(value) for value in indexed))
    return Log(ALICE, topics, data, 5, Bytes32(b"\x03" * 32), Bytes32(b"\x04" * 32), 6)


REQUESTED = log(
    "Requested(bytes32,uint256,address,"
    "(uint256,uint256,uint256,bytes32,bytes32,bytes32,bytes32,uint256))",
    (REQUEST_ID, 7, ALICE),
    pack_request(REQUEST),
)
REGISTERED = "ModelRegistered(uint256,address,string,uint32)"
RAW = {
    "address": ALICE.lower(),
    "topics": ["0x" + "01" * 32],
    "data": "0x02",
    "blockNumber": "0x5",
    "blockHash": "0x" + "03" * 32,
    "transactionHash": "0x" + "04" * 32,
    "logIndex": "0x6",
}


# ── Failures ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("key", RAW)
@pytest.mark.parametrize("value", [None, 7, "zz", ["zz"], {}])
def test_parse__a_field_is_no_such_thing__rpc_malformed(key: str, value: Any) -> None:
    with pytest.raises(RpcMalformed):
        logs.parse({**RAW, key: value})


@pytest.mark.parametrize("text", ["0x01", "01" * 33, "0x" + "01" * 33, "0x" + " 1" * 32])
@pytest.mark.parametrize("key", ["blockHash", "transactionHash", "topics"])
def test_parse__not_32_bytes__rpc_malformed(key: str, text: str) -> None:
    with pytest.raises(RpcMalformed):
        logs.parse({**RAW, key: [text] if key == "topics" else text})


@pytest.mark.parametrize("raw", [None, [], "log", {}])
def test_parse__no_log__rpc_malformed(raw: Any) -> None:
    with pytest.raises(RpcMalformed):
        logs.parse(raw)


@pytest.mark.parametrize("length", [0, 31, 255])
def test_decode__data_cut_off__rpc_malformed(length: int) -> None:
    with pytest.raises(RpcMalformed, match="Requested"):
        logs.decode(replace(REQUESTED, data=REQUESTED.data[:length]))


def test_decode__topics_of_another_length__rpc_malformed() -> None:
    topics = (*REQUESTED.topics[:3], REQUESTED.topics[3][:20])
    with pytest.raises(RpcMalformed):
        logs.decode(replace(REQUESTED, topics=topics))


@pytest.mark.parametrize("offset", [2**255, 10_000, 64 + 1])
def test_decode__text_points_outside__rpc_malformed(offset: int) -> None:
    data = word(offset) + word(60) + word(4) + b"name"
    with pytest.raises(RpcMalformed, match="outside"):
        logs.decode(log(REGISTERED, (1, ALICE), data))


def test_decode__value_outside_its_enumeration__rpc_malformed() -> None:
    data = word(9) + word(0) + word(0)
    entry = log("PolicySet(uint256,uint8,uint32,uint32)", (1,), data)
    with pytest.raises(RpcMalformed, match="PolicySet"):
        logs.decode(entry)


# ── Strangers' logs ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "topics", [(), (b"\xff" * 32,), REQUESTED.topics[:3], (*REQUESTED.topics, b"\0" * 32)]
)
def test_decode__no_event_of_ours__none(topics: tuple[bytes, ...]) -> None:
    stranger = replace(REQUESTED, topics=topics)
    assert logs.decode(stranger) is None
    assert logs.keys(stranger) == (None, None)


def test_decode__name_is_not_unicode__still_read() -> None:
    data = word(64) + word(60) + word(3) + b"a\xffb".ljust(32, b"\0")
    event = logs.decode(log(REGISTERED, (1, ALICE), data))
    assert isinstance(event, ModelRegistered)
    assert event.name == "a�b"


# ── Ours ────────────────────────────────────────────────────────────────────────────────────────
def test_parse__as_a_node_answers__log() -> None:
    found = logs.parse(RAW)
    assert found == Log(
        ALICE,
        (b"\x01" * 32,),
        b"\x02",
        5,
        Bytes32(b"\x03" * 32),
        Bytes32(b"\x04" * 32),
        6,
    )


def test_decode__requested__the_full_request() -> None:
    assert logs.decode(REQUESTED) == Requested(REQUEST_ID, 7, ALICE, REQUEST)
    assert logs.keys(REQUESTED) == (REQUEST_ID, 7)


def test_decode__text_and_number__as_logged() -> None:
    data = encode(["string", "uint32"], ["Ziffern ✓", 3600])
    event = logs.decode(log(REGISTERED, (12, BOB), data))
    assert event == ModelRegistered(12, BOB, "Ziffern ✓", 3600)


def test_decode__terms_set__unpacked() -> None:
    event = logs.decode(log("TermsSet(uint256,uint32,uint256)", (7, 2), word(TERMS.pack())))
    assert event == TermsSet(7, 2, TERMS)


def test_decode__enumeration_and_bool__typed() -> None:
    data = word(2) + word(10) + word(60)
    event = logs.decode(log("PolicySet(uint256,uint8,uint32,uint32)", (1,), data))
    assert event == PolicySet(1, Policy.ON_REQUEST, 10, 60)
    event = logs.decode(log("OperatorAuthorized(uint256,address,bool)", (1, ALICE), word(1)))
    assert event == OperatorAuthorized(1, ALICE, True)


def test_decode__round_opened__its_terms() -> None:
    terms = RoundTerms(3, 5, 30, 12, 10, 8, 1_000, 60, 61, 62, Amount(7), ZERO32, REQUEST.params)
    kinds = ("uint16", "uint16", "uint32", "uint32", "uint16", "uint16", *("uint32",) * 4, "uint64")
    data = encode((*kinds, "bytes32", "bytes32"), [getattr(terms, f.name) for f in fields(terms)])
    signature = f"RoundOpened(uint256,uint256,address,({','.join(kinds)},bytes32,bytes32))"
    opened = log(signature, (4, 7, ALICE), data)
    assert logs.decode(opened) == RoundOpened(4, 7, ALICE, terms)
    assert logs.keys(opened) == (None, 7)
    with pytest.raises(RpcMalformed, match="RoundOpened"):
        logs.decode(replace(opened, data=data[:-1]))


PUBLISHED = (
    "ValuationPublished(uint256,address,uint256,bytes32,bytes32,"
    "(uint32,uint32,uint32,bytes32,bytes32,bytes32,bytes32),uint64[],uint256)"
)


def published(values: list[int]) -> Log:
    roots = "(uint32,uint32,uint32,bytes32,bytes32,bytes32,bytes32)"
    kinds = ("uint256", "bytes32", "bytes32", roots, "uint64[]", "uint256")
    roots_of = (9, 8, 7, *(bytes([n]) * 32 for n in range(4)))
    data = encode(kinds, [2, ZERO32, REQUEST.params, roots_of, values, 99])
    return log(PUBLISHED, (4, BOB), data)


@pytest.mark.parametrize("values", [[], [0], [5, 2**64 - 1, 7]])
def test_decode__valuation_published__roots_and_values(values: list[int]) -> None:
    roots = ValuationRoots(9, 8, 7, *(Bytes32(bytes([n]) * 32) for n in range(4)))
    event = ValuationPublished(
        4, BOB, 2, ZERO32, REQUEST.params, roots, tuple(values), Timestamp(99)
    )
    assert logs.decode(published(values)) == event


def test_decode__values_point_outside__rpc_malformed() -> None:
    entry = published([1, 2])
    with pytest.raises(RpcMalformed, match="outside"):
        logs.decode(replace(entry, data=entry.data[:-32]))


def test_decode__output_posted__bytes() -> None:
    output = bytes(range(256)) * 3
    data = encode(["bytes", "uint256"], [output, 7])
    event = logs.decode(
        log("OutputPosted(bytes32,address,bytes,uint256)", (REQUEST_ID, ALICE), data)
    )
    assert event == OutputPosted(REQUEST_ID, ALICE, output, 7)


def test_decode__version_published__a_record_in_our_order() -> None:
    data = encode(
        ["bytes32"] * 4 + ["uint8", "uint64", "uint40"],
        [b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32, b"\x0d" * 32, 1, 1000, 1_700_000_000],
    )
    signature = (
        "VersionPublished(uint256,uint32,address,bytes32,bytes32,bytes32,bytes32,"
        "uint8,uint64,uint40)"
    )
    event = logs.decode(log(signature, (7, 2, ALICE), data))
    assert isinstance(event, VersionPublished)
    record = event.record
    assert (record.model_id, record.version, record.publisher) == (7, 2, ALICE)
    assert (record.prev_head[0], record.head[0]) == (0x0A, 0x0B)
    assert (record.manifest_digest[0], record.model_root[0]) == (0x0C, 0x0D)
    assert (record.assurance, record.timestamp) == (Assurance.COMMITTEE, 1_700_000_000)


def test_decode__same_signature_other_topics__token_or_model() -> None:
    signature = "Transfer(address,address,uint256)"
    token = logs.decode(log(signature, (ALICE, BOB), word(5)))
    model = logs.decode(log(signature, (ALICE, BOB, 5), b""))
    assert token == Transfer(ALICE, BOB, Amount(5))
    assert model == ModelTransferred(ALICE, BOB, 5)


def test_decode_all__ours_among_strangers__ours_in_order() -> None:
    stranger = replace(REQUESTED, topics=(b"\xff" * 32,))
    assert len(logs.decode_all([stranger, REQUESTED, stranger, REQUESTED])) == 2


def test_topic_of__event__keccak_of_its_signature() -> None:
    assert logs.topic_of(OperatorAuthorized) == keccak(
        text="OperatorAuthorized(uint256,address,bool)"
    )
