"""Builds, publishes and opens search indexes, and finds the passages that answer a question.

```
 build   passages ─ worker.embedding ─▶ vectors, index.json      no money, no network but the model
 publish both files to IPFS, then the document: its CID names all of it
 open    document by CID ─▶ both files by digest, kept in the cache
 find    a paid embedding of the question ─▶ the same passages, whoever looks
```
The digest covers what was published: texts and vectors, not how they are searched. Floats of other
machines may lie a step beside a vector, so vectors are fetched, and never made again.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oracle import whole_file
from oracle.errors import DigestMismatch, InputInvalid, NotFound, PermanentError
from oracle.exact import form
from oracle.ipfs import unixfs
from oracle.private_files import make_folder
from oracle.protocol import search_index, tensor
from oracle.protocol.files import FileEntry
from oracle.protocol.manifest import Manifest
from oracle.protocol.search_index import PASSAGES, VECTORS, FoundPassage, Passage, SearchIndex
from oracle.protocol.tensor import Array
from oracle.services import models
from oracle.services.builders import Build, Update
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.quoting import fetch_file
from oracle.services.search import corpus
from oracle.types import Bytes32, Cid

DOCUMENT = "index.json"
MOST = 100  # passages of one answer


_COPIES = 8  # bytes in memory for each of a file: as read, as texts or float32, and on the way


class IndexTooLarge(InputInvalid):
    """An index needs more memory than this machine has."""


class IndexMismatch(DigestMismatch):
    """Passages or vectors are not those that the index's document names."""


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """An index whose bytes fit its document. `vectors` are F32 [count, width], whole numbers."""

    document: SearchIndex
    passages: tuple[Passage, ...]
    vectors: Array

    def find(self, embedding: Array, top: int = 5) -> tuple[FoundPassage, ...]:
        """Return the passages nearest to an embedding, F32 [width]; equal ones in their order.

        Raises:
            InputInvalid: the embedding is of another width, or `top` is not 1 to 100.
        """
        require_top(top)
        if embedding.shape != (self.document.width,):
            raise InputInvalid(
                f"the question became {list(embedding.shape)} numbers, the index has "
                f"{self.document.width} for a passage",
                hint="ask the model that the index was built with",
            )
        (question,) = search_index.quantise(embedding[np.newaxis])
        return tuple(
            FoundPassage(number, score, self.passages[number])
            for number, score in search_index.nearest(self.vectors, question, top)
        )


# ── Build ───────────────────────────────────────────────────────────────────────────────────────
def build(
    network: Network, model: Selected, source: Path, folder: Path, update: Update
) -> tuple[SearchIndex, dict[str, int]]:
    """Write an index of a folder or file of texts; return its document, and what was measured.

    Raises:
        NotFound, KnowledgeRefused, InputInvalid: see `corpus.read`; the model takes no text.
        PermanentError: a passage does not fit the model; the message says which.
    """
    passages = corpus.read(source)
    version = models.current_version(network, model)
    manifest = models.manifest(network, model.model_id, version)
    make_folder(folder)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        whole_file.write(place / "manifest.json", manifest.to_bytes())
        for entry in manifest.files:
            target = place / "files" / entry.path
            make_folder(target.parent)
            target.symlink_to(fetch_file(network, entry, None).resolve())
        whole_file.write(place / PASSAGES, search_index.write_passages(passages))
        with Build("worker.embedding", place) as made:
            _wait(made, update)
        for part in (PASSAGES, VECTORS):
            whole_file.write(folder / part, (place / part).read_bytes())
    vectors = tensor.decode((folder / VECTORS).read_bytes(), 2**40)["vectors"]
    document = SearchIndex(
        name=source.resolve().stem,
        model_root=models.record_of(network, model.model_id, version).model_root,
        count=len(passages),
        width=vectors.shape[1],
        passages=_entry(folder, PASSAGES),
        vectors=_entry(folder, VECTORS),
    )
    whole_file.write(folder / DOCUMENT, document.to_bytes())
    return document, json.loads(made.last_line)


def _wait(made: Build, update: Update) -> None:
    try:
        made.wait(update)
    except PermanentError as error:
        try:
            said = json.loads(made.last_line)["message"]
        except (ValueError, KeyError, TypeError):
            raise error from None
        raise InputInvalid(said) from error


def _entry(folder: Path, name: str) -> FileEntry:
    data = (folder / name).read_bytes()
    sha256 = Bytes32(hashlib.sha256(data).digest())
    return FileEntry(name, unixfs.file_cid(data).text(), sha256, len(data))


def publish(network: Network, folder: Path) -> Cid:
    """Put an index on IPFS; return the CID that names it. May be repeated.

    Raises:
        NotFound, IndexMismatch, InputInvalid: the folder holds no index that fits its document.
    """
    document = open_folder(folder).document
    for entry in (document.passages, document.vectors):
        found = network.ipfs.publish_file(folder / entry.path)
        if (found.cid, found.sha256) != (entry.cid, entry.sha256):
            raise IndexMismatch(f"{entry.path} became {found.cid}, the document says {entry.cid}")
    return network.ipfs.publish_bytes(document.to_bytes()).cid


# ── Open ────────────────────────────────────────────────────────────────────────────────────────
def open_index(network: Network, name: str) -> OpenIndex:
    """Open an index by the CID of its document, or by its folder.

    Raises:
        NotFound: no such folder. CidUnresolved: nobody serves it.
        IndexMismatch: a file is not what the document names. InputInvalid: no document.
        IndexTooLarge: it does not fit into memory; nothing of it was fetched.
    """
    if Path(name).is_dir():
        return open_folder(Path(name))
    document = SearchIndex.parse(network.ipfs.fetch_bytes(Cid(name), search_index.MAX_DOCUMENT))
    return _opened(document, lambda entry: fetch_file(network, entry, None))


def open_folder(folder: Path) -> OpenIndex:
    """Open an index that lies in a folder.

    Raises:
        NotFound, IndexMismatch, InputInvalid, IndexTooLarge: see `open_index`.
    """
    try:
        data = _read(folder / DOCUMENT, search_index.MAX_DOCUMENT)
    except OSError as error:
        raise NotFound(
            f"{folder} holds no index: {error.strerror}", hint="`tallystick search build` makes one"
        ) from error
    return _opened(SearchIndex.parse(data), lambda entry: folder / entry.path)


def require_memory(document: SearchIndex, memory: int) -> None:
    """Refuse an index that needs more than half of so many bytes.

    Raises:
        IndexTooLarge: it does.
    """
    needed = _COPIES * (document.passages.size + document.vectors.size)
    if needed > memory // 2:
        raise IndexTooLarge(
            f"the index needs {needed / 2**30:.1f} GiB of memory, this machine has "
            f"{memory / 2**30:.1f} GiB",
            hint="half of it at most: open it on a larger machine",
        )


def _opened(document: SearchIndex, fetch: Callable[[FileEntry], Path]) -> OpenIndex:
    require_memory(document, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    data = {}
    for entry in (document.passages, document.vectors):
        try:
            data[entry.path] = _read(fetch(entry), entry.size)
        except OSError as error:
            raise NotFound(f"the index has no {entry.path}: {error.strerror}") from error
        if (found := hashlib.sha256(data[entry.path]).digest()) != entry.sha256:
            raise IndexMismatch(
                f"{entry.path} has SHA-256 {found.hex()}, the index names {entry.sha256.hex()}",
                hint="build or fetch the index again",
            )
    passages = search_index.read_passages(data[document.passages.path], document.count)
    vectors = search_index.read_vectors(data[document.vectors.path], document)
    return OpenIndex(document, passages, vectors.astype(np.float32))


def _read(path: Path, most: int) -> bytes:
    """Return a file's content, whose size is known beforehand.

    Raises:
        OSError: it cannot be read, or is no file. IndexMismatch: it is longer than it may be.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise IndexMismatch(f"{path.name} is longer than {most} bytes", hint="fetch it again")
    return data


# ── Ask ─────────────────────────────────────────────────────────────────────────────────────────
def require_top(top: int) -> None:
    """Refuse a number of passages, before the question is paid. Raises: InputInvalid."""
    if not 1 <= top <= MOST:
        raise InputInvalid(f"{top} passages", hint=f"1 to {MOST}")


def require_model(network: Network, index: SearchIndex, model: Selected) -> None:
    """Refuse a model with other weights than those that made the vectors.

    Raises:
        IndexMismatch: it has others.
    """
    version = models.current_version(network, model)
    root = models.record_of(network, model.model_id, version).model_root
    if root != index.model_root:
        raise IndexMismatch(
            f"model {model.model_id} version {version} has weights 0x{root.hex()}, the index was "
            f"built with 0x{index.model_root.hex()}",
            hint="ask a version with those weights: NAME@VERSION",
        )


def embedding_of(data: bytes, manifest: Manifest) -> Array:
    """Return the embedding, F32 [width], that the answer to one question holds.

    Raises:
        InputInvalid: the model answers several outputs, or something else than the manifest says.
    """
    arrays = form.of(manifest).decode_outputs(data)
    if len(arrays) != 1:
        raise InputInvalid(f"the model answers {', '.join(arrays)}", hint="one output is wanted")
    return next(iter(arrays.values())).reshape(-1)
