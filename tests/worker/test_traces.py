"""Traces made again: never one that contradicts the delivery, and none computed twice."""

import json
import threading

import pytest
import structlog

from oracle.errors import DigestMismatch
from oracle.exact import constants as constants_
from oracle.exact import quantisation
from oracle.exact.commitments import Committed
from oracle.exact.dtypes import DType
from oracle.exact.reference import execute
from oracle.ipfs.memory import MemoryIpfs
from oracle.ipfs.port import CidUnresolved
from oracle.protocol.canonical import sha256
from oracle.types import Bytes32
from tests.contracts.exact import example
from tests.worker.builders import Published
from tests.worker.disputes import INPUT, trace_job
from worker import faults, traces
from worker.cache import FileCache
from worker.models import ModelPool
from worker.trace_files import TraceFiles
from worker.traces import OwnAnswerDiffers, Traces, TracesBusy

LOG = structlog.get_logger()


def write(folder):
    """Write the example as a model's folder."""
    made = example()
    x = quantisation.Linear("x", DType.I8, (64, 8), (0, 1), 64, 1.0)
    y = quantisation.OutputCode("y", DType.I32, (8, 8), 1.0)
    folder.mkdir()
    (folder / "model.program").write_bytes(made.program.encode())
    (folder / "constants.safetensors").write_bytes(constants_.save(made.program, made.constants))
    described = {
        "name": "example",
        "runtime": {"format": "exact", "entry": "model.program"},
        "inputs": [{"name": "x", "dtype": "F32", "shape": [64, 8]}],
        "outputs": [{"name": "y", "dtype": "F32", "shape": [8, 8]}],
        "exact": {
            "constants": "constants.safetensors",
            "inputs": [quantisation.to_json(x)],
            "outputs": [quantisation.to_json(y)],
            "output_id": len(made.program.ops),
        },
    }
    (folder / "model.json").write_text(json.dumps(described))
    return folder


class World:
    """The example on a MemoryIpfs, and a count of executions."""

    def __init__(self, home):
        self.home = home
        self.ipfs = MemoryIpfs()
        self.ipfs.publish_bytes(INPUT)
        self.published = Published(self.ipfs, write(home / "model"))
        self.executions = 0

    def execute(self, *arguments):
        self.executions += 1
        return execute(*arguments)

    def traces(self, *, max_bytes=1 << 30, wrong=faults.NONE):
        cache = FileCache(self.home / "cache", 1 << 30, self.ipfs, LOG)
        pool = ModelPool(self.ipfs, cache, traces.load, device="cpu", max_bytes=1 << 30, log=LOG)
        kept = TraceFiles(self.home / "traces", max_bytes, LOG)
        return Traces(self.ipfs, pool, kept, self.execute, log=LOG, faults=wrong)

    def job(self, committed=None, **changes):
        return trace_job(committed, manifest_digest=self.published.digest, **changes)

    def files(self):
        return sorted((self.home / "traces").iterdir())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_get__delivery_is_not_what_is_computed__never_given_out(world):
    with pytest.raises(OwnAnswerDiffers):
        world.traces().get(world.job(example().lie_at_the_end))
    assert world.files() == []


def test_get__input_nobody_has__says_so(world):
    with pytest.raises(CidUnresolved):
        world.traces().get(world.job(input_cid=sha256(b"lost")))


def test_get__input_with_another_root__digest_mismatch(world):
    with pytest.raises(DigestMismatch):
        world.traces().get(world.job(input_root=Bytes32(b"\7" * 32)))


def test_get__another_trace_under_way__busy_when_the_patience_is_over(world):
    made = world.traces()
    held, release = threading.Event(), threading.Event()

    def slow(*arguments):
        held.set()
        release.wait(120)
        return execute(*arguments)

    made._execute = slow
    other = threading.Thread(target=made.get, args=(world.job(),))
    other.start()
    assert held.wait(120)
    with pytest.raises(TracesBusy):
        made.get(world.job(), patience=0.01)
    release.set()
    other.join()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda _: b"",
        lambda data: sha256(data[32:60]) + data[32:60],
    ],
)
def test_get__file_that_was_damaged__computed_again(world, damage):
    world.traces().get(world.job())
    (path,) = world.files()
    path.write_bytes(damage(path.read_bytes()))
    found = world.traces().get(world.job())
    assert found.committed.trace_root == example().honest.trace_root
    assert world.executions == 2


def test_get__twice__computed_once(world):
    made = world.traces()
    assert made.get(world.job()) is made.get(world.job())
    assert world.executions == 1


def test_get__after_a_restart__read_from_disk(world):
    world.traces().get(world.job())
    found = world.traces().get(world.job())
    assert world.executions == 1
    assert found.committed.trace_leaves == example().honest.trace_leaves
    assert found.committed.output_root == example().honest.output_root


def test_get__fault_on_purpose__the_lie_is_stood_by(world):
    honest = example().honest
    lie = Committed(honest.program, faults.spoil_trace(honest.tensors))
    made = world.traces(wrong=frozenset({faults.OUTPUT_BYTE}))
    assert made.get(world.job(lie)).committed.output_root == lie.output_root
    with pytest.raises(OwnAnswerDiffers):
        made.get(world.job())


def test_put__more_than_the_bound__oldest_goes_first(world):
    world.traces().get(world.job())
    size = world.files()[0].stat().st_size
    kept = TraceFiles(world.home / "traces", 2 * size, LOG)
    jobs = [trace_job(request_id=Bytes32(bytes([n]) * 32)) for n in (1, 2, 3)]
    for job in jobs:
        kept.put(job, example().honest)
    program = example().program
    assert [kept.get(job, program) is not None for job in jobs] == [False, True, True]


def test_put__larger_than_all_may_be__not_kept(world):
    TraceFiles(world.home / "traces", 1000, LOG).put(world.job(), example().honest)
    assert world.files() == []


def test_open__transfer_that_broke_off__is_removed(world):
    world.traces()
    (world.home / "traces" / "x.part").write_bytes(b"half")
    world.traces()
    assert world.files() == []
