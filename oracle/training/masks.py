"""Masked rounds: the sum of all updates is learnt, and no update. Pure; chance comes from outside.

Client a (0, 1 … in the order of their keys) sends y_a, in residues modulo 2³², 32 a leaf:
```
 y_a = w_a · u_a + words(own_a) + Σ_{b > a} words(pair_ab) − Σ_{b < a} words(pair_ab)
 Σ y  over those present = Σ w · u + corrections:
      own_a      of every a present          joined from t shares
      ± pair_av  of a present, v vanished    from v's secret key, joined from t shares
```
Of one client either `own` or the secret key is joined, never both: with both, a late y_a could be
opened. So t is above half of the clients, and a holder of shares answers one question per client.

A word is 4 bytes of keccak256(seed ‖ u64 leaf ‖ u64 eighth), so a contract makes the one that it
needs from a disclosed seed with one hash. Sums are right as long as clip · Σ w < 2³¹ (`MaskTerms`).
Who sends shares encrypts them for their holder; that is not done here. Clients are honest but
curious: one that sends nonsense spoils the sum, as in every masked sum, and no rule bounds it.

Source: Bonawitz et al. 2017 (doi:10.1145/3133956.3133982); X25519: RFC 7748; HKDF: RFC 5869.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from Crypto.Hash import SHA256
from Crypto.Protocol.DH import (
    import_x25519_private_key,
    import_x25519_public_key,
    key_agreement,
)
from Crypto.Protocol.KDF import HKDF
from numpy.typing import NDArray

from oracle.errors import InputInvalid
from oracle.merkle import HashAll, hash_all, keccak
from oracle.training.shares import ShareInvalid, join
from oracle.types import Bytes32

WORDS = 32  # of a leaf
_OF_A_HASH = 8
_LEAVES_AT_ONCE = 2**13  # 1.5 MiB of messages
_INFO = b"tallystick/mask/1"
Residues = NDArray[np.uint32]


class BitBudgetExceeded(InputInvalid):
    """A sum of weighted updates may not fit 32 bits."""


class MaskInvalid(InputInvalid):
    """A key, an update or a number of clients that no masked round has."""


@dataclass(frozen=True, slots=True)
class MaskTerms:
    """What all clients of a masked round agree on.

    Attributes:
        clip: bound of an update's coordinates.
        most_weight: what Σ w does not exceed.
        clients: n.
        needed: t, shares that join a secret.
        context: names chain, contract and round: keys of another round give other seeds.

    Raises:
        BitBudgetExceeded: clip · most_weight does not fit 31 bits.
        MaskInvalid: not n ≥ 2 and n / 2 < t ≤ n.
    """

    clip: int
    most_weight: int
    clients: int
    needed: int
    context: bytes

    def __post_init__(self) -> None:
        if self.clip * self.most_weight >= 1 << 31:
            bits = (self.clip * self.most_weight).bit_length()
            raise BitBudgetExceeded(
                f"a clip of {self.clip} and weights of {self.most_weight} need {bits} bits of 31",
                hint=f"with these weights a clip of {((1 << 31) - 1) // self.most_weight} fits",
            )
        if not (self.clients >= 2 and self.clients // 2 < self.needed <= self.clients):
            raise MaskInvalid(
                f"{self.needed} shares of {self.clients} clients",
                hint="more than half of at least two clients",
            )


@dataclass(frozen=True, slots=True)
class SignedSeed:
    """A seed whose words are added (sign 1) or subtracted (−1)."""

    seed: Bytes32
    sign: int


@dataclass(frozen=True, slots=True)
class Announced:
    """What a client tells all others before it trains: its X25519 key, and the hash of `own`."""

    public_key: bytes
    own_hash: Bytes32

    @classmethod
    def of(cls, secret: bytes, own: bytes) -> "Announced":
        """Return what belongs to a secret key and an own seed, 32 random bytes each."""
        return cls(_private(secret).public_key().export_key(format="raw"), keccak(own))


def pair_seed(secret: bytes, public_key: bytes, terms: MaskTerms) -> Bytes32:
    """Return the seed that two clients share: the same from either side.

    Raises:
        MaskInvalid: the public key is not 32 bytes, or has a low order.
    """
    try:
        point = import_x25519_public_key(public_key)
        seed = key_agreement(
            static_priv=_private(secret),
            static_pub=point,
            kdf=partial(_derived, terms.context),
        )
    except ValueError as error:
        raise MaskInvalid(f"public key {public_key.hex():.64}: {error}") from error
    return Bytes32(seed)


def seeds_of(
    client: int, secret: bytes, own: bytes, announced: Sequence[Announced], terms: MaskTerms
) -> list[SignedSeed]:
    """Return the seeds that mask a client's update. Errors as in `pair_seed`."""
    pairs = [
        SignedSeed(pair_seed(secret, other.public_key, terms), 1 if client < number else -1)
        for number, other in enumerate(announced)
        if number != client
    ]
    return [SignedSeed(Bytes32(own), 1), *pairs]


def masked(
    update: NDArray[Any],
    weight: int,
    seeds: Sequence[SignedSeed],
    terms: MaskTerms,
    *,
    start: int = 0,
    hashing: HashAll = hash_all,
) -> Residues:
    """Return w · u with its masks: u32, as many coordinates.

    Args:
        update: integers, coordinates from `start` on, which begins a leaf.

    Raises:
        MaskInvalid: a coordinate is above the clip, or the weight above that of the round.
    """
    if update.size and int(np.abs(update.astype(np.int64)).max()) > terms.clip:
        raise MaskInvalid(f"a coordinate above the clip of {terms.clip}")
    if not 1 <= weight <= terms.most_weight:
        raise MaskInvalid(f"a weight of {weight}, not 1 … {terms.most_weight}")
    residues = (update.astype(np.int64) * weight).astype(np.uint32)
    return _moved(residues, seeds, 1, start, hashing)


def unmasked(
    total: Residues,
    corrections: Sequence[SignedSeed],
    *,
    start: int = 0,
    hashing: HashAll = hash_all,
) -> NDArray[np.int64]:
    """Return Σ w · u of those present: i64.

    Args:
        total: u32, Σ y of those present modulo 2³², coordinates from `start` on.
        corrections: of `recover`.
    """
    return _moved(total, corrections, -1, start, hashing).view(np.int32).astype(np.int64)


def words(seed: bytes, start: int, count: int, hashing: HashAll = hash_all) -> Residues:
    """Return the words of coordinates `start` …, which begins a leaf: u32, `count`."""
    found = np.empty(-(-count // WORDS) * WORDS, np.uint32)
    leaves, hashes = len(found) // WORDS, WORDS // _OF_A_HASH
    for at in range(0, leaves, _LEAVES_AT_ONCE):
        some = min(_LEAVES_AT_ONCE, leaves - at)
        messages = np.empty((some, hashes, 6), ">u8")
        messages[:, :, :4] = np.frombuffer(seed, ">u8")
        messages[:, :, 4] = (start // WORDS + at + np.arange(some))[:, None]
        messages[:, :, 5] = np.arange(hashes)
        made = hashing(messages.reshape(-1, 6).view(np.uint8), b"")
        found[at * WORDS : (at + some) * WORDS] = made.reshape(-1).view(">u4")
    return found[:count]


# ── Those who vanish ────────────────────────────────────────────────────────────────────────────
def recover(
    present: Sequence[int],
    shares: Mapping[int, Mapping[int, int]],
    announced: Sequence[Announced],
    terms: MaskTerms,
) -> list[SignedSeed]:
    """Return the corrections of a sum; all of them may be published.

    Args:
        present: whose y are in the sum.
        shares: by client, then by holder: of `own` of a client present, of a vanished one's key.

    Raises:
        TooFewLeft: a secret cannot be joined.
        ShareInvalid: a joined secret is not what its client announced.
    """
    here, found = frozenset(present), []
    for client, told in enumerate(announced):
        joined = join(shares.get(client, {}), terms.needed, client)
        if client in here:
            if keccak(joined) != told.own_hash:
                raise ShareInvalid(client)
            found.append(SignedSeed(Bytes32(joined), 1))
            continue
        if Announced.of(joined, b"").public_key != told.public_key:
            raise ShareInvalid(client)
        found += [
            SignedSeed(pair_seed(joined, announced[a].public_key, terms), 1 if a < client else -1)
            for a in sorted(here)
        ]
    return found


def _moved(
    values: Residues, seeds: Sequence[SignedSeed], by: int, start: int, hashing: HashAll
) -> Residues:
    """Return values + by · Σ sign · words, modulo 2³²."""
    if start % WORDS:
        raise MaskInvalid(f"coordinate {start} does not begin a leaf")
    moved = values.copy()
    for piece in _pieces(len(values)):
        for signed in seeds:
            made = words(signed.seed, start + piece.start, piece.stop - piece.start, hashing)
            if signed.sign * by > 0:
                moved[piece] += made
            else:
                moved[piece] -= made
    return moved


def _pieces(length: int) -> Iterator[slice]:
    size = _LEAVES_AT_ONCE * WORDS
    for at in range(0, length, size):
        yield slice(at, min(at + size, length))


def _derived(context: bytes, shared: bytes | bytearray | memoryview) -> bytes:
    return bytes(HKDF(bytes(shared), 32, context, SHA256, context=_INFO))  # type: ignore[arg-type]


def _private(secret: bytes) -> Any:
    if len(secret) != 32:
        raise MaskInvalid(f"a secret key of {len(secret)} bytes")
    return import_x25519_private_key(secret)
