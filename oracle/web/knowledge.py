"""Passages for a chat's question: from the index that the model's version names, and from no other.

```
 manifest: runtime.options.knowledge = CID ─▶ index, opened once ─▶ what it is, who embeds for it
 paid embedding of a question ─▶ nearest passages ─▶ the question with them, as `answering` asks it
```
An index that a visitor named would be fetched and kept at this server's cost, so none is.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from oracle.errors import InputInvalid, NotFound
from oracle.protocol import cid, search_index
from oracle.protocol.search_index import SearchIndex
from oracle.services import inference, models, requests
from oracle.services.amounts import parse_request_id
from oracle.services.network import Network
from oracle.services.search import answering, indexes
from oracle.services.search.indexes import IndexMismatch, IndexTooLarge, OpenIndex
from oracle.types import Cid

OPTION = "knowledge"  # of a manifest's `runtime.options`
MOST = 2**26  # bytes of an index that a page opens
_KEPT = 2  # indexes in memory


class PageKnowledge:
    """Indexes that versions name. Safe for threads."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._open: OrderedDict[str, OpenIndex] = OrderedDict()
        self._lock = threading.Lock()

    def about(self, model_id: int, version: int) -> dict[str, Any]:
        """Return what the index of a version is, and what each question costs beside its answer.

        Raises:
            NotFound: the version names none, or no model embeds for it.
            CidUnresolved, IndexMismatch, IndexTooLarge, InputInvalid: it is not to be had.
        """
        named, index = self._index(model_id, version)
        embedder = answering.model_of(self._network, index)
        listed = models.versions(self._network, embedder.model_id)
        fee = next(one.fee for one in listed if one.version == embedder.version)
        return {
            "cid": named, "name": index.document.name, "passages": len(index.passages),
            "model": embedder.model_id, "version": embedder.version, "fee": fee,
            "embedder": self._network.registry.name_of(embedder.model_id),
            "short": answering.SHORT,
        }  # fmt: skip

    def passages(self, model_id: int, version: int, asked: bytes) -> dict[str, Any]:
        """Return the passages that a paid embedding is nearest to, and the question with them.

        Args:
            asked: JSON {"request", "question", "messages"}; the request asked for the embedding.

        Raises:
            InputInvalid: it is not that. Unanswered. Others: as `about`.
            IndexMismatch: another model answered than the one whose vectors the index has.
        """
        request, question, messages = _read(asked)
        _, index = self._index(model_id, version)
        info = requests.show(self._network, parse_request_id(request))
        root = models.record_of(self._network, info.model_id, info.version).model_root
        if root != index.document.model_root:
            raise IndexMismatch(f"request {request} was not put to the model that made the index")
        manifest = models.manifest(self._network, info.model_id, info.version)
        _, data = inference.answer(self._network, info, manifest)
        found = index.find(indexes.embedding_of(data, manifest), answering.PASSAGES)
        told = answering.prompt(question, found, messages)
        return {
            "passages": [asdict(one.passage) for one in found],
            "question": {"prompt": told, "stop": list(answering.STOP)},
        }

    def _index(self, model_id: int, version: int) -> tuple[Cid, OpenIndex]:
        options = models.manifest(self._network, model_id, version).runtime.options
        named = Cid(str(options.get(OPTION, "")))
        if not named:
            raise NotFound(f"version {version} of model {model_id} names no knowledge")
        cid.parse(named)  # never a path on this machine
        with self._lock:
            if named not in self._open:
                self._open[named] = self._opened(named)
            self._open.move_to_end(named)
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)
            return named, self._open[named]

    def _opened(self, named: Cid) -> OpenIndex:
        data = self._network.ipfs.fetch_bytes(named, search_index.MAX_DOCUMENT)
        document = SearchIndex.parse(data)
        if (size := document.passages.size + document.vectors.size) > MOST:
            raise IndexTooLarge(
                f"the index has {size} bytes, a page opens {MOST} at most",
                hint="`tallystick chat --knowledge` opens larger ones",
            )
        return indexes.open_index(self._network, named)


def _read(asked: bytes) -> tuple[str, str, list[Mapping[str, Any]]]:
    """Return request, question and what was said before.

    Raises:
        InputInvalid: malformed.
    """
    try:
        body = json.loads(asked)
        request, question, messages = body["request"], body["question"], body["messages"]
        said: list[Mapping[str, Any]] = [
            {"role": one["role"] + "", "content": one["content"] + ""} for one in messages
        ]
        known = all(one["role"] in ("system", "user", "assistant") for one in said)
        (request + question).encode()  # half a surrogate is no text
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputInvalid(f"the question is malformed: {error!r:.100}") from error
    if not known or not question.strip():
        raise InputInvalid("the question is empty, or a message has no role")
    return request, question, said
