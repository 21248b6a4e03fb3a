"""However the chain changed on the way, a store is as if built from the last chain alone.

A chain is a list of blocks, each with the logs of a few requests and authorisations. A story is a
row of such chains, each sharing a beginning with the one before; the follower's steps are played:
find the common block, rewind, refold what was touched, apply the rest in ranges, sometimes twice.
"""

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.store import Store, StoredLog, Transaction
from oracle.store.engine import connect
from oracle.store.job import Job, SlotPhase
from oracle.store.tables import Base
from oracle.types import BlockRef, Bytes32, Log, OperatorAnswer, RequestId, Timestamp
from tests.store.samples import ALICE, BOB, TERMS, job, request, request_id, word

NAMES = ("a", "b", "c")
REQUESTED, CLAIMED, CANCELLED, AUTHORIZED = (word(f"topic{number}") for number in range(4))
PHASES = {
    REQUESTED: SlotPhase.REQUESTED,
    CLAIMED: SlotPhase.CLAIMED,
    CANCELLED: SlotPhase.CANCELLED,
}
ALL_PARTS = ("meta", "blocks", "logs", "authorizations", "jobs")


@dataclass(frozen=True)
class Block:
    """What one block holds: (topic, request or operator) pairs; `salt` tells forks apart."""

    salt: int
    logs: tuple[tuple[Bytes32, str], ...]


LOGS = st.tuples(st.sampled_from(list(PHASES)), st.sampled_from(NAMES)) | st.tuples(
    st.just(AUTHORIZED), st.sampled_from(["on", "off"])
)
BLOCKS = st.builds(Block, st.integers(0, 3), st.lists(LOGS, max_size=4).map(tuple))
CHAINS = st.lists(BLOCKS, min_size=1, max_size=8)


@st.composite
def stories(draw: Any) -> list[list[Block]]:
    """A row of chains; each keeps some of the one before and goes on differently."""
    chains = [draw(CHAINS)]
    for _ in range(draw(st.integers(0, 4))):
        kept = draw(st.integers(0, len(chains[-1])))
        chains.append(chains[-1][:kept] + draw(st.lists(BLOCKS, max_size=5)))
    return chains


def refs(chain: list[Block]) -> list[BlockRef]:
    """Give hashes to blocks: each covers its content and everything before it."""
    result: list[BlockRef] = []
    parent = word("genesis")
    for number, block in enumerate(chain):
        hash_ = word(f"{parent.hex()}{block}")
        result.append(BlockRef(number, hash_, parent, Timestamp(number)))
        parent = hash_
    return result


def logs_of(block: Block, ref: BlockRef) -> list[StoredLog]:
    return [
        StoredLog(
            Log(ALICE, (topic,), about.encode(), ref.number, ref.hash, word("tx"), index),
            None if topic == AUTHORIZED else request_id(about),
            7 if topic in (AUTHORIZED, REQUESTED) else None,
        )
        for index, (topic, about) in enumerate(block.logs)
    ]


def refold(tx: Transaction, requests: set[RequestId]) -> None:
    """Conclude each job from its logs, keeping what the operator noted in it."""
    for name in requests:
        logs = tx.logs_of_all([name])[name]
        if not any(log.topics[0] == REQUESTED for log in logs):
            tx.delete_job(name)
            continue
        known = tx.job(name) or Job(name, request())
        nonce = 100 * logs[0].block_number + logs[0].log_index
        tx.put_job(
            replace(known, phase=PHASES[Bytes32(logs[-1].topics[0])], request=request(nonce=nonce))
        )


def follow(store: Store, chain: list[Block], step: int, twice: bool) -> None:
    """Do what the follower does when the chain looks like this."""
    blocks = refs(chain)
    with store.begin() as tx:
        known = tx.blocks()
        on_chain = {ref.hash for ref in blocks}
        common = max((ref.number for ref in known if ref.hash in on_chain), default=-1)
        if known and known[0].number > common:
            refold(tx, tx.rewind(common))
    for start in range(0 if twice else common + 1, len(blocks), step):
        part = blocks[start : start + step]
        with store.begin() as tx:
            fresh = tx.add_logs([log for ref in part for log in logs_of(chain[ref.number], ref)])
            for stored in fresh:
                if stored.log.topics[0] == AUTHORIZED:
                    on = stored.log.data == b"on"
                    tx.set_authorized(7, BOB, on, stored.log.block_number, stored.log.log_index)
            refold(tx, {stored.request_id for stored in fresh if stored.request_id})
            tx.add_blocks(part)
            tx.set_cursor(max(tx.cursor() or 0, part[-1].number))


def contents(store: Store) -> dict[str, set[tuple[Any, ...]]]:
    """Return every row of what comes from the chain."""
    with store.read() as tx:
        return {
            name: set(map(tuple, tx.session.execute(Base.metadata.tables[name].select())))
            for name in ALL_PARTS
        }


def empty_store() -> Store:
    engine = connect("sqlite://")
    Base.metadata.create_all(engine)
    return Store(engine, now=lambda: 0.0)


@settings(max_examples=60, deadline=None)
@given(stories(), st.integers(1, 3), st.booleans())
def test_follow__reorgs_on_the_way__equals_a_store_built_from_the_last_chain(
    chains: list[list[Block]], step: int, twice: bool
) -> None:
    lived, fresh = empty_store(), empty_store()
    answer = OperatorAnswer(word("root"), word("cid"))
    for name in NAMES:
        lived.record_answer(request_id(name), answer.output_root, answer.output_cid)
        lived.record_failure(request_id(name), "Unavailable", "m", permanent=False)
        fresh.record_answer(request_id(name), answer.output_root, answer.output_cid)

    for chain in chains:
        follow(lived, chain, step, twice)
    follow(fresh, chains[-1], 100, twice=False)

    after, expected = contents(lived), contents(fresh)
    if not chains[-1]:  # everything was taken back: the cursor says so, a new store has none
        after["meta"], expected["meta"] = set(), set()
    assert after == expected
    with lived.read() as tx:
        for name in NAMES:  # what the operator did itself has outlived every reorg
            assert tx.answer(request_id(name)) == answer
            assert tx.failures(request_id(name)) == (1, False)
    lived.close()
    fresh.close()


def test_rewind__request_moved_to_another_block__one_job_with_the_new_place() -> None:
    store = empty_store()
    before = [Block(0, ()), Block(0, ((REQUESTED, "a"), (CLAIMED, "a")))]
    after = [Block(0, ()), Block(1, ()), Block(1, ((REQUESTED, "b"), (REQUESTED, "a")))]

    follow(store, before, 1, twice=False)
    follow(store, after, 1, twice=False)

    with store.read() as tx:
        jobs = {found.request_id: found for found in tx.open_jobs()}
    assert jobs.keys() == {request_id("a"), request_id("b")}
    moved = jobs[request_id("a")]
    assert (moved.phase, moved.request.nonce) == (SlotPhase.REQUESTED, 201)
    assert moved.request.terms == TERMS
    store.close()


def test_rewind__request_gone__no_job_but_its_answer() -> None:
    store = empty_store()
    follow(store, [Block(0, ((REQUESTED, "a"),))], 1, twice=False)
    store.record_answer(request_id("a"), word("root"), word("cid"))

    follow(store, [Block(1, ())], 1, twice=False)

    with store.read() as tx:
        assert tx.job(request_id("a")) is None
        assert tx.answer(request_id("a")) is not None
        assert tx.job(job("a").request_id) is None
    store.close()
