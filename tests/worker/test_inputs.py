"""An input that nobody serves costs a batch a moment, not the time-out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from oracle.ipfs.memory import MemoryIpfs
from oracle.ipfs.port import CidUnresolved
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from worker.inputs import InputLate, InputSource

DATA = b"an input"
BLOCK = sha256(DATA)


class Patient(MemoryIpfs):
    """Looks until it is told to come back."""

    def __init__(self):
        super().__init__()
        self.back = threading.Event()
        self.searches = 0

    def fetch_bytes(self, cid, max_bytes):
        self.searches += 1
        assert self.back.wait(120)
        return super().fetch_bytes(cid, max_bytes)


@pytest.fixture
def patient():
    return Patient()


@pytest.fixture
def source(patient):
    with ThreadPoolExecutor(2) as threads:
        yield InputSource(MemoryIpfs(), patient, threads)
        patient.back.set()


def settled(source):
    with ThreadPoolExecutor(1):
        for search in list(source._found.values()):
            search.exception(10)


def test_get__found_by_nobody__late_at_first_then_unresolved(source, patient):
    for _ in range(3):
        with pytest.raises(InputLate):
            source.get(BLOCK)
    assert patient.searches <= 1, "one search for all who ask"
    patient.back.set()
    settled(source)
    with pytest.raises(CidUnresolved) as raised:
        source.get(BLOCK)
    assert type(raised.value) is CidUnresolved


def test_get__found_in_the_background__given_to_who_asks_next(source, patient):
    with pytest.raises(InputLate):
        source.get(BLOCK)
    patient.publish_bytes(DATA)
    patient.back.set()
    settled(source)
    assert source.get(BLOCK) == DATA
    assert source._found == {}


def test_get__found_quickly__no_search(patient):
    quick = MemoryIpfs()
    assert quick.publish_bytes(DATA).cid == raw_cid(BLOCK)
    with ThreadPoolExecutor(1) as threads:
        assert InputSource(quick, patient, threads).get(BLOCK) == DATA
    assert patient.searches == 0
