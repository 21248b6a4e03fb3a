"""An index that fits its document is opened; one that does not is refused, with what differs."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from oracle.errors import InputInvalid, NotFound
from oracle.ipfs.memory import MemoryIpfs
from oracle.ipfs.port import CidUnresolved
from oracle.protocol import canonical, search_index, tensor
from oracle.protocol.search_index import Passage, SearchIndex
from oracle.services.search import indexes
from oracle.services.search.indexes import IndexMismatch, IndexTooLarge
from oracle.types import Bytes32

ROOT = Bytes32(bytes([7]) * 32)
TEXTS = ("the cat sleeps", "taxes rise", "a kitten naps", "the cat sleeps")
EMBEDDINGS = np.array([[0.2, 0, 0.1], [0, 0.2, 0], [0.2, 0, 0.05], [0.2, 0, 0.1]], np.float32)


@pytest.fixture
def network(tmp_path):
    """A network of which only IPFS and the cache are asked."""
    (tmp_path / "cache").mkdir()
    return SimpleNamespace(ipfs=MemoryIpfs(), cache=tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    """An index as `build` writes it."""
    place = tmp_path / "index"
    place.mkdir()
    passages = [Passage("notes.md", text) for text in TEXTS]
    (place / search_index.PASSAGES).write_bytes(search_index.write_passages(passages))
    vectors = search_index.quantise(EMBEDDINGS)
    (place / search_index.VECTORS).write_bytes(search_index.write_vectors(vectors))
    document = SearchIndex(
        name="notes", model_root=ROOT, count=4, width=3,
        passages=indexes._entry(place, search_index.PASSAGES),
        vectors=indexes._entry(place, search_index.VECTORS),
    )  # fmt: skip
    (place / indexes.DOCUMENT).write_bytes(document.to_bytes())
    return place


def test_find__equal_passages__in_the_order_of_the_index(folder):
    found = indexes.open_folder(folder).find(EMBEDDINGS[0], 3)
    assert [one.number for one in found] == [0, 3, 2]
    assert found[0].score == found[1].score > found[2].score
    assert found[2].passage == Passage("notes.md", "a kitten naps")


def test_publish__then_opened_by_its_cid__finds_the_same(network, folder):
    cid = indexes.publish(network, folder)
    opened = indexes.open_index(network, cid)
    assert opened.document.digest == indexes.open_folder(folder).document.digest
    assert opened.find(EMBEDDINGS[1], 1) == indexes.open_folder(folder).find(EMBEDDINGS[1], 1)
    assert indexes.publish(network, folder) == cid


@pytest.mark.parametrize("name", [search_index.PASSAGES, search_index.VECTORS])
def test_open__bytes_that_do_not_fit_the_digest__are_refused(network, folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(data)
    for act in (indexes.open_folder, lambda place: indexes.publish(network, place)):
        with pytest.raises(IndexMismatch, match=f"{name} has SHA-256"):
            act(folder)


def name_passages(folder, data):
    """Let an index name other passages, whatever they are."""
    (folder / search_index.PASSAGES).write_bytes(data)
    body = json.loads((folder / indexes.DOCUMENT).read_bytes())
    entry = indexes._entry(folder, search_index.PASSAGES)
    body["passages"] |= {"cid": entry.cid, "sha256": "0x" + entry.sha256.hex(), "size": entry.size}
    (folder / indexes.DOCUMENT).write_bytes(canonical.dumps(body))


def test_open__fewer_passages_than_it_names__is_refused(folder):
    name_passages(folder, search_index.write_passages([Passage("notes.md", t) for t in TEXTS[:3]]))
    with pytest.raises(InputInvalid, match="3 lines, the index names 4"):
        indexes.open_folder(folder)


def test_open__index_above_memory__is_refused_before_anything_is_fetched(network, folder):
    document = indexes.open_folder(folder).document
    size = 4_000_000 * search_index.MAX_LINE
    vectors = tensor.encoded_size({"vectors": ("I16", (4_000_000, 1024))})
    large = replace(
        document, count=4_000_000, width=1024,
        passages=replace(document.passages, size=size),
        vectors=replace(document.vectors, size=vectors),
    )  # fmt: skip
    cid = network.ipfs.publish_bytes(large.to_bytes()).cid
    with pytest.raises(IndexTooLarge, match="GiB of memory"):
        indexes.open_index(network, cid)
    assert list(network.cache.iterdir()) == []


def test_require_memory__half_of_it__is_the_most(folder):
    document = indexes.open_folder(folder).document
    needed = 8 * (document.passages.size + document.vectors.size)
    indexes.require_memory(document, 2 * needed)
    with pytest.raises(IndexTooLarge):
        indexes.require_memory(document, 2 * needed - 1)


@pytest.mark.parametrize("name", [search_index.PASSAGES, indexes.DOCUMENT])
def test_open__endless_file__is_not_read(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(NotFound):
        indexes.open_folder(folder)


@pytest.mark.parametrize("name", [search_index.VECTORS, indexes.DOCUMENT])
def test_open__file_longer_than_it_may_be__is_refused(folder, name):
    with (folder / name).open("ab") as file:
        file.truncate(2**36)  # a hole: it takes no room
    with pytest.raises(IndexMismatch, match="longer than"):
        indexes.open_folder(folder)


def test_open__nothing_there__says_so(network, folder):
    cid = indexes.publish(network, folder)
    network.ipfs.forget(indexes.open_folder(folder).document.vectors.cid)
    with pytest.raises(CidUnresolved):
        indexes.open_index(network, cid)
    (folder / search_index.VECTORS).unlink()
    with pytest.raises(NotFound, match="no vectors"):
        indexes.open_folder(folder)
    (folder / indexes.DOCUMENT).unlink()
    with pytest.raises(NotFound, match="holds no index"):
        indexes.open_folder(folder)


@pytest.mark.parametrize(("width", "top"), [(4, 1), (3, 0), (3, 101)])
def test_find__question_that_does_not_fit__is_refused(folder, width, top):
    with pytest.raises(InputInvalid):
        indexes.open_folder(folder).find(np.zeros(width, np.float32), top)
