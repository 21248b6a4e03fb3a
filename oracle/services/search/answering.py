"""Lets a text model answer from an index: it is shown the nearest passages, and cites them.

```
 question ─▶ paid embedding ─▶ passages [1] … [n] ─▶ prompt ─▶ paid text ─▶ [n] looked up
```
Only a number of a passage that was shown is a source, and each of these is in the index, whose
files fit its digest. That says where to look; it does not say that a sentence follows from it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid, NotFound
from oracle.protocol import search_index
from oracle.protocol.search_index import FoundPassage, Passage
from oracle.services import inference, models, quoting
from oracle.services.builders import Update
from oracle.services.conversation import ChatAnswer, Conversation, Heard
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.quoting import Ask, Prepayment
from oracle.services.search import corpus, indexes
from oracle.services.search.indexes import IndexMismatch, OpenIndex
from oracle.types import Amount, RequestId

PASSAGES = 4  # that a model is shown
SHORT = 3  # words: a question of no more is looked up together with the one before
EARLIER = 3  # questions and answers of a chat that are carried on
STOP = ("\n",)  # a base model would go on with a question of its own
_HEAD = """\
Each answer begins with the number of the passage that says it.

Passages:
[1] Parcels are sent from the back door.
[2] The shop opens at nine on weekdays. On Sundays it is closed.
Question: When does the shop open?
Answer: [2] The shop opens at nine on weekdays.

Passages:
[1] The library lends books for four weeks.
[2] Readers pay ten cents for each day that a book is late.
Question: How long may I keep a book?
Answer: [1] The library lends books for four weeks.
"""
_SOURCES, _PASSAGES = "Sources:", "Passages:"
_CITED = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")


# ── Pure ────────────────────────────────────────────────────────────────────────────────────────
def prompt(
    question: str, found: Sequence[FoundPassage], messages: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Return what a model continues with an answer: two examples, what was said, passages.

    No chat template is used, so models without one answer, too. Each passage is one line: none can
    pass for a question or for another passage.

    Args:
        messages: what was said before; its last questions and answers are carried on.
    """
    system = [_line(one) for one in messages if one["role"] == "system"]
    said = [one for one in messages if one["role"] != "system"][-2 * EARLIER :]
    names = {"user": "Question", "assistant": "Answer"}
    before = [f"{names[one['role']]}: {_line(one)}" for one in said]
    blank = [""] if before else []
    sources = [f"[{n}] {' '.join(one.passage.source.split())}" for n, one in enumerate(found, 1)]
    told = [f"[{n}] {' '.join(one.passage.text.split())}" for n, one in enumerate(found, 1)]
    asked = [f"Question: {' '.join(question.split())}", "Answer:"]
    parts = [*system, _HEAD, *before, *blank, _SOURCES, *sources, _PASSAGES, *told, *asked]
    return "\n".join(parts)


def passages_in(told: str) -> tuple[Passage, ...]:
    """Return the passages that a prompt shows, [1] first; none if it is not of `prompt`."""
    lines = told.split("\n")
    if lines[-1] != "Answer:" or _PASSAGES not in lines:
        return ()
    middle = len(lines) - 1 - lines[::-1].index(_PASSAGES)
    texts = lines[middle + 1 : -2]
    start = middle - len(texts)
    if start < 1 or lines[start - 1] != _SOURCES:
        return ()
    return tuple(
        Passage(source.removeprefix(f"[{number}] "), said.removeprefix(f"[{number}] "))
        for number, (source, said) in enumerate(zip(lines[start:middle], texts, strict=True), 1)
    )


def _line(message: Mapping[str, Any]) -> str:
    return " ".join(str(message["content"]).split())


@dataclass(frozen=True, slots=True)
class Citations:
    """The numbers that an answer names: of passages that were shown, and others."""

    shown: tuple[int, ...]  # from 1, each once, as they are first named
    unknown: tuple[int, ...]


def citations(content: str, count: int) -> Citations:
    """Return what `[1]` and `[2, 3]` in an answer name, when so many passages were shown."""
    named = dict.fromkeys(
        int(number) for group in _CITED.findall(content) for number in group.split(",")
    )
    return Citations(
        tuple(number for number in named if 1 <= number <= count),
        tuple(number for number in named if not 1 <= number <= count),
    )


# ── An index that questions are put to ──────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Retrieved:
    """The passages that were found for a question, and what that cost."""

    found: tuple[FoundPassage, ...]
    fee: Amount
    request_id: RequestId


class Knowledge:
    """An index, and a wallet that pays one embedding for each question."""

    def __init__(
        self, network: Network, wallet: Wallet, index: OpenIndex, model: Selected | None = None,
        *, top: int = PASSAGES, failure: Callable[[RequestId], str | None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Take an index, and the model that makes its vectors; found by its weights by default.

        Raises:
            NotFound: no model has these weights. IndexMismatch: `model` has others.
            InputInvalid: `top` is not 1 to 100.
        """
        indexes.require_top(top)
        self._model = model or model_of(network, index)
        indexes.require_model(network, index.document, self._model)
        self._network, self._wallet, self.index = network, wallet, index
        self._top, self._failure = top, failure

    def prepare(self, question: str) -> Prepayment:
        """Check what finding passages costs; nothing is spent. Raises: see `quoting.quote`."""
        ask = Ask(model=self._model, source=[question])
        return quoting.quote(self._network, self._wallet.address, ask, stdin=bytes)

    def find(self, prepared: Prepayment) -> Retrieved:
        """Pay for the embedding, and return the passages. Raises: see `inference.wait`."""
        network = self._network
        asked = inference.ask(network, self._wallet, prepared)
        info = inference.wait(
            network, asked.request_id, since=asked.transaction.block, failure=self._failure
        )
        _, data = inference.answer(network, info, prepared.manifest, prepared.prepared)
        vector = indexes.embedding_of(data, prepared.manifest)
        return Retrieved(self.index.find(vector, self._top), asked.fee, asked.request_id)

    def check(self, found: Sequence[FoundPassage]) -> None:
        """Refuse passages that are not in the index. Raises: IndexMismatch: one is not."""
        passages = self.index.passages
        for one in found:
            if not 0 <= one.number < len(passages) or passages[one.number] != one.passage:
                raise IndexMismatch(
                    f"passage {one.number} is not in the index 0x{self.index.document.digest.hex()}"
                )


def model_of(network: Network, index: OpenIndex) -> Selected:
    """Return the newest version in use that has the weights which made an index.

    Raises:
        NotFound: there is none.
    """
    root = index.document.model_root
    for info in models.list_models(network):
        for version in reversed(models.versions(network, info.model_id)):
            if version.model_root == root and not version.retired:
                return Selected(info.model_id, version.version)
    raise NotFound(
        f"no model on this network has the weights 0x{root.hex()} that made the index",
        hint="build the index with a model that is published here",
    )


def open_knowledge(
    network: Network, name: str, model: Selected | None, update: Update = lambda *_: None
) -> OpenIndex:
    """Open an index by CID or folder, or make one of a folder of texts; it is kept in the cache.

    Raises:
        InputInvalid: a folder of texts, and no model that embeds them.
        Others: see `indexes.open_index` and `indexes.build`.
    """
    source = Path(name)
    if not source.exists() or (source / indexes.DOCUMENT).is_file():
        return indexes.open_index(network, name)
    passages = search_index.write_passages(corpus.read(source))
    if model is None:
        raise InputInvalid(
            f"{name} holds texts: a model of sentences has to read them",
            hint="name one with --embedder, or an index of `tallystick search build`",
        )
    version = models.current_version(network, model)
    root = models.record_of(network, model.model_id, version).model_root
    kept = network.cache / f"knowledge-{hashlib.sha256(root + passages).hexdigest()}"
    if not (kept / indexes.DOCUMENT).is_file():  # it is written last
        indexes.build(network, model, source, kept, update)
    return indexes.open_folder(kept)


# ── A chat ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class CitedAnswer:
    """An answer with the passages that it was written from."""

    answer: ChatAnswer
    passages: tuple[FoundPassage, ...]  # [1] is the first
    citations: Citations
    cost: Amount  # of the answer, and of finding the passages
    retrieval: RequestId  # the embedding


class KnowledgeChat:
    """A chat in which each question is asked together with what an index has nearest to it.

    What was said is carried on, the passages of earlier questions are not.
    """

    def __init__(self, talk: Conversation, knowledge: Knowledge) -> None:
        """Take a chat, and what it knows."""
        self.talk, self.knowledge, self._before = talk, knowledge, ""
        self.spent = Amount(0)  # on finding passages

    def prepare(self, question: str) -> Prepayment:
        """Check a question; nothing is spent. Raises: see `Knowledge.prepare`."""
        alone = len(question.split()) > SHORT
        return self.knowledge.prepare(question if alone else f"{self._before} {question}".strip())

    def find(self, prepared: Prepayment) -> Retrieved:
        """Pay for the passages of a question that was prepared. Raises: see `Knowledge.find`."""
        found = self.knowledge.find(prepared)
        self.knowledge.check(found.found)
        self.spent = Amount(self.spent + found.fee)
        return found

    def prepare_answer(self, question: str, retrieved: Retrieved) -> Any:
        """Check a question with its passages; nothing is spent. Raises: see `Conversation`."""
        told = prompt(question, retrieved.found, self.talk.messages)
        return self.talk.prepare_source({"prompt": told, "stop": list(STOP)})

    def keep(self, question: str, answer: str) -> None:
        """Go on with what was asked and answered."""
        self._before = question
        self.talk.keep(question, answer.strip())

    def say(self, question: str, heard: Heard = lambda _piece: None) -> CitedAnswer:
        """Find passages, ask, pay for both, and return the answer with its sources.

        Args:
            heard: as for `Conversation.say`.

        Raises:
            What `prepare`, `find` and `Conversation.say` do.
        """
        retrieved = self.find(self.prepare(question))
        written = self.talk.answer(self.prepare_answer(question, retrieved), heard)
        self.keep(question, written.content)
        return cited(written, retrieved)


def cited(written: ChatAnswer, retrieved: Retrieved) -> CitedAnswer:
    """Return an answer with its sources."""
    return CitedAnswer(
        written, retrieved.found, citations(written.content, len(retrieved.found)),
        Amount(written.cost + retrieved.fee), retrieved.request_id,
    )  # fmt: skip
