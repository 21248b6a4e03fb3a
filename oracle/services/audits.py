"""Audits: which deliveries fall to which operator to re-execute, and what came of it.

Nobody can know at delivery whether an answer will be audited: the draw takes the hash of the block
*after* the delivery's. docs/operations.md, "Audits":
```
 seed = keccak256(block hash ‖ request id)        audited when seed mod ⌊1 / share⌋ = 0
 auditor = of the authorised operators, but for the one who answered, the one with the least
           keccak256(seed ‖ address); when there is no other, every challenger
```
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from oracle.chain.rpc import hexbytes
from oracle.errors import ConfigInvalid, Unavailable
from oracle.merkle import keccak
from oracle.queue.broker import JobQueue
from oracle.queue.messages import AuditMessage, TraceJob
from oracle.services import models, operators
from oracle.services.network import Network
from oracle.services.request_timeline import RequestInfo
from oracle.store.audit_repository import AuditState
from oracle.store.store import Store
from oracle.types import Address, Bytes32, RequestId

AGAIN = 60.0  # seconds until an audit that was not done is put on the queue again


def one_in(share: float) -> int:
    """Return of how many deliveries one is audited; 0 = none.

    Raises:
        ConfigInvalid: not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ConfigInvalid(f"TALLYSTICK_AUDIT_SHARE={share:g} is not between 0 and 1")
    return int(1 / share) if share else 0


def seed(block_hash: bytes, request_id: RequestId) -> Bytes32:
    """Return what decides about one delivery; the hash is of the block after its own."""
    return keccak(block_hash + request_id)


def drawn(seed_: Bytes32, every: int) -> bool:
    """Return whether a delivery is audited."""
    return every > 0 and int.from_bytes(seed_) % every == 0


def auditor(seed_: Bytes32, operators_: Iterable[Address], answered_by: Address) -> Address | None:
    """Return who audits a delivery; None when nobody else is authorised."""
    others = [operator for operator in operators_ if operator != answered_by]
    return min(others, key=lambda who: keccak(seed_ + bytes.fromhex(who[2:])), default=None)


@dataclass(frozen=True, slots=True)
class ExactDelivery:
    """A delivery of an exact version, and the block it is in."""

    info: RequestInfo
    block: int


def left_over(network: Network, delivered: Sequence[ExactDelivery]) -> set[RequestId]:
    """Return the drawn deliveries that no operator audits: every challenger looks at them.

    Their next blocks exist.
    """
    every = one_in(network.settings.audit_share)
    return {
        one.info.request_id
        for one, found in (_seeds(network, delivered) if every else ())
        if drawn(found, every) and _auditor_of(network, found, one.info) is None
    }


def _auditor_of(network: Network, found: Bytes32, info: RequestInfo) -> Address | None:
    assert info.answered_by is not None
    authorised = operators.authorized_for(network, info.model_id)
    return auditor(found, authorised, info.answered_by)


def _seeds(
    network: Network, delivered: Sequence[ExactDelivery]
) -> list[tuple[ExactDelivery, Bytes32]]:
    blocks = sorted({one.block + 1 for one in delivered})
    calls = [("eth_getBlockByNumber", hex(number), False) for number in blocks]
    hashes: dict[int, bytes] = {}
    for number, answer in zip(blocks, network.rpc.batch(calls) if calls else [], strict=True):
        if not isinstance(answer, dict):
            raise Unavailable("the node does not have the block after a delivery yet")
        hashes[number] = hexbytes(answer["hash"], 32)
    return [(one, seed(hashes[one.block + 1], one.info.request_id)) for one in delivered]


class Audits:
    """One operator's share of the audits."""

    def __init__(self, network: Network, store: Store, queue: JobQueue, operator: Address) -> None:
        """Take the collaborators.

        Args:
            store: of the operator; its responder notes there what it found.
            queue: of the operator.
            operator: who audits.
        """
        self._network = network
        self._store = store
        self._queue = queue
        self._operator = operator
        self._every = one_in(network.settings.audit_share)
        self._sent: dict[tuple[RequestId, Bytes32], float] = {}
        self._log: Any = structlog.get_logger("tallystick.audits")

    def draw(self, delivered: Sequence[ExactDelivery]) -> int:
        """Note those deliveries that fall to us; return how many. Their next blocks exist."""
        if not self._every:
            return 0
        count = 0
        for one, found in _seeds(self._network, delivered):
            if drawn(found, self._every) and self._mine(found, one.info):
                assert one.info.output_root is not None
                with self._store.begin() as tx:
                    count += tx.ask_audit(one.info.request_id, one.info.output_root)
        return count

    def send(self, infos: Iterable[RequestInfo]) -> None:
        """Put audits that are asked for on the queue; (again) what was not done in time."""
        now = time.monotonic()
        for info in infos:
            assert info.output_root is not None
            key = (info.request_id, info.output_root)
            if now - self._sent.get(key, -AGAIN) < AGAIN:
                continue
            try:
                self._queue.send(self._message(info), f"audit:0x{info.request_id.hex()}")
            except Unavailable as error:
                self._log.warning("queue_away", error=str(error))
                return
            self._sent[key] = now

    def asked(self) -> list[tuple[RequestId, Bytes32]]:
        """Return the deliveries that are not re-executed yet."""
        return self._in(AuditState.ASKED)

    def wrong(self) -> list[tuple[RequestId, Bytes32]]:
        """Return the deliveries that the responder found wrong."""
        return self._in(AuditState.WRONG)

    def _in(self, state: AuditState) -> list[tuple[RequestId, Bytes32]]:
        with self._store.read() as tx:
            return [(audit.request_id, audit.output_root) for audit in tx.audits(state)]

    def _mine(self, found: Bytes32, info: RequestInfo) -> bool:
        return _auditor_of(self._network, found, info) == self._operator

    def _message(self, info: RequestInfo) -> AuditMessage:
        record = models.record_of(self._network, info.model_id, info.version)
        assert info.output_root is not None
        return AuditMessage(
            TraceJob(
                request_id=info.request_id,
                manifest_digest=record.manifest_digest,
                model_root=record.model_root,
                input_root=info.request.input_root,
                input_cid=info.request.input_cid,
                output_root=info.output_root,
            )
        )
