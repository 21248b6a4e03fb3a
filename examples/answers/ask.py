"""Answers from a knowledge folder, each sentence with the passage that it stands in.

    tallystick search build examples/answers/knowledge build/help --model all-MiniLM-L6-v2
    python -m examples.answers.ask build/help "When is the fee refunded?"
    python -m examples.answers.ask build/help --chat

The answer is extracted, not written: the sentences of the nearest passages that are nearest to the
question. So nothing is said that the folder does not say. A question that nothing is near to gets
no answer. Two paid embeddings make one answer. Needs a network (`tallystick up`) and
TALLYSTICK_PASSWORD_FILE.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import tallystick

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

    def __str__(self) -> str:
        if not self.sentences:
            return f"The knowledge folder does not say. ({self.cost} dollars)"
        text = " ".join(f"{sentence} [{at}]" for sentence, at in self.sentences)
        cited = [f"  [{at}] {source}" for at, source in enumerate(self.sources, 1)]
        return "\n".join([text, *cited, f"  {self.cost} dollars; proofs: {', '.join(self.proofs)}"])


def answer(network: tallystick.Connection, index: str, question: str, model: str) -> Reply:
    """Return what the index's passages say to a question, word for word."""
    found = network.search(index, question, model=model, top=PASSAGES)
    said = [
        (sentence, one.passage.source)
        for one in found.found
        for sentence in _END.split(one.passage.text)
        if len(sentence.split()) > 2
    ][:MOST]
    told = network.ask(model, [sentence for sentence, _ in said])
    likeness = told.value @ found.answer.value.reshape(-1)
    best = sorted(np.argsort(-likeness, kind="stable")[:SENTENCES])  # in the order of the passages
    kept = [said[n] for n in best if likeness[n] >= LIKE]
    sources = tuple(dict.fromkeys(source for _, source in kept))
    return Reply(
        tuple((sentence, sources.index(source) + 1) for sentence, source in kept),
        sources,
        str(tallystick.dollars(found.answer.cost + told.cost)),
        (found.answer.request_id, told.request_id),
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
    parser.add_argument("--wallet", default="requester")
    given = parser.parse_args()
    if not given.question and not given.chat:
        parser.error("a question is wanted, or --chat")
    with tallystick.connect(wallet=given.wallet) as network:
        try:
            for question in conversation(given.question):
                print(answer(network, given.index, question, given.model), flush=True)
                if not given.chat:
                    break
        except EOFError:
            pass  # the customer hung up: every question was answered or is on the chain


if __name__ == "__main__":
    main()
