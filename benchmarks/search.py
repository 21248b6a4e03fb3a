"""Search over 100,000 real passages: how exact, how fast, and whether digests agree.

The passages are the 100,000 shortest definitions of WordNet 3.0 (Debian's `wordnet-base`), found
below `WNSEARCHDIR`, /usr/share/wordnet by default. The questions are sentences that WordNet gives
as examples of a word in use: none of them is a passage. all-MiniLM-L6-v2 reads both as a worker
does. Search is exact, over vectors of integers; its reference is float32 over the embeddings
themselves, which says what the integers cost. HNSW of `faiss-cpu` stands beside where it is
installed. The embedding of a question is timed apart: an operator makes it.

Embedding takes about 15 minutes of one core. It is kept in pieces in the folder of benchmarks, so a
run that was stopped goes on where it was. Some batches of each piece are made again by two threads.
"""

import hashlib
import importlib
import io
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oracle import whole_file
from oracle.protocol import canonical, search_index
from oracle.services import folders

WORDNET = "/usr/share/wordnet"
COUNT, QUESTIONS, TOP = 100_000, 500, 10
PIECE = 4096  # passages that are embedded and kept together
AGAIN = 2  # batches of a piece that are made again by two threads
LEAST_WORDS = 4  # of an example that is a question
_EXAMPLE = re.compile(r'; "([^"]+)"')


@dataclass(frozen=True)
class Entry:
    """A word with its definition, and sentences that use it."""

    text: str
    examples: tuple[str, ...]


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report."""
    with importlib.import_module("threadpoolctl").threadpool_limits(1):  # it has no types
        return _run(report, build)


def _run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    entries = sorted(
        _entries(Path(os.environ.get("WNSEARCHDIR", WORDNET))),
        key=lambda entry: (len(entry.text), entry.text),
    )[:COUNT]
    asked = [
        (number, example)
        for number, entry in enumerate(entries)
        for example in entry.examples
        if len(example.split()) >= LEAST_WORDS
    ]
    asked = [asked[n] for n in np.linspace(0, len(asked) - 1, QUESTIONS).astype(int)]
    with tempfile.TemporaryDirectory() as place:
        embedder = embedder_in(Path(place))
        embeddings, seconds, again = _embedded(entries, embedder, build, report)
        questions = np.concatenate([embedder.embed([text]) for _, text in asked])
        alone = _timed(lambda n: embedder.embed([asked[n][1]]))
    vectors = search_index.quantise(embeddings)
    wide, small = vectors.astype(np.float32), search_index.quantise(questions)
    exact = [[n for n, _ in search_index.nearest(wide, one, TOP)] for one in small]
    times = _timed(lambda n: search_index.nearest(wide, small[n], TOP))
    integers = _whole(vectors, small)
    whole = [np.lexsort((np.arange(len(column)), -column))[:TOP].tolist() for column in integers.T]
    reference = [np.argsort(-row, kind="stable")[:TOP] for row in (questions @ embeddings.T)]
    found: dict[str, Any] = {
        "passages": len(entries), "questions": len(asked),
        "vectors_sha256": canonical.sha256(search_index.write_vectors(vectors)).hex(),
        "embedding_cpu_s": seconds, "made_again": again,
        "same_as_integers": float(np.mean([a == b for a, b in zip(exact, whole, strict=True)])),
        "recall": _shared(exact, reference),
        "p50_ms": float(np.median(times)), "p95_ms": float(np.quantile(times, 0.95)),
        "embedding_p50_ms": float(np.median(alone)),
        "own_definition": float(
            np.mean([n in ten for (n, _), ten in zip(asked, exact, strict=True)])
        ),
    }  # fmt: skip
    report(f"{len(entries):,} passages, {seconds:.0f} s of CPU to embed them")
    report(f"again by two threads: {again['same']:,} of {again['passages']:,} vectors are the same")
    report(f"vectors SHA-256 {found['vectors_sha256']}")
    report(
        f"CPU of a search: p50 {found['p50_ms']:.1f} ms, p95 {found['p95_ms']:.1f} ms, one thread;"
        f" the embedding beside it {found['embedding_p50_ms']:.1f} ms"
    )
    report(f"the same ten as integer arithmetic: {found['same_as_integers']:.1%} of {len(asked)}")
    report(f"recall@{TOP} of float32 over the unrounded embeddings: {found['recall']:.4f}")
    report(f"a sentence's own definition is among the ten: {found['own_definition']:.1%}")
    found["hnsw"] = _hnsw(wide, small, exact, report)
    return found


def _whole(vectors: Any, questions: Any) -> Any:
    """Return the products of all vectors and questions, int64, a block of vectors at a time."""
    asked = questions.astype(np.int64).T
    return np.concatenate(
        [vectors[n : n + PIECE].astype(np.int64) @ asked for n in range(0, len(vectors), PIECE)]
    )


def _timed(act: Callable[[int], object]) -> list[float]:
    """Return the milliseconds of CPU of an act for each question."""
    times = []
    for number in range(QUESTIONS):
        began = time.process_time()
        act(number)
        times.append(1e3 * (time.process_time() - began))
    return times


def _shared(found: Sequence[Sequence[int]], wanted: Sequence[Any]) -> float:
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([len(set(a) & set(map(int, b))) / TOP for a, b in pairs]))


def _entries(folder: Path) -> Iterator[Entry]:
    for kind in ("adj", "adv", "noun", "verb"):
        for line in (folder / f"data.{kind}").read_text().splitlines():
            head, bar, gloss = line.partition(" | ")
            if bar and not line.startswith("  "):
                word = head.split()[4].replace("_", " ")
                said = _EXAMPLE.sub("", gloss).strip()
                yield Entry(f"{word}: {said}", tuple(_EXAMPLE.findall(gloss)))


def embedder_in(place: Path) -> Any:
    """Return all-MiniLM-L6-v2, loaded as a worker does, with its files in a folder."""
    from examples.minilm.build import build as copy  # noqa: PLC0415
    from worker.embedding import Embedder  # noqa: PLC0415 - it brings torch

    folder = copy(place)
    manifest = folders.read(folder, lambda *_: None)
    return Embedder(manifest, {e.path: folder / e.path for e in manifest.files})


def _embedded(
    entries: list[Entry], embedder: Any, build: Path, report: Callable[[str], None]
) -> tuple[Any, float, dict[str, int]]:
    """Return F32 [n, 384], seconds of CPU, and how many vectors two threads make alike.

    Pieces that were made before are taken from their files.
    """
    texts = [entry.text for entry in entries]
    name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
    kept = build / f"search-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    pieces = []
    for number, start in enumerate(range(0, len(texts), PIECE)):
        path, part = kept / f"{number:03}.npz", texts[start : start + PIECE]
        if not path.is_file():
            _embed(part, embedder, path)
        with np.load(path) as file:
            pieces.append(dict(file))
        report(f"embedded {start + len(part):,} of {len(texts):,}")
    again = {name: int(sum(piece[name] for piece in pieces)) for name in ("passages", "same")}
    embeddings = np.concatenate([piece["embeddings"] for piece in pieces])
    return embeddings, float(sum(piece["cpu_s"] for piece in pieces)), again


def _embed(texts: list[str], embedder: Any, path: Path) -> None:
    """Write the embeddings of a piece, and how many of its first vectors two threads make alike."""
    import torch  # noqa: PLC0415 - the embedder brought it

    def embedded(part: list[str], threads: int) -> Any:
        torch.set_num_threads(threads)
        rows = range(0, len(part), embedder.rows)
        return np.concatenate([embedder.embed(part[n : n + embedder.rows]) for n in rows])

    some = texts[: AGAIN * embedder.rows]
    other = search_index.quantise(embedded(some, 2))
    began = time.process_time()
    found = embedded(texts, 1)
    seconds = time.process_time() - began
    same = (search_index.quantise(found[: len(some)]) == other).all(axis=1).sum()
    data = io.BytesIO()
    np.savez(data, embeddings=found, cpu_s=seconds, passages=len(some), same=same)
    whole_file.write(path, data.getvalue())


def _hnsw(
    wide: Any, questions: Any, exact: list[list[int]], report: Callable[[str], None]
) -> dict[str, float] | None:
    try:
        faiss = importlib.import_module("faiss")  # beside, where it is
    except ImportError:
        report("HNSW: faiss-cpu is not installed")
        return None
    faiss.omp_set_num_threads(1)
    graph = faiss.IndexHNSWFlat(wide.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    faiss.ParameterSpace().set_index_parameter(graph, "efSearch", 256)
    began = time.perf_counter()
    graph.add(wide)
    made = time.perf_counter() - began
    times, hits = [], []
    for question, wanted in zip(questions.astype(np.float32), exact, strict=True):
        began = time.perf_counter()
        _, near = graph.search(question[np.newaxis], TOP)
        times.append(time.perf_counter() - began)
        hits.append(len(set(near[0].tolist()) & set(wanted)) / TOP)
    found = {
        "recall": float(np.mean(hits)),
        "p50_ms": 1e3 * float(np.median(times)),
        "build_s": made,
    }
    report(
        f"HNSW (faiss): recall@{TOP} {found['recall']:.4f} of exact, p50 {found['p50_ms']:.1f} ms, "
        f"made in {made:.0f} s"
    )
    return found
