"""Time of exact answers against float32 at equal treatment: eager to eager, compiled to compiled.

The model is all-MiniLM-L6-v2's encoder (random weights: time does not depend on them), one text of
128 tokens, one thread. The float32 baselines are the registered architecture as it stands and with
torch's fused attention; ratios are to the faster one. Everything is measured twice, in processes of
their own: with the processor's instructions, and capped to AVX2 without VNNI, where `_int_mm` is
wrong and the executor carries integers in float32. Contestants take turns, so that load on the
machine falls on all; a figure is the lowest decile of processor time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TOKENS = 128
VOCABULARY = 1000  # of the stand-in: the table's size does not matter for time
SECONDS = 4.0  # of measuring, for each contestant
GOALS = {
    ("native", "compiled"): 0.6,
    ("native", "eager"): 1.2,
    ("avx2", "compiled"): 1.2,
    ("avx2", "eager"): 1.8,
}
CAPS = {
    "native": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}


def measure() -> dict[str, Any]:
    """Measure in this process, under its instruction set; milliseconds by contestant."""
    import torch  # noqa: PLC0415 - the parent process needs none of it
    from torch._inductor import config as inductor  # noqa: PLC0415

    from worker.exact.kernels import products  # noqa: PLC0415
    from worker.exact.kernels.executor import Executor  # noqa: PLC0415
    from worker.exact.lowering.transformer import compile_encoder  # noqa: PLC0415
    from worker.runtimes.architectures import MiniLm  # noqa: PLC0415

    if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
        inductor.cpp.simdlen = 256  # it reads no environment
    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    model = MiniLm({"vocabulary": VOCABULARY}).eval()
    texts = [
        {
            "input_ids": draw.integers(0, VOCABULARY, (1, TOKENS)),
            "attention_mask": np.ones((1, TOKENS), np.int64),
        }
        for _ in range(4)
    ]
    compiled = compile_encoder(model, texts, TOKENS)
    given = [texts[0][name] for name in ("input_ids", "attention_mask")]
    floats = [torch.from_numpy(array) for array in given]
    integers: list[Any] = [given[0][None].astype("u2"), given[1][None].astype("u1")]
    contestants: dict[str, Callable[[], object]] = {}
    answers = []
    with torch.inference_mode():
        for name, real in (("float32", model), ("float32 fused attention", fused(model))):
            graph = torch.compile(real, dynamic=False)
            contestants[f"{name} eager"] = lambda real=real: real(*floats)  # type: ignore[misc]
            contestants[f"{name} compiled"] = lambda graph=graph: graph(*floats)  # type: ignore[misc]
        for way in ("int_mm", "float32-carried"):
            if way == "int_mm" and not products.int_mm_is_exact("cpu"):
                continue
            for treatment in ("eager", "compiled"):
                executor = Executor(
                    compiled.program, compiled.constants,
                    compiled=treatment == "compiled", int_mm=way == "int_mm",
                )  # fmt: skip
                answers.append(executor.run(integers).tobytes())
                contestants[f"exact {way} {treatment}"] = (
                    lambda executor=executor: executor.run(integers)  # type: ignore[misc]
                )
                if executor.note:
                    raise RuntimeError(executor.note)
        milliseconds = _turns(contestants)
    assert len(set(answers)) == 1, "the ways differ"
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "int_mm_exact": products.int_mm_is_exact("cpu"),
        "int_mm_pays": products.int_mm_is_exact("cpu") and products.int_mm_pays("cpu"),
        "milliseconds": milliseconds,
    }


def fused(model: Any) -> Any:
    """Return the same model with torch's fused attention."""
    import torch  # noqa: PLC0415

    functional = torch.nn.functional

    class Fused(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            m = self.model
            places = torch.arange(ids.shape[1])
            x = m.norm(m.words(ids) + m.positions(places) + m.types.weight[0])
            keep = mask[:, None, None, :].bool()
            for layer in m.layers:
                n, s, width = x.shape

                def split(y: Any, n: int = n, s: int = s, heads: int = layer.heads) -> Any:
                    return y.view(n, s, heads, -1).transpose(1, 2)

                q, k, v = split(layer.query(x)), split(layer.key(x)), split(layer.value(x))
                mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=keep)
                x = layer.attended_norm(
                    x + layer.attended(mixed.transpose(1, 2).reshape(n, s, width))
                )
                x = layer.norm(x + layer.shrink(functional.gelu(layer.expand(x))))
            weights = mask[..., None].to(x.dtype)
            return functional.normalize((x * weights).sum(1) / weights.sum(1), dim=-1)

    return Fused().eval()


def _turns(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return each one's time in milliseconds."""
    for call in contestants.values():
        for _ in range(3):
            call()
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    until = time.monotonic() + SECONDS * len(contestants)
    while time.monotonic() < until or len(spent[next(iter(spent))]) < 10:
        for name, call in contestants.items():
            call()  # the caches are the last one's
            began = time.process_time()
            call()
            spent[name].append(time.process_time() - began)
    return {name: 1e3 * float(np.quantile(times, 0.1)) for name, times in spent.items()}


def ratios(milliseconds: dict[str, float]) -> dict[str, float]:
    """Return exact / float32 by way and treatment; the baseline is the faster float32."""
    best = {
        treatment: min(
            ms for name, ms in milliseconds.items()
            if name.startswith("float32") and name.endswith(treatment)
        )
        for treatment in ("eager", "compiled")
    }  # fmt: skip
    return {
        name: ms / best[name.rpartition(" ")[2]]
        for name, ms in milliseconds.items()
        if name.startswith("exact")
    }


def run(report: Callable[[str], None], build: Path) -> dict[str, Any]:
    """Measure under each instruction set and report one line per figure."""
    build.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for cap, environ in CAPS.items():
        cache = {"TORCHINDUCTOR_CACHE_DIR": str((build / f"inductor-{cap}").resolve())}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.exact_speed", "--measure"],
            env=os.environ | environ | cache, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{cap}: {done.stderr[-2000:]}")
        result = json.loads(done.stdout.splitlines()[-1])
        result["ratios"] = ratios(result["milliseconds"])
        found[cap] = result
        _print(report, cap, result)
    return found


def _print(report: Callable[[str], None], cap: str, result: dict[str, Any]) -> None:
    exact = "exact" if result["int_mm_exact"] else "wrong, not used"
    report(f"{cap} ({result['instructions']}; _int_mm {exact})")
    # What the executor takes here, and the goal of such a processor
    chosen = ("int_mm", "native") if result["int_mm_pays"] else ("float32-carried", "avx2")
    for name, ms in result["milliseconds"].items():
        ratio = result["ratios"].get(name)
        line = f"  {name:34} {ms:>7.1f} ms"
        report(line if ratio is None else f"{line}   {ratio:.2f}× float32{_goal(*chosen, name)}")


def _goal(way: str, processor: str, name: str) -> str:
    goal = GOALS[processor, name.rpartition(" ")[2]]
    return f" (goal {goal}×)" if way in name else ""


def main(arguments: Sequence[str]) -> None:
    """Measure here (`--measure`) or in processes of their own."""
    if list(arguments) == ["--measure"]:
        print(json.dumps(measure()))
    else:
        run(print, Path("build/bench"))


if __name__ == "__main__":
    main(sys.argv[1:])
