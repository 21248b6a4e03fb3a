"""Who computes a member's own answer: a port, and the process `worker --role vote` behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from oracle.agents.worker_process import LineProcess
from oracle.chain.bindings.committee import Finding
from oracle.config import Settings
from oracle.errors import Unavailable
from oracle.types import Activation, Bytes32


@dataclass(frozen=True, slots=True)
class VoteOpinion:
    """What a member found."""

    finding: Finding
    output_digest: Bytes32  # SHA-256 of its own output; zero when it has none
    activation: Activation


class VoteWorker(Protocol):
    """Computes one vote at a time."""

    def opinion(self, job: Mapping[str, Any]) -> VoteOpinion:
        """Run the model on the input and judge what was delivered.

        Args:
            job: as `worker.vote.VoteJob` reads it.

        Raises:
            Unavailable: it could not be computed now.
        """

    def close(self) -> None:
        """Let go of the models."""


class ProcessVoteWorker(VoteWorker):
    """A process of this machine."""

    def __init__(self, settings: Settings, log_path: Path) -> None:
        self._process = LineProcess(settings, "vote", log_path)

    def opinion(self, job: Mapping[str, Any]) -> VoteOpinion:
        body = self._process.ask(job)
        if "error" in body:
            raise Unavailable(f"the vote could not be computed: {body['message']}")
        digest = Bytes32(bytes.fromhex(body["output_digest"].removeprefix("0x")))
        return VoteOpinion(Finding[body["finding"]], digest, Activation(int(body["activation"])))

    def close(self) -> None:
        self._process.close()
