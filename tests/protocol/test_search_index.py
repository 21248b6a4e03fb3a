"""The pure half of search: what names an index, and that every machine finds the same passages."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from oracle.errors import InputInvalid
from oracle.protocol import canonical, search_index
from oracle.protocol.cid import raw_cid
from oracle.protocol.files import FileEntry
from oracle.protocol.search_index import Passage, SearchIndex
from oracle.types import Bytes32

DIGEST = Bytes32(bytes(range(32)))
SIZE = len(search_index.write_vectors(np.zeros((3, 4), np.int16)))
ENTRY = FileEntry("vectors.safetensors", raw_cid(DIGEST), DIGEST, SIZE)
INDEX = SearchIndex(
    name="manuals", model_root=DIGEST, count=3, width=4,
    passages=replace(ENTRY, path="passages.jsonl", size=100), vectors=ENTRY,
)  # fmt: skip


def test_document__read_back__is_the_same_and_so_is_its_digest():
    assert SearchIndex.parse(INDEX.to_bytes()) == INDEX
    assert INDEX.digest == canonical.sha256(INDEX.to_bytes())


@pytest.mark.parametrize(
    "spoiled",
    [
        INDEX.to_bytes() + b" ",
        INDEX.to_bytes().replace(b'"count":3', b'"count":0'),
        INDEX.to_bytes().replace(b'"width":4', b'"width":1025'),
        INDEX.to_bytes().replace(b'"name"', b'"nome"'),
        INDEX.to_bytes().replace(b"passages.jsonl", b"../passages.jsonl"),
        INDEX.to_bytes().replace(b"passages.jsonl", b"/dev/zero"),
        INDEX.to_bytes().replace(b"passages.jsonl", b"vectors.safetensors"),
        INDEX.to_bytes().replace(b'"size":100', b'"size":2000000000000'),
        b"[]",
        b'{"schema":"' + b"x" * search_index.MAX_DOCUMENT + b'"}',
    ],
)
def test_parse__no_document__refused(spoiled):
    with pytest.raises(InputInvalid):
        SearchIndex.parse(spoiled)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"count": 4_000_000, "width": 1024}, "4000000 vectors of width 1024 have 8192000"),
        ({"width": 5}, "3 vectors of width 5"),
        ({"vectors": replace(ENTRY, size=SIZE + 1)}, f"has {SIZE + 1} bytes"),
        ({"vectors": replace(ENTRY, size=2**40)}, f"has {2**40} bytes"),
        ({"passages": replace(INDEX.passages, size=71)}, "passages have 72 to"),
        ({"passages": replace(INDEX.passages, size=2**40)}, "passages have 72 to"),
    ],
)
def test_parse__sizes_that_do_not_fit_the_count__are_refused(changes, says):
    body = TypeAdapter(SearchIndex).dump_python(replace(INDEX, **changes), mode="json")
    with pytest.raises(InputInvalid, match=says):
        SearchIndex.parse(canonical.dumps(body))


def test_passages__of_any_text__read_back():
    told = (Passage("a.md", "π ≈ 3.14\u2028next"), Passage("b", ' "quoted" '))
    assert search_index.read_passages(search_index.write_passages(told), 2) == told


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"source":"a","text":"b"}\n{"text":"c"}\n', "line 2"),
        (b"[" * 100_000 + b"\n\n", "line 1"),
        (b'{"source":"a","text":["b"]}\n\n', "line 1"),
        (b'{"source":"a","text":"\\ud800"}\n\n', "line 1"),
        (b'{"source":"a","text":"' + b"b" * search_index.MAX_LINE + b'"}\n\n', "line 1"),
        (b"\n" * 1_000_000, "1000000 lines, the index names 2"),
        (b'{"source":"a","text":"b"}\n', "1 lines, the index names 2"),
        (b'{"source":"a","text":"b"}\n{"source":"a","text":"b"}\n{}', "2 lines"),
    ],
)
def test_passages__that_are_none__refused(data, says):
    with pytest.raises(InputInvalid, match=says):
        search_index.read_passages(data, 2)


def test_write_passages__longer_than_a_line__refused_and_named():
    told = (Passage("a", "b"), Passage("s" * search_index.MAX_LINE, "b"))
    with pytest.raises(InputInvalid, match="passage 2 has"):
        search_index.write_passages(told)


def test_vectors__of_another_shape__refused():
    data = search_index.write_vectors(np.zeros((3, 5), np.int16))
    with pytest.raises(InputInvalid, match=r"\[3, 4\]"):
        search_index.read_vectors(data, INDEX)


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros((1, 1025)), np.full((1, 4), np.nan)])
def test_quantise__no_embeddings__refused(wrong):
    with pytest.raises(InputInvalid):
        search_index.quantise(wrong.astype(np.float32))


def test_quantise__steps__are_rounded_to_even_and_cut():
    row = np.array([[0.5, -0.5, 2.5, 500_000]], np.float32) / search_index.STEPS
    assert search_index.quantise(row).tolist() == [[0, 0, 2, search_index.MOST]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 70))
def test_nearest__of_floats__is_that_of_integers_with_ties_in_order(seed, count, top):
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (count, 6)).astype(np.int16)  # many are alike
    question = random.integers(-search_index.MOST, search_index.MOST + 1, 6).astype(np.int16)
    scores = vectors.astype(np.int64) @ question.astype(np.int64)
    wanted = sorted(range(count), key=lambda n: (-scores[n], n))[:top]
    found = search_index.nearest(vectors.astype(np.float32), question, top)
    assert [number for number, _ in found] == wanted
    assert [score * search_index.STEPS**2 for _, score in found] == [scores[n] for n in wanted]


def test_nearest__widest_and_largest__is_that_of_whole_numbers():
    """float32 rounds these sums by thousands, and integers tell them apart."""
    width, most = search_index.MAX_WIDTH, search_index.MOST
    random = np.random.default_rng(7)
    vectors = np.full((10_000, width), most, np.int16)
    vectors[:, 0] -= random.integers(0, 5000, len(vectors)).astype(np.int16)
    question = np.full(width, most, np.int16)
    scores = vectors.astype(np.int64) @ question.astype(np.int64)
    wanted = sorted(range(len(vectors)), key=lambda n: (-scores[n], n))[:20]
    rounded = np.argsort(-(vectors.astype(np.float32) @ question.astype(np.float32)), kind="stable")
    assert rounded[:20].tolist() != wanted
    found = search_index.nearest(vectors.astype(np.float32), question, 20)
    assert [number for number, _ in found] == wanted
