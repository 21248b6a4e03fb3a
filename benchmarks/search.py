"""Search over 100,000 passages and more: how exact, how fast, and whether digests agree.

The passages are the glosses of WordNet 3.0 (117,659; Debian's `wordnet-base`), found below
`WNSEARCHDIR`, /usr/share/wordnet by default. all-MiniLM-L6-v2 reads them as a worker does.
Search is exact, over vectors of integers; its reference is float32 over the embeddings themselves,
which says what the integers cost. HNSW of `faiss-cpu` stands beside where it is installed. The
embedding of a question is timed apart: an operator makes it.
"""

import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from oracle.protocol import canonical, search_index
from oracle.services import folders

WORDNET = "/usr/share/wordnet"
QUESTIONS, TOP = 200, 10
KEPT = "search-embeddings.npy"  # in the folder of benchmarks: they take minutes


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure and report."""
    with importlib.import_module("threadpoolctl").threadpool_limits(1):  # it has no types
        return _run(report, build)


def _run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    build.mkdir(parents=True, exist_ok=True)
    glosses = list(_glosses(Path(os.environ.get("WNSEARCHDIR", WORDNET))))
    embeddings, measured = _embedded(glosses, build, report)
    vectors = search_index.quantise(embeddings)
    digest = canonical.sha256(search_index.write_vectors(vectors)).hex()
    asked = np.linspace(0, len(glosses) - 1, QUESTIONS).astype(int)
    questions = _questions(embeddings, asked)
    wide = vectors.astype(np.float32)
    small = search_index.quantise(questions)
    times, exact = [], []
    for question in small:
        began = time.perf_counter()
        exact.append([number for number, _ in search_index.nearest(wide, question, TOP)])
        times.append(time.perf_counter() - began)
    integers = vectors.astype(np.int32) @ small.astype(np.int32).T
    again = [np.lexsort((np.arange(len(column)), -column))[:TOP].tolist() for column in integers.T]
    reference = [set(np.argsort(-row, kind="stable")[:TOP]) for row in (questions @ embeddings.T)]
    found = {
        "passages": len(glosses),
        "vectors_sha256": digest,
        "other_batches": measured,
        "same_as_int32": float(np.mean([a == b for a, b in zip(exact, again, strict=True)])),
        "recall": float(
            np.mean([len(set(a) & b) / TOP for a, b in zip(exact, reference, strict=True)])
        ),
        "p50_ms": 1e3 * float(np.median(times)),
        "p95_ms": 1e3 * float(np.quantile(times, 0.95)),
    }  # fmt: skip
    report(f"{len(glosses):,} passages, {measured['passages_per_second']:.0f} a second embedded")
    report(f"exact search p50 {found['p50_ms']:.1f} ms, p95 {found['p95_ms']:.1f} ms, one thread")
    report(f"the same ten as int32 arithmetic: {found['same_as_int32']:.1%} of {QUESTIONS}")
    report(f"recall@{TOP} of float32 over the unrounded embeddings: {found['recall']:.4f}")
    report(
        f"other batches: {measured['one_step']:,} of {measured['numbers']:,} numbers one step "
        f"apart, {measured['more']:,} more"
    )
    found["hnsw"] = _hnsw(wide, small, exact, report)
    return found


def _questions(embeddings: Any, asked: Any) -> Any:
    """Return questions between two passages each: none is a passage itself."""
    mixed = embeddings[asked] + 0.6 * embeddings[np.roll(asked, 1)]
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def _glosses(folder: Path) -> Iterator[str]:
    for kind in ("adj", "adv", "noun", "verb"):
        for line in (folder / f"data.{kind}").read_text().splitlines():
            head, bar, gloss = line.partition(" | ")
            if bar and not line.startswith("  "):
                words = head.split()
                yield f"{words[4].replace('_', ' ')}: {gloss.strip()}"


def _embedded(
    glosses: list[str], build: Path, report: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """Return F32 [n, 384], from a file if they were made before, and what was measured."""
    from examples.minilm.build import build as copy  # noqa: PLC0415
    from worker.embedding import ALONE, Embedder  # noqa: PLC0415 - it brings torch

    with tempfile.TemporaryDirectory() as place:
        folder = copy(Path(place))
        manifest = folders.read(folder, lambda *_: None)
        embedder = Embedder(manifest, {e.path: folder / e.path for e in manifest.files})
        kept, said = build / KEPT, build / f"{KEPT}.json"
        if not said.is_file():
            order = sorted(range(len(glosses)), key=lambda n: len(glosses[n]))
            found = np.empty((len(glosses), 384), np.float32)
            began = time.perf_counter()
            for start in range(0, len(order), embedder.rows):
                part = order[start : start + embedder.rows]
                found[part] = embedder.embed([glosses[n] for n in part])
                if start // embedder.rows % 200 == 0:
                    report(f"embedded {start:,}")
            np.save(kept, found)
            speed = len(glosses) / (time.perf_counter() - began)
            said.write_text(json.dumps({"passages_per_second": speed}))
        embeddings = np.load(kept)
        again = np.linspace(0, len(glosses) - 1, ALONE).astype(int)
        alone = np.concatenate([embedder.embed([glosses[n]]) for n in again])
    apart = np.abs(
        search_index.quantise(alone).astype(int) - search_index.quantise(embeddings[again])
    )
    measured = {"numbers": apart.size, "one_step": int((apart == 1).sum())}
    return embeddings, {
        **json.loads(said.read_text()), **measured, "more": int((apart > 1).sum()),
    }  # fmt: skip


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
