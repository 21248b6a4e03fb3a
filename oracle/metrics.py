"""What an operator's processes count, for Prometheus; served on loopback when a port is set.

Each process has a registry of its own, handed to whatever counts: the watcher serves on
`metrics_port`, the submitter on the port after it. Metrics never stop an operator: a port that is
taken is logged, and that is all.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

HOST = "127.0.0.1"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class WatcherMetrics:
    """How far the watcher has come, and what it asked for."""

    def __init__(self) -> None:
        """Start at zero, on a new registry."""
        self.registry = CollectorRegistry()
        self._block = Gauge(
            "tallystick_block", "Newest final block in the store", registry=self.registry
        )
        self._blocks = Counter("tallystick_blocks", "Blocks read", registry=self.registry)
        self._logs = Counter("tallystick_logs", "Logs read", registry=self.registry)
        self._reorgs = Counter(
            "tallystick_reorganisations", "Times the chain took blocks back", registry=self.registry
        )
        self._messages = Counter(
            "tallystick_messages", "Messages put on the queue", ["step"], registry=self.registry
        )
        self._troubles = Counter(
            "tallystick_troubles", "Cycles that failed and are repeated", ["error"],
            registry=self.registry,
        )  # fmt: skip
        self._dead = Gauge(
            "tallystick_dead_messages", "Items of a queue that were put aside", ["queue"],
            registry=self.registry,
        )  # fmt: skip
        self._jobs = Gauge(
            "tallystick_jobs", "Requests known, by what they are to this operator", ["state"],
            registry=self.registry,
        )  # fmt: skip

    def looked(self, blocks: int, logs: int, rewound: int) -> None:
        """Count one look at the chain."""
        self._blocks.inc(blocks)
        self._logs.inc(logs)
        self._reorgs.inc(rewound > 0)

    def sent(self, step: str) -> None:
        """Count one message."""
        self._messages.labels(step).inc()

    def failed(self, error: Exception) -> None:
        """Count one cycle that was in vain."""
        self._troubles.labels(type(error).__name__).inc()

    def put_aside(self, counts: Mapping[str, int]) -> None:
        """Say how many items of each queue were no messages of ours."""
        for queue, count in counts.items():
            self._dead.labels(queue).set(count)

    def know(self, block: int, jobs: Mapping[str, int]) -> None:
        """Say where the store stands: its newest block, and the jobs in every state."""
        self._block.set(block)
        for state, count in jobs.items():
            self._jobs.labels(state).set(count)


class SubmitterMetrics:
    """What became of the operator's transactions."""

    def __init__(self) -> None:
        """Start at zero, on a new registry."""
        self.registry = CollectorRegistry()
        self._transactions = Counter(
            "tallystick_transactions", "Transactions that ended", ["kind", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self._failures = Counter(
            "tallystick_failures", "Reported failures of the infer worker", ["error"],
            registry=self.registry,
        )  # fmt: skip

    def ended(self, kind: str, outcome: str) -> None:
        """Count a transaction; `outcome` is mined, split or refused."""
        self._transactions.labels(kind, outcome).inc()

    def failed(self, error: str) -> None:
        """Count a failure that the worker reported."""
        self._failures.labels(error).inc()


@contextmanager
def serving(registry: CollectorRegistry, port: int, log: Any) -> Iterator[None]:
    """Serve a registry over HTTP while the block runs; port 0 = not at all."""
    stop = _serve(registry, port, log) if port else None
    try:
        yield
    finally:
        if stop:
            stop()


def _serve(registry: CollectorRegistry, port: int, log: Any) -> Callable[[], None] | None:
    try:
        server, thread = start_http_server(port, HOST, registry)
    except OSError as error:
        log.warning("metrics_not_served", port=port, reason=str(error))
        return None
    log.info("metrics", at=f"http://{HOST}:{port}/metrics")

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


class GatewayMetrics:
    """What a gateway was asked, what it answered, and where the time went."""

    def __init__(self) -> None:
        """Start at zero, on a new registry."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tallystick_http_requests", "HTTP requests answered", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "tallystick_http_seconds", "Seconds from the first byte to the last", ["route"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._stages = Histogram(
            "tallystick_answer_seconds", "Seconds of an answer by stage", ["stage"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._running = Gauge(
            "tallystick_http_running", "HTTP requests being answered", registry=self.registry
        )
        self._payments = Gauge(
            "tallystick_x402_payments", "Payments by x402 that are under way", ["state"],
            registry=self.registry,
        )  # fmt: skip

    def began(self) -> None:
        """Count a request in."""
        self._running.inc()

    def ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request out; `route` is the pattern, never a path that a client made up."""
        self._running.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def payments(self, by_state: Mapping[str, int]) -> None:
        """Note how many payments by x402 are in each state."""
        for state, count in by_state.items():
            self._payments.labels(state).set(count)

    def stages(self, seconds: Mapping[str, float]) -> None:
        """Count where the time of one answer went."""
        for stage, took in seconds.items():
            self._stages.labels(stage).observe(took)
