"""UnixFS trees: the CIDs that Kubo and Helia gave, and blocks that are not trees. No sockets."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.ipfs.cid import DAG_PB, RAW, Link, from_bytes, parse
from oracle.ipfs.unixfs import Builder, Layout, decode, file_cid, leaf_entry
from tests.ipfs.conftest import sample

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "unixfs.json").read_text())["files"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "bafk",
        "Qm" + "0" * 44,
        "Qm" + "z" * 44,  # more than 34 bytes
        "BAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv",  # spare bits set
        "baf4beihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",  # git-raw
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku/weights",
        "../../../etc/passwd",
        "b" * 10_000,
    ],
)
def test_parse__not_a_cid_we_read__is_invalid(text: str) -> None:
    with pytest.raises(InputInvalid, match="invalid cid"):
        parse(text)


@given(st.binary(min_size=32, max_size=32), st.sampled_from([(0, DAG_PB), (1, RAW), (1, DAG_PB)]))
def test_parse__of_what_text_wrote__is_the_link(digest: bytes, kind: tuple[int, int]) -> None:
    link = Link(kind[1], digest, kind[0])
    assert parse(link.text()) == link
    assert parse("/ipfs/" + link.text()) == link
    assert from_bytes(link.to_bytes()) == link


@given(st.binary(max_size=300))
def test_decode__of_anything__is_a_node_or_invalid(data: bytes) -> None:
    try:
        node = decode(data)
    except InputInvalid:
        return
    assert node.size == len(node.data) + sum(size for _, size in node.children)


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        (b"\x0a\x02\x08\x01", "not a file"),  # a folder
        (b"\x0a\x04\x08\x02\x18\x07", "not the sum"),  # 7 bytes of nothing
        (b"\x0a\x06\x08\x02\x18\x07\x20\x07", "do not fit"),  # a size without a link
        (b"\x0a\xff\xff\xff\xff\x0f", "malformed protobuf"),  # longer than the block
        (b"\x0a" + b"\xff" * 20, "malformed protobuf"),  # a number without end
        (b"\x12\x02\x12\x00" + b"\x0a\x02\x08\x02", "without a hash"),
    ],
)
def test_decode__malformed__is_invalid(block: bytes, complaint: str) -> None:
    with pytest.raises(InputInvalid, match=complaint):
        decode(block)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['from'][:5]}-{v['size']}")
def test_file_cid__of_real_nodes_vectors__is_equal(vector: dict[str, object]) -> None:
    layout = Layout(vector["cid_version"], vector["raw_leaves"], vector["chunk"])
    assert file_cid(sample(vector["size"]), layout).text() == vector["cid"]


@settings(max_examples=50)
@given(st.binary(max_size=400), st.integers(1, 7), st.integers(2, 4), st.booleans())
def test_builder__of_any_shape__can_be_read_back(
    data: bytes, chunk: int, width: int, raw_leaves: bool
) -> None:
    layout = Layout(raw_leaves=raw_leaves, chunk=chunk, width=width)
    blocks: dict[Link, bytes] = {}
    builder = Builder(layout, blocks.__setitem__)
    leaves = {}
    for start in range(0, len(data), chunk):
        piece = data[start : start + chunk]
        entry = leaf_entry(piece, layout)
        leaves[entry.link] = piece
        builder.add(entry)

    def read(link: Link) -> bytes:
        if link in leaves or link.codec == RAW:
            return leaves.get(link, b"")
        node = decode(blocks[link])
        parts = [read(child) for child, _ in node.children]
        assert [len(part) for part in parts] == [size for _, size in node.children]
        return node.data + b"".join(parts)

    root = builder.finish()
    assert read(root.link) == data
    assert root.size == len(data)
