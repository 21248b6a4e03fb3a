"""Answers from a knowledge folder, each sentence with the passage that it stands in.

    tallystick search build examples/answers/knowledge build/help --model all-MiniLM-L6-v2
    python -m examples.answers.ask build/help "When is the fee refunded?"
    python -m examples.answers.ask build/help --chat
    python -m examples.answers.ask build/help "When is the fee refunded?" --write gemma

The answer is extracted, not written: the sentences of the nearest passages that are nearest to the
question. So nothing is said that the folder does not say. A question that nothing is near to gets
no answer. Two paid embeddings make one answer.

With `--write` a text model is shown the passages and writes, with the numbers of those that it
cites. It may say what they do not. Needs a network (`tallystick up`) and TALLYSTICK_PASSWORD_FILE.
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

import tallystick
from oracle.protocol.search_index import Passage
from oracle.protocol.tensor import Array
from oracle.services.search.answering import KnowledgeChat

PASSAGES, SENTENCES = 4, 2
MOST = 16  # sentences that are embedded for one question
LIKE = 0.35  # cosine below which a sentence is no answer
_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Reply:
    """Sentences with the numbers of their sources, and what they cost in dollars."""

    sentences: tuple[tuple[str, int], ...]
    sources: tuple[str, ...]
    cost: str
    proofs: tuple[str, ...]
    written: str = ""  # by a model, instead of sentences

    def __str__(self) -> str:
        if not self.sentences and not self.written:
            return f"The knowledge folder does not say. ({self.cost} dollars)"
        text = self.written or " ".join(f"{sentence} [{at}]" for sentence, at in self.sentences)
        cited = [f"  [{at}] {source}" for at, source in enumerate(self.sources, 1)]
        return "\n".join([text, *cited, f"  {self.cost} dollars; proofs: {', '.join(self.proofs)}"])


def sentences(passages: Iterable[Passage]) -> list[tuple[str, str]]:
    """Return the sentences of passages, each with its source; very short ones are left out."""
    return [
        (sentence, passage.source)
        for passage in passages
        for sentence in _END.split(passage.text)
        if len(sentence.split()) > 2
    ][:MOST]


def nearest(likeness: Array) -> list[int]:
    """Return the numbers of the sentences that answer, in the order of the passages.

    Args:
        likeness: cosine of each sentence and the question, F32 [n].
    """
    best = sorted(np.argsort(-likeness, kind="stable")[:SENTENCES])
    return [int(n) for n in best if likeness[n] >= LIKE]


def answer(network: tallystick.Connection, index: str, question: str, model: str) -> Reply:
    """Return what the index's passages say to a question, word for word."""
    found = network.search(index, question, model=model, top=PASSAGES)
    said = sentences(one.passage for one in found.found)
    if not said:  # passages of a word or two: there is nothing to embed
        return Reply((), (), str(tallystick.dollars(found.answer.cost)), (found.answer.request_id,))
    told = network.ask(model, [sentence for sentence, _ in said])
    kept = [said[n] for n in nearest(told.value @ found.answer.value.reshape(-1))]
    sources = tuple(dict.fromkeys(source for _, source in kept))
    return Reply(
        tuple((sentence, sources.index(source) + 1) for sentence, source in kept),
        sources,
        str(tallystick.dollars(found.answer.cost + told.cost)),
        (found.answer.request_id, told.request_id),
    )


def written(chat: KnowledgeChat, question: str) -> Reply:
    """Return what a text model writes to a question, and the passages that it was shown."""
    told = chat.say(question)
    named = told.citations.shown
    return Reply(
        (),
        tuple(
            f"{one.passage.source}{' (cited)' if number in named else ''}: {one.passage.text}"
            for number, one in enumerate(told.passages, 1)
        ),
        str(tallystick.dollars(told.cost)),
        ("0x" + told.retrieval.hex(), told.answer.proof),
        told.answer.content.strip() or "(nothing was written)",
    )


def conversation(first: str) -> Iterator[str]:
    """Yield what a customer types, a short question together with the one before."""
    before = question = first
    while question or (question := input("you: ").strip()):
        yield question if len(question.split()) > 3 else f"{before} {question}".strip()
        before, question = question, ""


def main() -> None:
    """Answer one question, or as many as a customer has; an empty line ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("index", help="folder or CID of an index")
    parser.add_argument("question", nargs="?", default="")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--chat", action="store_true", help="go on asking")
    parser.add_argument("--write", metavar="MODEL", default="", help="text model that writes")
    parser.add_argument("--wallet", default="requester")
    given = parser.parse_args()
    if not given.question and not given.chat:
        parser.error("a question is wanted, or --chat")
    with tallystick.connect(wallet=given.wallet) as network:
        chat = None
        if given.write:
            talk = network.chat(given.write, params={"temperature": 0, "max_tokens": 64})
            chat = network.consult(talk, given.index, embedder=given.model, top=PASSAGES)
        try:
            for question in conversation(given.question):
                told = chat and written(chat, question)
                print(told or answer(network, given.index, question, given.model), flush=True)
                if not given.chat:
                    break
        except EOFError:
            pass  # the customer hung up: every question was answered or is on the chain


if __name__ == "__main__":
    main()
