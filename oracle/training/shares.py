"""Shares of a secret: t of n give it back, fewer tell nothing. Pure; chance comes from outside.

A secret of 32 bytes is the value at 0 of a polynomial of degree t − 1 modulo 2⁵²¹ − 1; the share of
holder h (0, 1 …) is its value at h + 1. Source: Shamir 1979, doi:10.1145/359168.359176.
"""

from collections.abc import Mapping

from oracle.errors import PermanentError
from oracle.merkle import keccak

PRIME = 2**521 - 1


class ShareInvalid(PermanentError):
    """Shares of a client's secret do not give what it announced: a holder's share is wrong.

    Attributes:
        client: whose secret it is.
    """

    def __init__(self, client: int) -> None:
        super().__init__(
            f"the shares of client {client} do not give what it announced",
            hint="leave out a holder and join again",
        )
        self.client = client


class TooFewLeft(PermanentError):
    """Fewer holders of shares are left than a secret needs; the round's sum is lost."""

    def __init__(self, client: int, left: int, needed: int) -> None:
        super().__init__(
            f"{left} shares of client {client} are left, {needed} are needed",
            hint="open the round again, with those who are there",
        )
        self.client, self.left, self.needed = client, left, needed


def split(secret: bytes, needed: int, holders: int, entropy: bytes) -> list[int]:
    """Return a share of a secret of at most 32 bytes for each holder.

    Args:
        needed: t, shares that join it.
        entropy: 32 random bytes that are used for nothing else.
    """
    coefficients = [int.from_bytes(secret)] + [
        int.from_bytes(b"".join(keccak(entropy + k.to_bytes(8) + bytes([j])) for j in range(3)))
        for k in range(1, needed)
    ]
    return [
        sum(c * pow(holder + 1, k, PRIME) for k, c in enumerate(coefficients)) % PRIME
        for holder in range(holders)
    ]


def join(shares: Mapping[int, int], needed: int, client: int = 0) -> bytes:
    """Return the 32 bytes that were split.

    Args:
        shares: by their holder.
        needed: t.
        client: whose secret it is, for errors.

    Raises:
        TooFewLeft: fewer than t shares.
        ShareInvalid: they give no 32 bytes.
    """
    if len(shares) < needed:
        raise TooFewLeft(client, len(shares), needed)
    points = [(holder + 1, share) for holder, share in sorted(shares.items())[:needed]]
    total = 0
    for x, y in points:  # Lagrange, at 0
        above = below = 1
        for other, _ in points:
            if other != x:
                above, below = above * other % PRIME, below * (other - x) % PRIME
        total += y * above * pow(below, -1, PRIME)
    if (total := total % PRIME) >= 1 << 256:
        raise ShareInvalid(client)
    return total.to_bytes(32)
