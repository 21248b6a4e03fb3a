"""Keeps a store in step with the chain: logs, blocks and the chain half of jobs; reorgs included.

Knows nothing of queues, and leaves what to do about a job to `jobs.py`. After `follow` returned,
the store is what it would be if only the blocks that are now on the chain had ever been.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import structlog

from oracle.chain.bindings.inference_market import Requested
from oracle.chain.bindings.operator_registry import OperatorAuthorized
from oracle.chain.blocks import Reorganised
from oracle.chain.logs import decode, decode_all, keys, topic_of
from oracle.chain.reorg import common_block
from oracle.chain.scan import AGAIN, Chunk, NodeBehind
from oracle.operator import jobs, replies
from oracle.stopping import Stop
from oracle.store.chain_repository import StoredLog
from oracle.store.job import Job
from oracle.store.store import Store, Transaction
from oracle.types import Address, BlockRef, Contracts, RequestId

KEPT_BLOCKS = 512  # hashes kept: a reorg deeper than that starts the store's chain half anew


class Chain(Protocol):
    """What is needed of a chain; `Scanner` has it."""

    def look(self, chain_id: int, newest: BlockRef | None) -> tuple[int, bool]: ...
    def has(self, block: BlockRef) -> bool: ...
    def scan(self, start: int, end: int, parent: BlockRef | None = None) -> Iterator[Chunk]: ...


@dataclass(frozen=True, slots=True)
class Followed:
    """What one look at the chain brought."""

    blocks: int = 0  # applied
    logs: int = 0  # new ones
    rewound: int = 0  # blocks forgotten


class Follower:
    """The store's side of one chain, for one operator."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        operator: Address,
        contracts: Contracts,
        *,
        finality_depth: int = 0,
        stop: Stop | None = None,
    ) -> None:
        """Take the collaborators; nothing is read yet.

        Args:
            chain: reader of blocks and of the contracts' logs.
            store: of this operator alone.
            operator: whose jobs are kept.
            contracts: the deployment that is watched.
            finality_depth: blocks below the head that count as final.
            stop: when set, a long way to the head is broken off between two transactions.
        """
        self._chain = chain
        self._store = store
        self._operator = operator
        self._contracts = contracts
        self._depth = finality_depth
        self._stop = stop or Stop()
        self._log = structlog.get_logger("tallystick.follower")

    def follow(self) -> Followed:
        """Bring the store to the finalized head.

        Raises:
            WrongChain: the node serves another chain.
            TransientError, RpcError: chain or store could not be used, or the chain changed under
                our eyes. What was committed stays right; the next call goes on.
        """
        with self._store.read() as tx:
            newest = tx.newest_block()
        head, newest_there = self._chain.look(self._contracts.chain_id, newest)
        if newest and newest.number <= head and newest_there:
            return Followed(*self._apply_all(newest, head - self._depth))
        with self._store.read() as tx:
            known = tx.blocks()
        common = self._still_there(known, head)
        rewound = 0
        if known and common != known[0]:
            rewound = known[0].number - self._rewind(common)
        blocks, logs = self._apply_all(common, head - self._depth)
        return Followed(blocks, logs, rewound)

    def _still_there(self, known: list[BlockRef], head: int) -> BlockRef | None:
        """Return the newest known block that the chain still has."""
        reached = [block for block in known if block.number <= head]
        newest_there = bool(reached) and self._chain.has(reached[0])
        if len(reached) < len(known) and (newest_there or not reached):
            raise NodeBehind(head, known[0].number)
        return reached[0] if newest_there else common_block(self._chain, reached)

    def _rewind(self, common: BlockRef | None) -> int:
        """Forget what the chain has forgotten, all of it when nothing known is left."""
        number = common.number if common else self._contracts.deployed_at - 1
        with self._store.begin(forgettable=True) as tx:
            touched = tx.rewind(number)
            # Open jobs as well: the chain's time may have gone back.
            self._refold(tx, touched | {job.request_id for job in tx.open_jobs()})
        self._log.warning("chain_reorganised", back_to=number, requests=len(touched))
        return number

    def _apply_all(self, newest: BlockRef | None, finalized: int) -> tuple[int, int]:
        """Apply all logs up to the finalized block, one transaction for each range."""
        start = newest.number + 1 if newest else self._contracts.deployed_at
        if start > finalized:
            return 0, 0
        logs = self._look_again(newest) if newest else 0
        for chunk in self._chain.scan(start, finalized, newest):
            with self._store.begin(forgettable=True) as tx:
                logs += self._apply(tx, chunk)
                tx.add_blocks(chunk.blocks)
                tx.prune_blocks(KEPT_BLOCKS)
                tx.set_cursor(chunk.end)
            if self._stop.is_set():
                break
        return finalized - start + 1, logs

    def _look_again(self, newest: BlockRef) -> int:
        """Read the newest known blocks a second time: another node may answer now.

        Returns:
            How many logs the first answers had left out.
        """
        with self._store.read() as tx:
            parent = tx.newest_block(newest.number - AGAIN)
        start = parent.number + 1 if parent else self._contracts.deployed_at
        chunks = list(self._chain.scan(start, newest.number, parent))
        if chunks[-1].blocks[-1].hash != newest.hash:
            raise Reorganised(f"block {newest.number} changed while it was read again")
        found = 0
        for chunk in chunks:
            with self._store.begin(forgettable=True) as tx:
                found += self._apply(tx, chunk)
        if found:
            self._log.warning("logs_were_missing", logs=found, up_to=newest.number)
        return found

    def _apply(self, tx: Transaction, chunk: Chunk) -> int:
        """Add a range's logs, and fold what they are about; return how many are new."""
        events = decode_all(chunk.logs)  # a malformed one is refused before anything is stored
        fresh = tx.add_logs([StoredLog(log, *keys(log)) for log in chunk.logs])
        touched = {stored.request_id for stored in fresh if stored.request_id is not None}
        authorized = topic_of(OperatorAuthorized)
        for stored in fresh:
            if stored.log.topics[0] == authorized:
                touched |= self._authorize(tx, stored)
        asked = {event.request_id: event for event in events if isinstance(event, Requested)}
        self._refold(tx, touched, asked)
        return len(fresh)

    def _authorize(self, tx: Transaction, stored: StoredLog) -> set[RequestId]:
        """Note an authorisation; return the requests that look different with it."""
        log, event = stored.log, decode(stored.log)
        assert isinstance(event, OperatorAuthorized)
        tx.set_authorized(
            event.model_id, event.operator, event.authorized, log.block_number, log.log_index
        )
        mine = event.operator == self._operator
        return set(tx.requests_of(event.model_id)) if mine else set()

    def _refold(
        self,
        tx: Transaction,
        requests: Iterable[RequestId],
        asked: Mapping[RequestId, Requested] = MappingProxyType({}),
    ) -> None:
        """Bring jobs in line with the logs that the store has; drop those without a request.

        Args:
            asked: how those of the requests began that are new; most of them are other people's,
                and their logs need not be read back.
        """
        concerns_me = self._concerns(tx)
        requests = set(requests)
        known = tx.jobs_of(requests)
        mine = {
            request_id
            for request_id in requests
            if request_id in known or request_id not in asked or concerns_me(asked[request_id])
        }
        folded: list[Job] = []
        owing = tx.owing(mine)
        for request_id, logs in tx.logs_of_all(mine).items():
            first, *later = decode_all(logs) or (None,)
            job = known.get(request_id)
            if not isinstance(first, Requested):
                tx.delete_job(request_id)
                tx.owe(request_id, ())
                continue
            if job is not None:
                folded.append(jobs.refold(job, first, later))
            elif concerns_me(first):
                folded.append(jobs.from_events(first, later))
            else:
                continue
            demands = replies.owed(folded[-1], later, self._operator)
            if demands or request_id in owing:
                tx.owe(request_id, demands)
        tx.put_jobs(folded)

    def _concerns(self, tx: Transaction) -> Callable[[Requested], bool]:
        """Return what says whether a request concerns this operator, as things are now."""
        authorized = functools.cache(lambda model_id: tx.is_authorized(model_id, self._operator))
        return lambda event: event.request.operator == self._operator or authorized(event.model_id)
