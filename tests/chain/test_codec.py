"""The codec is web3's, byte for byte, in all types that our contracts have."""

from typing import Any

import pytest
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.tools import get_abi_strategy
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3

from oracle.chain import codec

THEIRS: Any = Web3().codec
TYPES = sorted(
    {
        kind
        for name in codec.NAMES
        for function in codec.interface(name).values()
        for kind in (*function.inputs, *function.outputs)
    }
)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_encode__bytes32_of_another_length__refused_as_web3_does(size: int) -> None:
    for encode in (codec.encode, THEIRS.encode):
        with pytest.raises(EncodingError):
            encode(["bytes32"], [bytes(size)])


@pytest.mark.parametrize(
    ("kind", "value"),
    [("uint8", 256), ("uint8", -1), ("uint256", 1.0), ("bool", 1), ("address", "0x12"),
     ("bytes32[2]", [bytes(32)]), ("(uint8,bool)", (1,)), ("bytes", 7), ("string", b"")],
)  # fmt: skip
def test_encode__value_outside_its_type__refused_as_web3_does(kind: str, value: Any) -> None:
    for encode in (codec.encode, THEIRS.encode):
        with pytest.raises((EncodingError, ValueError)):
            encode([kind], [value])


@pytest.mark.parametrize("data", [b"", bytes(31), b"\xff" * 32])
def test_decode__no_bool__refused_as_web3_does(data: bytes) -> None:
    for decode in (codec.decode, THEIRS.decode):
        with pytest.raises(DecodingError):
            decode(["bool"], data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_encode__any_value_of_any_type_of_the_contracts__as_web3_does(data: Any) -> None:
    kind = data.draw(st.sampled_from(TYPES))
    value = data.draw(get_abi_strategy(kind))

    encoded = codec.encode([kind], [value])

    assert encoded == THEIRS.encode([kind], [value])
    assert codec.decode([kind], encoded) == THEIRS.decode([kind], encoded)
