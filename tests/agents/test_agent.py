"""What every agent shares: its pauses, and when it looks at a subject again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oracle.agents import backoff
from oracle.agents.agent import Agent
from oracle.chain.anvil import dev_account
from oracle.chain.contract import Call
from oracle.chain.outbox import EntryState, OutboxEntry
from oracle.errors import Unavailable
from oracle.services.network import Network
from oracle.types import ZERO_ADDRESS, RequestId, Wei

SUBJECT = b"\1" * 32


class Looking(Agent):
    """One that looks at one subject, as it is told."""

    role = "looking"

    def __init__(self, folder: Path) -> None:
        contracts = SimpleNamespace(chain_id=1, inference_market=ZERO_ADDRESS)
        network = SimpleNamespace(contracts=contracts, rpc=None)
        super().__init__(cast("Network", network), dev_account(0), folder)
        self.steps: list[list[OutboxEntry]] = []
        self.action: Callable[[], object] = lambda: None
        self.looks = 0
        self._sender = cast("Any", SimpleNamespace(step=self._step))

    def _step(self) -> list[OutboxEntry]:
        return self.steps.pop(0) if self.steps else []

    def look(self) -> None:
        self.attend(SUBJECT, self._look)

    def _look(self) -> None:
        self.looks += 1
        self.action()

    def end(self, state: EntryState) -> None:
        """Let a transaction about the subject end at the next look."""
        self.steps = [[], [_ended(state)]]
        self.cycle()


def _ended(state: EntryState) -> OutboxEntry:
    return OutboxEntry(1, "move", (RequestId(SUBJECT),), ZERO_ADDRESS, b"", Wei(0), state=state)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(backoff, "time", made)
    return made


@pytest.fixture
def agent(tmp_path: Path, clock: Clock) -> Iterator[Looking]:
    with Looking(tmp_path / "agent") as made:
        yield made


def fail() -> None:
    raise Unavailable("the node is away")


def run(agent: Looking, pauses: int) -> list[float]:
    """Let it run until it has paused so often; return for how long."""
    waited: list[float] = []
    agent.run(lambda: len(waited) == pauses, waited.append, 2.0)
    return waited


# ── Pauses ──────────────────────────────────────────────────────────────────────────────────────
def test_run__nothing_to_do__pauses_for_the_interval(agent: Looking) -> None:
    assert run(agent, 2) == [2.0, 2.0]


def test_run__transaction_under_way__pauses_briefly(agent: Looking) -> None:
    agent.submit("move", SUBJECT, Call(ZERO_ADDRESS, b""))
    assert run(agent, 2) == [0.5, 0.5]
    assert agent.cycle()


def test_run__transaction_mined__looks_again_at_once(agent: Looking) -> None:
    agent.steps = [[], [_ended(EntryState.MINED)]]
    assert run(agent, 1) == [2.0]
    assert agent.looks == 2


def test_cycle__mined_before_the_look__is_movement(agent: Looking) -> None:
    agent.steps = [[_ended(EntryState.MINED)]]
    assert agent.cycle()
    assert not agent.cycle()


# ── When a subject is looked at again ───────────────────────────────────────────────────────────
def test_attend__look_that_works__forgets_the_looks_that_failed(
    agent: Looking, clock: Clock
) -> None:
    agent.action = fail
    for pause in (1, 2):
        agent.cycle()
        clock.now += pause
    agent.action = lambda: None
    agent.cycle()
    agent.action = fail
    agent.cycle()
    clock.now += 1  # the first pause again
    agent.cycle()
    assert agent.looks == 5


def test_attend__look_that_works__keeps_the_pause_of_a_refused_transaction(
    agent: Looking, clock: Clock
) -> None:
    for pause in (1, 2):
        agent.end(EntryState.FAILED)
        clock.now += pause
    agent.end(EntryState.FAILED)
    clock.now += 3.9
    agent.cycle()
    assert agent.looks == 3
    clock.now += 0.1
    agent.cycle()
    assert agent.looks == 4


def test_attend__transaction_mined__forgets_what_was_refused(agent: Looking, clock: Clock) -> None:
    for state in (EntryState.FAILED, EntryState.MINED, EntryState.FAILED):
        agent.end(state)
        clock.now += 1
    agent.cycle()
    assert agent.looks == 4
