"""Which rows a step takes: a shuffle of any number of rows that needs no memory.

A Feistel network permutes numbers of 2k bits; what falls outside the rows goes through it again
(cycle walking: Black and Rogaway, 2002). A place in the order is computed, never stored, so that a
run goes on at any step.
"""

import hashlib
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Words = np.ndarray[Any, np.dtype[np.uint64]]
_ROUNDS = 4
_BLOCK = 2**13  # places that are computed at a time
_MIX = np.uint64(0x9E3779B97F4A7C15)  # of splitmix64


def share(rows: int, index: int, of: int) -> tuple[int, int]:
    """Return the contiguous range of rows that part `index` of `of` parts holds."""
    return rows * index // of, rows * (index + 1) // of


class RowOrder:
    """The rows of one part of a set, shuffled anew in every epoch."""

    def __init__(self, seed: int, first: int, end: int, batch: int) -> None:
        """Shuffle rows first…end−1; a step takes `batch` of them."""
        self._seed, self._first, self._count, self._batch = seed, first, end - first, batch
        self._steps = max(1, _BLOCK // batch)
        self._block: tuple[int, Numbers] = (-1, np.empty(0, np.int64))

    def rows(self, step: int) -> Numbers:
        """Return row numbers int64 [batch] of a step, counted from 0."""
        number, within = divmod(step, self._steps)
        if self._block[0] != number:
            start = number * self._steps * self._batch
            places = np.arange(start, start + self._steps * self._batch, dtype=np.int64)
            self._block = (number, self._at(places))
        return self._block[1][within * self._batch : (within + 1) * self._batch]

    def _at(self, places: Numbers) -> Numbers:
        epochs, within = np.divmod(places, self._count)
        found = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            found[here] = permuted(self._seed, int(epoch), within[here], self._count)
        return found + self._first


def permuted(seed: int, epoch: int, places: Numbers, count: int) -> Numbers:
    """Return where each place 0…count−1 of an epoch's shuffle leads: a permutation."""
    bits = max(1, ((count - 1).bit_length() + 1) // 2)
    words = places.astype(np.uint64)
    keys = np.frombuffer(
        hashlib.shake_256(f"{seed}/{epoch}/{count}".encode()).digest(8 * _ROUNDS), "<u8"
    )
    words = _feistel(words, keys, bits)
    while (outside := words >= count).any():
        words[outside] = _feistel(words[outside], keys, bits)
    return words.astype(np.int64)


def _feistel(words: Words, keys: Words, bits: int) -> Words:
    shift, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    left, right = words >> shift, words & mask
    for key in keys:
        left, right = right, (left ^ (((right ^ key) * _MIX) >> np.uint64(31))) & mask
    return (left << shift) | right
