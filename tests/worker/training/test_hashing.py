"""Keccak in C agrees with the library's, for every length that fits a block."""

import shutil

import numpy as np
import pytest

from oracle import merkle
from worker.training import hashing


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_compiled__every_length_and_count__hashes_as_the_library() -> None:
    hash_all = hashing.compiled()
    assert hash_all is not None
    draw = np.random.default_rng(1)
    for length in range(137):
        messages = draw.integers(0, 256, (length % 11, length), dtype=np.uint8)
        tag = b"\x07" * (length % 3)

        assert np.array_equal(
            hash_all(messages, tag).tobytes(),
            b"".join(merkle.keccak(tag + row.tobytes()) for row in messages),
        )


def test_compiled__no_compiler__falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    hashing.compiled.cache_clear()
    hashing.fastest.cache_clear()
    try:
        assert hashing.compiled() is None
        assert hashing.fastest() is merkle.hash_all
    finally:
        hashing.compiled.cache_clear()
        hashing.fastest.cache_clear()
