"""What a challenger remembers over a crash: deliveries it owes a look, and what it committed to.

Every method is one committed transaction. Everything else is on the chain and is read again; losing
the store loses at most the bonds of challenges that hide a fault.
"""

import json
from collections.abc import Iterable

from oracle.agents.challenger.moves import Plan
from oracle.chain.bindings.dispute_game import Receipt
from oracle.merkle import keccak
from oracle.services.exact_faults import Fault
from oracle.services.served_traces import SignedReceipt
from oracle.store.agent_repository import CaseState, Commitment, DeliveryCase, KeptReceipt
from oracle.store.store import Store
from oracle.types import BlockRef, Bytes32, RequestId

_KEPT_BLOCKS = 512
_SECRET = b"secret"  # the commitment whose salt draws deliveries


class ChallengerStore:
    """One challenger's part of its agent's store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.begin() as tx:
            self._secret = tx.keep_commitment(_SECRET).salt

    def picks(self, request_id: RequestId, fraction: float) -> bool:
        """Return whether a request is among those looked at: nobody outside can tell."""
        drawn = int.from_bytes(keccak(self._secret + b"pick" + request_id)[:8])
        return drawn < fraction * 2**64

    # ── Following ───────────────────────────────────────────────────────────────────────────────

    def blocks(self) -> list[BlockRef]:
        """Return the finalized blocks up to which deliveries were read, newest first."""
        with self._store.read() as tx:
            return tx.blocks()

    def forget_above(self, number: int) -> None:
        """Forget blocks above this one: the chain has. What was over may be open again."""
        with self._store.begin() as tx:
            tx.reopen_cases()
            tx.rewind(number)

    def advance(self, block: BlockRef, due: Iterable[tuple[RequestId, Bytes32]]) -> None:
        """Note that deliveries up to a block were read, and which of them are to be looked at."""
        with self._store.begin() as tx:
            for request_id, output_root in due:
                tx.add_case(request_id, output_root)
            tx.add_blocks([block])
            tx.prune_blocks(_KEPT_BLOCKS)

    # ── Cases ───────────────────────────────────────────────────────────────────────────────────

    def add(
        self, request_id: RequestId, output_root: Bytes32, state: CaseState = CaseState.DUE
    ) -> None:
        """Note a delivery, unless it is known."""
        with self._store.begin() as tx:
            tx.add_case(request_id, output_root, state)

    def put(self, case: DeliveryCase) -> None:
        """Replace what is known of a delivery."""
        with self._store.begin() as tx:
            tx.put_case(case)

    def cases(self, *states: CaseState) -> list[DeliveryCase]:
        """Return the deliveries in these states, oldest first."""
        with self._store.read() as tx:
            return tx.cases(states)

    # ── Games ───────────────────────────────────────────────────────────────────────────────────

    def plan(self, request_id: RequestId, output_root: Bytes32, attempt: int) -> Plan | None:
        """Return what an attempt to dispute this answer committed to."""
        with self._store.read() as tx:
            kept = tx.commitment(_subject(request_id, output_root, attempt))
        return None if kept is None else _plan(attempt, kept)

    def keep_plan(
        self, request_id: RequestId, output_root: Bytes32, attempt: int, fault: Fault | None
    ) -> Plan:
        """Fix what an attempt commits to; the first plan of an attempt stands and is returned."""
        subject = _subject(request_id, output_root, attempt)
        with self._store.begin() as tx:
            return _plan(attempt, tx.keep_commitment(subject, json.dumps(fault)))

    def keep_receipt(self, request_id: RequestId, signed: SignedReceipt) -> None:
        """Keep what an operator signed; nothing signed is ever dropped."""
        said = signed.receipt
        kept = KeptReceipt(said.output_root, said.trace_root, said.signature, signed.leaves)
        with self._store.begin() as tx:
            tx.keep_receipt(request_id, kept)

    def receipts(self, request_id: RequestId) -> list[SignedReceipt]:
        """Return everything that was signed for a request."""
        with self._store.read() as tx:
            kept = tx.receipts(request_id)
        return [
            SignedReceipt(Receipt(one.output_root, one.trace_root, one.signature), one.leaves)
            for one in kept
        ]

    def keep_tensor(self, request_id: RequestId, op: int, leaf: Bytes32, record: bytes) -> None:
        """Keep bytes that an operator served."""
        with self._store.begin() as tx:
            tx.keep_tensor(request_id, op, leaf, record)

    def tensor(self, request_id: RequestId, op: int, leaf: Bytes32) -> bytes | None:
        """Return the record behind a tensor leaf."""
        with self._store.read() as tx:
            return tx.tensor(request_id, op, leaf)


def _subject(request_id: RequestId, output_root: Bytes32, attempt: int) -> bytes:
    return request_id + output_root + attempt.to_bytes(4)


def _plan(attempt: int, kept: Commitment) -> Plan:
    fault = json.loads(kept.content)
    return Plan(attempt, kept.salt, None if fault is None else tuple(fault))
