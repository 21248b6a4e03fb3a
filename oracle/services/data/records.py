"""Recomputes a model's chain of contributions from its events: what the chain keeps is its head."""

from dataclasses import dataclass

from oracle.chain.bindings.data_rounds import ContributionRevealed, ContributionSubmitted
from oracle.errors import DigestMismatch
from oracle.protocol.training import Revealed, Submitted
from oracle.services.data import rounds
from oracle.services.event_history import Happened, topic
from oracle.services.network import Network
from oracle.types import ZERO32, Bytes32, Timestamp


@dataclass(frozen=True, slots=True)
class VerifiedRecord:
    """A model's record of contributions, every link of which fits."""

    model_id: int
    rounds: int
    submitted: int
    revealed: int
    head: Bytes32


def verify(network: Network, model_id: int) -> VerifiedRecord:
    """Recompute every link from what was logged, up to the head on chain.

    Raises:
        DigestMismatch: a link does not fit; the message names it.
    """
    listed = rounds.list_rounds(network, model_id)
    happened: list[Happened] = []
    if listed:
        kinds = (ContributionSubmitted, ContributionRevealed)
        ids = [topic(one.round_id) for one in listed]
        happened = network.history.read(network.data_rounds.address, kinds, ids)
    times = network.history.times(h.block for h in happened)
    head = ZERO32
    for one in happened:
        event = one.event
        assert isinstance(event, ContributionSubmitted | ContributionRevealed)
        expected = _record(event, times[one.block], head)
        if (event.previous, event.record) != (head, expected):
            raise DigestMismatch(
                f"the record of contribution {event.index} of round {event.round_id} does not fit "
                f"its predecessor 0x{head.hex()}",
                hint="the node does not tell the whole history, or not the true one; ask another",
            )
        head = expected
    if head != (current := network.data_rounds.head_of(model_id)):
        raise DigestMismatch(
            f"contributions to model {model_id} end at 0x{head.hex()}, the chain says "
            f"0x{current.hex()}",
            hint="the node does not tell the whole history; ask another",
        )
    submitted = sum(isinstance(h.event, ContributionSubmitted) for h in happened)
    return VerifiedRecord(model_id, len(listed), submitted, len(happened) - submitted, head)


def _record(
    event: ContributionSubmitted | ContributionRevealed, time: Timestamp, previous: Bytes32
) -> Bytes32:
    if isinstance(event, ContributionSubmitted):
        link: Submitted | Revealed = Submitted(
            event.round_id, event.index, event.owner, event.commitment, event.endorser_bps,
            event.deposit, time,
        )  # fmt: skip
    else:
        link = Revealed(
            event.round_id, event.index, event.owner, event.data_root, event.rows, event.cid,
            event.envelope, time,
        )  # fmt: skip
    return link.record(previous)
