"""Who is right: computed by the reference, or by a process for rounds that are larger."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from oracle.agents.valuation import checking
from oracle.agents.valuation.checking import NotServed
from oracle.config import Settings
from oracle.errors import Unavailable
from oracle.ipfs import daemon, data_sets
from oracle.ipfs.client import IpfsClient
from oracle.ipfs.memory import MemoryIpfs
from oracle.types import ValuationPart
from oracle.valuation import reference
from oracle.valuation.jobs import Source, ValueJob
from oracle.valuation.rounds import Params, RoundData
from oracle.valuation.tables import build
from tests.valuation import rounds


def job_of(ipfs: IpfsClient | MemoryIpfs, data: RoundData, folder: Path) -> ValueJob:
    sources = [
        Source(held.root, held.rows, data_sets.publish(ipfs, held, folder))
        for held in (*data.sets, data.test)
    ]
    return ValueJob(1, data.params, data.test.width, tuple(sources[:-1]), sources[-1])


def never(job: ValueJob, data: RoundData, folder: Path) -> None:
    raise AssertionError("nothing to compute")


@pytest.mark.parametrize(
    ("missing", "part", "number"),
    [(0, ValuationPart.DATA, 0), (2, ValuationPart.DATA, 2), (8, ValuationPart.TEST, 0)],
)
def test_truth__rows_that_nobody_serves__a_row_of_theirs_is_to_be_demanded(
    tmp_path: Path, missing: int, part: ValuationPart, number: int
) -> None:
    data, ipfs = rounds.small(test_rows=20), MemoryIpfs()
    job = job_of(ipfs, data, tmp_path)
    source = (*job.sets, job.test)[missing]
    gone = Source(source.root, source.rows, source.root)  # nothing is under this digest
    sets = [gone if k == missing else one for k, one in enumerate(job.sets)]
    test = gone if missing == len(job.sets) else job.test
    job = ValueJob(1, job.params, job.width, tuple(sets), test)

    with pytest.raises(NotServed) as caught:
        checking.truth(job, ipfs, never, tmp_path / "held")  # type: ignore[arg-type]  # never called

    node = caught.value.node
    assert (node.part, node.number) == (part, number)
    assert node.index < source.rows <= 1 << node.level


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    """An embedded IPFS node's address."""
    running = daemon.start_embedded(tmp_path / "ipfs", log=tmp_path / "ipfs.log")
    try:
        yield running.api_url
    finally:
        running.stop()


@pytest.mark.real
def test_recomputer__a_round_too_large_for_the_reference__a_process_gives_the_same_bits(
    tmp_path: Path, api: str
) -> None:
    node = IpfsClient(api, 10.0)
    rng = np.random.default_rng(11)
    sets = (rounds.random_set(rng, 700, 4), rounds.random_set(rng, 500, 4))
    data = RoundData(Params(5, 20, 10), sets, rounds.random_set(rng, 4, 4))
    job = job_of(node, data, tmp_path)
    recompute = checking.Recomputer(Settings(tmp_path / "home", ipfs_api=api))

    found = checking.truth(job, node, recompute, tmp_path / "held")

    flags = reference.flags(data)
    right = build(data, flags, reference.scores(data, flags))
    assert found.tables.valuation == right.valuation
    again = checking.truth(job, MemoryIpfs(), recompute, tmp_path / "held")  # from its folder
    assert again.tables.valuation == right.valuation


@pytest.mark.real
def test_recomputer__a_process_that_fails__says_why(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    sets = (rounds.random_set(rng, 1_100, 4),)
    data = RoundData(Params(5, 20, 10), sets, rounds.random_set(rng, 4, 4))
    job = job_of(MemoryIpfs(), data, tmp_path)
    recompute = checking.Recomputer(Settings(tmp_path / "home", ipfs_api="http://127.0.0.1:9"))

    with pytest.raises(Unavailable, match="IPFS"):
        recompute(job, data, tmp_path / "empty")
