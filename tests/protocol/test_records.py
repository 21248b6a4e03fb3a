"""Heads, request ids and order hashes, held against eth_abi and eth_account."""

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.protocol import eip712, records
from oracle.protocol.canonical import keccak
from oracle.types import (
    ZERO32,
    Address,
    Amount,
    Assurance,
    Bytes32,
    Order,
    Request,
    Terms,
    Timestamp,
)
from tests.support import samples

SIGNER = Account.from_key("0x" + "11" * 32)
ALICE = Address(SIGNER.address)
BOB = Address("0xFFcf8FDEE72ac11b5c542428B35EEF5769C409f0")
TERMS = Terms(Amount(5), 7000, 500, 10, 3600, 1, Assurance.COMMITTEE)
REQUEST = samples.request(
    version=2,
    lane=3,
    nonce=4,
    requester=ALICE,
    operator=BOB,
    priority_until=Timestamp(5),
    expires_at=Timestamp(6),
    callback_gas=7,
    input_root=Bytes32(b"i" * 32),
    terms=TERMS,
)
ORDER = Order(1, 2, 3, Bytes32(b"i" * 32), ZERO32, ZERO32, Amount(9), 60, 3600, BOB)
HEAD = (ZERO32, 1, 1, ZERO32, ZERO32, Assurance.COMMITTEE, 0, ALICE, Timestamp(1))
WIDTHS = {
    "lane": 32,
    "nonce": 64,
    "priority_until": 40,
    "expires_at": 40,
    "model_id": 48,
    "version": 24,
    "callback_gas": 24,
}


@pytest.mark.parametrize("field", WIDTHS)
def test_pack_request__wider_than_its_field__refused(field: str) -> None:
    for value in (-1, 1 << WIDTHS[field]):
        changes: dict[str, Any] = {field: value}
        with pytest.raises(InputInvalid, match="does not fit"):
            records.pack_request(replace(REQUEST, **changes))


@pytest.mark.parametrize("field", ["input_root", "input_cid", "params", "envelope"])
def test_pack_request__short_digest__refused(field: str) -> None:
    changes: dict[str, Any] = {field: b"short"}
    with pytest.raises(InputInvalid, match="32 bytes"):
        records.pack_request(replace(REQUEST, **changes))


@pytest.mark.parametrize("length", [0, 255, 257])
def test_unpack_request__not_eight_words__refused(length: int) -> None:
    with pytest.raises(InputInvalid, match="256 bytes"):
        records.unpack_request(bytes(length))


@pytest.mark.parametrize("byte", [32, 33, 228])
def test_unpack_request__bits_of_no_field__refused(byte: int) -> None:
    data = bytearray(records.pack_request(REQUEST))
    data[byte] = 0xFF

    with pytest.raises(InputInvalid):
        records.unpack_request(bytes(data))


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"short"), (1, -1), (1, 2**256), (2, 2**32), (6, 2**64), (7, "0x12"), (8, 2**40)],
)
def test_version_head__does_not_fit__refused(at: int, value: Any) -> None:
    values: list[Any] = list(HEAD)
    values[at] = value

    with pytest.raises(InputInvalid):
        records.version_head(*values)


def test_order_hash__does_not_fit__refused() -> None:
    with pytest.raises(InputInvalid):
        records.order_hash(replace(ORDER, model_id=2**256))


def test_request_id__packed_struct__as_eth_abi_encodes_it() -> None:
    origin = int(ALICE, 16) | 3 << 160 | 4 << 192
    service = int(BOB, 16) | 5 << 160 | 6 << 200
    target = 1 << 160 | 2 << 208 | 7 << 232
    struct = (origin, service, target, b"i" * 32, ZERO32, ZERO32, ZERO32, TERMS.pack())
    types = "(uint256,uint256,uint256,bytes32,bytes32,bytes32,bytes32,uint256)"
    expected = keccak(encode(["uint256", "address", types], (31337, BOB, struct)))

    assert records.request_id(31337, BOB, REQUEST) == expected


@pytest.mark.parametrize(
    "changes",
    [
        *({field: getattr(REQUEST, field) + 1} for field in WIDTHS),
        *({field: b"x" * 32} for field in ("input_root", "input_cid", "params", "envelope")),
        *({field: Address("0x" + "22" * 20)} for field in ("requester", "operator", "consumer")),
        {"terms": replace(TERMS, fee=Amount(6))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_request_id__any_field_changed__another_id(changes: dict[str, Any]) -> None:
    same = records.request_id(1, BOB, REQUEST)

    assert records.request_id(1, BOB, replace(REQUEST, **changes)) != same
    assert records.request_id(2, BOB, REQUEST) != same
    assert records.request_id(1, ALICE, REQUEST) != same


def uint(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


ADDRESSES = st.binary(min_size=20, max_size=20).map(
    lambda data: records._address(int.from_bytes(data, "big"))  # checksummed
)
WORDS = st.binary(min_size=32, max_size=32).map(Bytes32)


@given(
    st.fixed_dictionaries(
        {
            **{field: uint(bits) for field, bits in WIDTHS.items()},
            **dict.fromkeys(("requester", "operator", "consumer"), ADDRESSES),
            **dict.fromkeys(("input_root", "input_cid", "params", "envelope"), WORDS),
            "terms": st.builds(
                Terms,
                uint(64),
                uint(16),
                uint(16),
                uint(16),
                uint(32),
                uint(64),
                st.sampled_from(Assurance),
                st.booleans(),
            ),
        }
    )
)
def test_unpack_request__packed__the_same_request(fields: dict[str, Any]) -> None:
    request = Request(**fields)

    assert records.unpack_request(records.pack_request(request)) == request


@given(st.binary(min_size=256, max_size=256))
def test_unpack_request__any_words__refused_or_packs_to_them(data: bytes) -> None:
    try:
        request = records.unpack_request(data)
    except InputInvalid:
        return
    assert records.pack_request(request) == data


def test_order_hash__order__as_eth_account_hashes_the_struct() -> None:
    typed = eip712.request_authorization(
        chain_id=1, market=BOB, requester=ALICE, order=ORDER, nonce=7, deadline=Timestamp(8)
    )
    type_hash = keccak(
        b"RequestAuthorization(address requester,Order order,uint256 nonce,uint256 deadline)"
        + records.ORDER_TYPE.encode()
    )
    struct = encode(
        ["bytes32", "address", "bytes32", "uint256", "uint256"],
        (type_hash, ALICE, records.order_hash(ORDER), 7, 8),
    )

    assert encode_typed_data(full_message=typed).body == keccak(struct)


@pytest.mark.parametrize(
    "typed",
    [
        eip712.request_authorization(
            chain_id=1, market=BOB, requester=ALICE, order=ORDER, nonce=7, deadline=Timestamp(8)
        ),
        eip712.permit(
            chain_id=1,
            token=BOB,
            owner=ALICE,
            spender=BOB,
            value=Amount(1),
            nonce=0,
            deadline=Timestamp(9),
        ),
        eip712.transfer_with_authorization(
            chain_id=1, token=BOB, sender=ALICE, to=BOB, value=Amount(1), nonce=ZERO32
        ),
    ],
    ids=lambda typed: typed["primaryType"],
)
def test_digest__signed_by_a_wallet__recovers_the_signer(typed: eip712.TypedData) -> None:
    signed = SIGNER.sign_typed_data(full_message=typed)

    recovered = Account._recover_hash(eip712.digest(typed), signature=signed.signature)

    assert recovered == ALICE


def test_digest__another_chain_or_contract__another_digest() -> None:
    def digest_of(chain_id: int, token: Address) -> Bytes32:
        return eip712.digest(
            eip712.permit(
                chain_id=chain_id,
                token=token,
                owner=ALICE,
                spender=BOB,
                value=Amount(1),
                nonce=0,
                deadline=Timestamp(9),
            )
        )

    assert len({digest_of(1, BOB), digest_of(2, BOB), digest_of(1, ALICE)}) == 3
