"""People on a chain with an IPFS node, and the worker's code in this process but for one test."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.services.builders import Update
from oracle.services.training import bases
from tests.services.conftest import World
from tests.services.training.people import TrainingPlay
from worker.training.__main__ import done


def in_this_process(
    module: str, folder: Path, *options: str, source: Path | None = None, update: Update
) -> str:
    """Do what `run_program` does, without seconds of importing torch for each file."""
    assert (module, options) == (bases.PROGRAM, ())
    assert source is not None
    return json.dumps(done(json.loads(source.read_text()), folder))


@contextmanager
def playing(world: World, folder: Path) -> Iterator[TrainingPlay]:
    """Start an IPFS node that everybody reaches."""
    node = daemon.start_embedded(folder / "ipfs", log=folder / "ipfs.log")
    try:
        network = replace(world.network, ipfs=IpfsClient(node.api_url))
        yield TrainingPlay(replace(world, network=network), folder)
    finally:
        node.stop()


@pytest.fixture
def play(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingPlay]:
    """People on a chain; what the worker computes is computed here."""
    monkeypatch.setattr(bases, "run_program", in_this_process)
    with playing(world, tmp_path) as found:
        yield found


@pytest.fixture
def separate(world: World, tmp_path: Path) -> Iterator[TrainingPlay]:
    """People on a chain; the worker computes in processes of its own."""
    with playing(world, tmp_path) as found:
        yield found
