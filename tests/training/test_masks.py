"""Masked sums equal plain ones, whoever vanishes, as long as t are left; else a typed error."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.merkle import keccak
from oracle.training import masks, shares
from oracle.training.masks import (
    Announced,
    BitBudgetExceeded,
    MaskInvalid,
    MaskTerms,
    SignedSeed,
)
from oracle.training.shares import PRIME, ShareInvalid, TooFewLeft

P = 75  # coordinates: two leaves and a part
TERMS = MaskTerms(clip=1000, most_weight=2000, clients=5, needed=3, context=b"round 7 of chain 1")


class Round:
    """Five clients with updates, weights, secrets and shares of them."""

    def __init__(self, terms: MaskTerms = TERMS) -> None:
        draw = np.random.default_rng(1)
        self.terms = terms
        clients = range(terms.clients)
        self.updates = draw.integers(-terms.clip, terms.clip + 1, (terms.clients, P))
        self.weights = [int(w) for w in draw.integers(1, 300, terms.clients)]
        self.secrets, self.owns = ([draw.bytes(32) for _ in clients] for _ in "ab")
        self.announced = [Announced.of(*pair) for pair in zip(self.secrets, self.owns, strict=True)]
        self.seeds = [
            masks.seeds_of(c, self.secrets[c], self.owns[c], self.announced, terms) for c in clients
        ]
        self.sent = [
            masks.masked(self.updates[c], self.weights[c], self.seeds[c], terms) for c in clients
        ]
        n, t = terms.clients, terms.needed
        self.key_shares = [shares.split(s, t, n, draw.bytes(32)) for s in self.secrets]
        self.own_shares = [shares.split(s, t, n, draw.bytes(32)) for s in self.owns]

    def told(self, present: set[int], holders: set[int]) -> dict[int, dict[int, int]]:
        """What the holders tell: shares of `own` of those present, of the others' keys."""
        return {
            c: {h: (self.own_shares if c in present else self.key_shares)[c][h] for h in holders}
            for c in range(self.terms.clients)
        }

    def sum_of(self, present: set[int]) -> np.ndarray:
        return sum((self.weights[c] * self.updates[c] for c in present), np.zeros(P, np.int64))

    def total(self, present: set[int]) -> np.ndarray:
        return np.sum([self.sent[c] for c in present], axis=0, dtype=np.uint32)


ROUND = Round()


@pytest.mark.parametrize(("clip", "weight"), [(32767, 65539), (1, 2**31), (2**30, 2)])
def test_terms__sum_above_31_bits__is_refused(clip: int, weight: int) -> None:
    with pytest.raises(BitBudgetExceeded, match="bits of 31"):
        dataclasses.replace(TERMS, clip=clip, most_weight=weight)
    dataclasses.replace(TERMS, clip=clip, most_weight=(2**31 - 1) // clip)


@pytest.mark.parametrize(("clients", "needed"), [(5, 2), (4, 2), (5, 6), (1, 1)])
def test_terms__half_of_the_clients_or_more_than_all__is_refused(clients: int, needed: int) -> None:
    with pytest.raises(MaskInvalid):
        dataclasses.replace(TERMS, clients=clients, needed=needed)


def test_masked__coordinate_or_weight_outside_the_terms__is_refused() -> None:
    update = np.zeros(P, np.int64)
    update[3] = -1001

    with pytest.raises(MaskInvalid, match="clip of 1000"):
        masks.masked(update, 1, [], TERMS)
    for weight in (0, 2001):
        with pytest.raises(MaskInvalid, match="weight"):
            masks.masked(update * 0, weight, [], TERMS)
    with pytest.raises(MaskInvalid, match="leaf"):
        masks.masked(update * 0, 1, [], TERMS, start=31)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32)])  # the last has a low order
def test_pair_seed__public_key_of_nobody__is_refused(key: bytes) -> None:
    with pytest.raises(MaskInvalid):
        masks.pair_seed(bytes(range(32)), key, TERMS)
    with pytest.raises(MaskInvalid):
        Announced.of(b"short", b"")


def test_recover__too_few_left__is_an_error_that_says_how_many() -> None:
    present = {0, 1, 2, 3}

    with pytest.raises(TooFewLeft) as caught:
        masks.recover(sorted(present), ROUND.told(present, {0, 1}), ROUND.announced, ROUND.terms)

    assert (caught.value.client, caught.value.left, caught.value.needed) == (0, 2, 3)


@pytest.mark.parametrize("liar", [0, 4])  # its share of one present, or of one vanished
def test_recover__wrong_share__names_whose_secret(liar: int) -> None:
    present = {0, 1, 2, 3}
    told = ROUND.told(present, {0, 1, 2})
    told[liar][1] = (told[liar][1] + 1) % PRIME

    with pytest.raises(ShareInvalid) as caught:
        masks.recover(sorted(present), told, ROUND.announced, ROUND.terms)

    assert caught.value.client == liar


def test_recover__own_seed_of_another__is_refused() -> None:
    present = {0, 1, 2, 3}
    told = ROUND.told(present, {0, 1, 2})
    told[0] = told[1]

    with pytest.raises(ShareInvalid):
        masks.recover(sorted(present), told, ROUND.announced, ROUND.terms)


@pytest.mark.parametrize("vanished", [set(), {4}, {0}, {1, 3}])
def test_unmasked__all_or_some_present__is_the_plain_sum(vanished: set[int]) -> None:
    present = set(range(5)) - vanished
    holders = set(sorted(present)[:3])

    corrections = masks.recover(
        sorted(present), ROUND.told(present, holders), ROUND.announced, ROUND.terms
    )

    assert np.array_equal(masks.unmasked(ROUND.total(present), corrections), ROUND.sum_of(present))
    assert len(corrections) == len(present) * (1 + len(vanished))


def test_unmasked__without_the_corrections__is_not_the_sum() -> None:
    total = ROUND.total(set(range(5)))

    assert np.count_nonzero(masks.unmasked(total, []) == ROUND.sum_of(set(range(5)))) <= 1


def test_masked__one_update__shows_nothing_of_it() -> None:
    zero = masks.masked(np.zeros(P, np.int64), 1, ROUND.seeds[0], TERMS)

    assert np.array_equal(
        ROUND.sent[0] - zero, (ROUND.updates[0] * ROUND.weights[0]).astype(np.uint32)
    )
    assert len(np.unique(zero)) == P  # the masks alone: no word comes twice
    assert abs(np.mean(zero / 2**32) - 0.5) < 0.15


def test_masked__in_parts__is_the_same() -> None:
    parts = [
        masks.masked(ROUND.updates[2][a:b], ROUND.weights[2], ROUND.seeds[2], TERMS, start=a)
        for a, b in ((0, 32), (32, 64), (64, P))
    ]

    assert np.array_equal(np.concatenate(parts), ROUND.sent[2])


def test_words__many_leaves__are_what_a_contract_makes() -> None:
    seed = keccak(b"seed")
    found = masks.words(seed, 64, 300_000)

    for coordinate in (64, 65, 95, 96, 262_143 + 64, 262_144 + 64, 300_063):
        leaf, place = divmod(coordinate, 32)
        hashed = keccak(seed + leaf.to_bytes(8) + (place // 8).to_bytes(8))
        expected = int.from_bytes(hashed[4 * (place % 8) :][:4])
        assert int(found[coordinate - 64]) == expected


def test_unmasked__sum_at_the_edge_of_the_budget__keeps_its_sign() -> None:
    terms = dataclasses.replace(TERMS, clip=2**15 - 1, most_weight=65_538, clients=2, needed=2)
    seed = [SignedSeed(keccak(b"s"), 1)]
    for value in (terms.clip, -terms.clip):
        sent = masks.masked(np.array([value]), terms.most_weight, seed, terms)
        assert masks.unmasked(sent, seed).tolist() == [value * terms.most_weight]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 6), st.integers(0, 3), st.data())
@settings(max_examples=40, deadline=None)
def test_join__any_t_of_n__gives_the_secret(
    secret: bytes, needed: int, more: int, data: st.DataObject
) -> None:
    made = shares.split(secret, needed, needed + more, keccak(secret))
    holders = data.draw(st.permutations(range(needed + more)))[:needed]

    assert shares.join({holder: made[holder] for holder in holders}, needed) == secret
    if needed > 1:
        with pytest.raises(TooFewLeft):
            shares.join({holder: made[holder] for holder in holders[1:]}, needed)


def test_announced__rfc_7748__has_its_public_key() -> None:
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")

    public_key = Announced.of(bob, b"").public_key

    assert public_key.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"


def test_pair_seed__either_side__is_the_same_and_of_this_round_alone() -> None:
    ours, theirs = ROUND.announced[:2]
    seed = masks.pair_seed(ROUND.secrets[0], theirs.public_key, TERMS)

    assert seed == masks.pair_seed(ROUND.secrets[1], ours.public_key, TERMS)
    other = dataclasses.replace(TERMS, context=b"round 8 of chain 1")
    assert seed != masks.pair_seed(ROUND.secrets[0], theirs.public_key, other)
