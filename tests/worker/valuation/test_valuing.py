"""Jobs: what comes of one, whatever happens on the way; and the task that does them."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle.errors import ConfigInvalid, Unavailable
from oracle.ipfs import data_sets, valuation_tables
from oracle.ipfs.memory import MemoryIpfs
from oracle.ipfs.valuation_tables import Index
from oracle.types import Bytes32
from oracle.valuation import reference
from oracle.valuation.jobs import DATA, FAILED, FETCHED, JOB, RESULT, Source, ValueJob
from oracle.valuation.judge import judge
from oracle.valuation.rounds import Params, RoundData
from oracle.valuation.table_comparison import find
from oracle.valuation.tables import build
from tests.support.killing import Killed
from tests.valuation import rounds
from worker import faults
from worker.tasks import value
from worker.valuation import valuing

HELD = rounds.small(test_rows=20)
RIGHT = rounds.tables(HELD)


class Brittle(MemoryIpfs):
    """An IPFS node at whose nth call something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1
        self.then: Callable[[], Exception | BaseException] = Killed

    def _count(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise self.then()

    def publish_file(self, *arguments: Any) -> Any:
        self._count()
        return super().publish_file(*arguments)

    def publish_bytes(self, data: bytes) -> Any:
        self._count()
        return super().publish_bytes(data)

    def fetch_bytes(self, *arguments: Any) -> bytes:
        self._count()
        return super().fetch_bytes(*arguments)


def job_of(ipfs: MemoryIpfs, data: RoundData, folder: Path) -> tuple[ValueJob, Path]:
    """Publish the rows of a round, and write its job."""

    def source(held: Any) -> Source:
        return Source(held.root, held.rows, data_sets.publish(ipfs, held, folder))

    job = ValueJob(
        1, data.params, data.test.width, tuple(map(source, data.sets)), source(data.test)
    )
    place = folder / job.name
    place.mkdir()
    (place / JOB).write_text(job.to_json())
    return job, place


@pytest.fixture
def ipfs() -> Brittle:
    return Brittle()


@pytest.fixture
def folder(ipfs: Brittle, tmp_path: Path) -> Path:
    return job_of(ipfs, HELD, tmp_path)[1]


def result(folder: Path) -> tuple[Index, Bytes32]:
    body = json.loads((folder / RESULT).read_text())
    return Index.from_json(json.dumps(body["index"])), Bytes32(bytes.fromhex(body["cid"]))


# ── What can go wrong ───────────────────────────────────────────────────────────────────────────
def test_value__no_job__says_so(ipfs: Brittle, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        valuing.value(tmp_path, ipfs)


def test_value__another_process_at_it__busy(ipfs: Brittle, folder: Path) -> None:
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(valuing.JobLocked):
            valuing.value(folder, ipfs)


def test_value__rows_that_nobody_has__failed_for_now(folder: Path) -> None:
    valuing.value(folder, MemoryIpfs())

    failure = json.loads((folder / FAILED).read_text())
    assert failure["error"] == "CidUnresolved"
    assert failure["permanent"] is False
    assert not (folder / FETCHED).exists()


def test_value__rows_of_another_root__failed_for_good(ipfs: Brittle, folder: Path) -> None:
    body = json.loads((folder / JOB).read_text())
    body["sets"][0]["cid"] = body["sets"][1]["cid"]
    (folder / JOB).write_text(json.dumps(body))

    valuing.value(folder, ipfs)

    failure = json.loads((folder / FAILED).read_text())
    assert (failure["error"], failure["permanent"]) == ("DigestMismatch", True)
    assert not (folder / RESULT).exists()


def test_value__failed_once__forgotten_with_the_result(ipfs: Brittle, folder: Path) -> None:
    ipfs.left, ipfs.then = 3, lambda: Unavailable("gone")
    valuing.value(folder, ipfs)
    assert (folder / FAILED).exists()

    valuing.value(folder, ipfs)

    assert not (folder / FAILED).exists()
    assert result(folder)[0].valuation == RIGHT.valuation


@pytest.mark.parametrize("call", range(12))
def test_value__killed_at_any_call__the_same_result_afterwards(
    ipfs: Brittle, folder: Path, call: int
) -> None:
    ipfs.left = call
    with pytest.raises(Killed):
        valuing.value(folder, ipfs)
    assert not (folder / RESULT).exists()

    valuing.value(folder, ipfs)

    index, cid = result(folder)
    assert index.valuation == RIGHT.valuation
    assert valuation_tables.fetch_index(ipfs, cid) == index


# ── What comes of it ────────────────────────────────────────────────────────────────────────────
def test_value__a_round__the_reference_s_tables_served_under_one_digest(
    ipfs: Brittle, folder: Path, tmp_path: Path
) -> None:
    valuing.value(folder, ipfs)

    index, cid = result(folder)
    assert index.valuation == RIGHT.valuation
    assert index.values == RIGHT.values
    assert min(index.totals) < 0 or index.totals == index.values
    there = valuation_tables.fetch_index(ipfs, cid)
    for name in valuation_tables.NAMES:
        table = valuation_tables.fetch(ipfs, there, name, RIGHT.valuation, tmp_path / "theirs")
        assert (table.entries == getattr(RIGHT, name).entries).all()
    assert set(index.opinions) == {"leave_one_out", "data_shapley", "error"}
    assert {len(said) for said in index.opinions.values()} == {len(HELD.sets)}


def test_value__twice__once(ipfs: Brittle, folder: Path) -> None:
    valuing.value(folder, ipfs)
    before = (folder / RESULT).stat().st_mtime_ns

    valuing.value(folder, MemoryIpfs())

    assert (folder / RESULT).stat().st_mtime_ns == before


def test_value__only_to_compare__nothing_published(ipfs: Brittle, folder: Path) -> None:
    valuing.value(folder, ipfs, publish=False)

    index, cid = result(folder)
    assert cid == bytes(32)
    assert not index.files


def test_value__asked_to_lie__one_running_sum_convicts(ipfs: Brittle, folder: Path) -> None:
    valuing.value(folder, ipfs, wanted=frozenset({faults.FALSE_VALUE}))

    index, _ = result(folder)
    assert sum(index.values) > sum(RIGHT.values)
    false = valuation_tables.load(folder, index.valuation, index.values)
    fault = find(HELD, false, RIGHT)
    assert fault is not None
    assert judge(HELD.round, index.valuation, fault)


def test_compute__a_round_too_large_for_the_reference__the_same_bits() -> None:
    rng = np.random.default_rng(7)
    sets = (rounds.random_set(rng, 700, 5), rounds.random_set(rng, 500, 5))
    data = RoundData(Params(5, 20, 10), sets, rounds.random_set(rng, 3, 5))
    assert not reference.is_small(data)

    flags, scores = valuing.compute(data)
    plain = reference.flags(data)

    assert (flags.flag == plain.flag).all()
    assert (flags.witness == plain.witness).all()
    wanted = build(data, plain, reference.scores(data, plain)).valuation
    assert build(data, flags, scores).valuation == wanted


# ── The task ────────────────────────────────────────────────────────────────────────────────────
def test_task__a_job_by_name__done(ipfs: Brittle, folder: Path) -> None:
    value.run({"job": folder.name}, folder.parent, ipfs)
    assert (folder / RESULT).exists()


@pytest.mark.parametrize("name", ["", "../other", "1-xyz", "/etc", None, "1-0123456789abcdef/.."])
def test_task__a_name_that_is_none__nothing_touched(
    ipfs: Brittle, folder: Path, name: str | None
) -> None:
    before = sorted(folder.parent.rglob("*"))
    value.run({"job": name}, folder.parent, ipfs)
    assert sorted(folder.parent.rglob("*")) == before


def test_task__an_unknown_job__nothing_raised(ipfs: Brittle, folder: Path) -> None:
    value.run({"job": "9-0123456789abcdef"}, folder.parent, ipfs)
    assert not (folder.parent / "9-0123456789abcdef").exists()


# ── Data sets on IPFS ───────────────────────────────────────────────────────────────────────────
def test_fetch__a_data_set_of_many_blocks__found_by_its_index(
    ipfs: Brittle, tmp_path: Path
) -> None:
    held = rounds.random_set(np.random.default_rng(2), 20_000, 60)
    cid = data_sets.publish(ipfs, held, tmp_path / "out")

    found = data_sets.fetch(ipfs, Source(held.root, held.rows, cid), 60, tmp_path / DATA)

    assert found.root == held.root
    assert (found.labels == held.labels).all()
