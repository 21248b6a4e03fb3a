"""CIDs: one text per digest, everything else refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.protocol import cid
from oracle.types import Bytes32

# `printf hello | ipfs add --cid-version 1 --raw-leaves`
HELLO = "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
HELLO_SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        HELLO[:-1],
        HELLO + "a",
        HELLO.upper(),
        "B" + HELLO[1:],
        "/ipfs/" + HELLO,
        HELLO[:-1] + "r",  # padding bits set
        HELLO.replace("f", "1", 1),
        "z" + HELLO[1:],
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4y\u00e9\u00e9",
        "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4ye\n",
        "bagaaierasords4njcts6vs7qvdjfcvgnume4hqohf65zsfguprqphs3icwea",  # dag-json
    ],
)
def test_parse__not_a_canonical_cid__refused(text: str) -> None:
    with pytest.raises(InputInvalid):
        cid.parse(text)


@pytest.mark.parametrize("value", [None, 5, HELLO.encode(), [*HELLO]])
def test_parse__not_text__refused(value: Any) -> None:
    with pytest.raises(InputInvalid):
        cid.parse(value)


@pytest.mark.parametrize(("position", "byte"), [(0, 2), (1, 0x71), (2, 0x13), (3, 0x1F)])
def test_parse__other_version_codec_hash_or_length__refused(position: int, byte: int) -> None:
    import base64

    body = bytearray(b"\x01\x55\x12\x20" + bytes(32))
    body[position] = byte
    text = "b" + base64.b32encode(body).decode().lower().rstrip("=")

    with pytest.raises(InputInvalid, match="not version 1"):
        cid.parse(text)


def test_raw_digest__file_of_blocks__refused() -> None:
    with pytest.raises(InputInvalid, match="several blocks"):
        cid.raw_digest(cid.make(cid.Codec.DAG_PB, Bytes32(bytes(32))))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_raw_cid__not_32_bytes__refused(length: int) -> None:
    with pytest.raises(InputInvalid, match="32 bytes"):
        cid.raw_cid(Bytes32(bytes(length)))


def test_raw_cid__hello__as_kubo_says() -> None:
    assert cid.raw_cid(Bytes32(bytes.fromhex(HELLO_SHA256))) == HELLO
    assert cid.raw_digest(HELLO).hex() == HELLO_SHA256


@given(st.sampled_from(cid.Codec), st.binary(min_size=32, max_size=32))
def test_parse__made__same_codec_and_digest(codec: cid.Codec, digest: bytes) -> None:
    assert cid.parse(cid.make(codec, Bytes32(digest))) == (codec, digest)


@given(st.integers(0, 58), st.characters(min_codepoint=1, max_codepoint=0x17F))
def test_parse__one_character_changed__refused_or_another_digest(at: int, char: str) -> None:
    text = HELLO[:at] + char + HELLO[at + 1 :]
    try:
        codec, digest = cid.parse(text)
    except InputInvalid:
        return
    assert cid.make(codec, digest) == text
    assert (text == HELLO) == (digest.hex() == HELLO_SHA256)
