"""How often and how long this server's models answered, in the words of Triton's statistics.

Source: Triton's extension_statistics.md. Counted since this process began; `/metrics` has the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PARTS: Mapping[str, tuple[str, ...]] = {  # Triton's names, and the parts of ours that they are
    "queue": ("prepare", "accept", "chain", "queue"),
    "compute_input": ("fetch",),
    "compute_infer": ("inference",),
    "compute_output": ("publish", "deliver"),
}


@dataclass(slots=True)
class _Duration:
    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(seconds * 1e9)


@dataclass(slots=True)
class ModelStatistics:
    """One version's counters."""

    success: _Duration = field(default_factory=_Duration)
    fail: _Duration = field(default_factory=_Duration)
    parts: dict[str, _Duration] = field(
        default_factory=lambda: {name: _Duration() for name in _PARTS}
    )
    rows: int = 0
    last_inference: int = 0  # milliseconds since the epoch

    def answered(self, seconds: float, taken: Mapping[str, float], rows: int, now: float) -> None:
        """Count an answer; `taken` are its parts by name, in seconds."""
        self.success.add(seconds)
        for name, ours in _PARTS.items():
            self.parts[name].add(sum(taken.get(part, 0.0) for part in ours))
        self.rows += rows
        self.last_inference = round(now * 1000)

    def failed(self, seconds: float) -> None:
        """Count a request that got no answer."""
        self.fail.add(seconds)

    def document(self, name: str, version: int) -> dict[str, Any]:
        """Return the entry of `model_stats`."""
        durations = {"success": self.success, "fail": self.fail, **self.parts}
        return {
            "name": name,
            "version": str(version),
            "last_inference": self.last_inference,
            "inference_count": self.rows,
            "execution_count": self.success.count,
            "inference_stats": {
                part: {"count": one.count, "ns": one.ns} for part, one in durations.items()
            },
            "batch_stats": [],
        }
