"""API keys: made once, shown once, kept as a digest."""

import hashlib
import secrets
from dataclasses import dataclass

from oracle.errors import InputInvalid, NotFound, Refused
from oracle.store import Store
from oracle.store.gateway_repository import ApiKey
from oracle.types import Amount

PREFIX = "tsk_"
MAX_NAME = 64
_MARK = 8  # bytes
_BYTES = 32  # random: too many to guess, so a fast digest protects as well as a slow one


class KeyRefused(Refused):
    """No API key came along, or none that is in use."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key and its secret, which is never seen again."""

    key: ApiKey
    secret: str


def mint(
    store: Store,
    name: str,
    budget: Amount,
    *,
    per_minute: int = 0,
    models: tuple[int, ...] = (),
) -> Minted:
    """Make a key.

    Args:
        budget: what it may spend in all.
        per_minute: requests; 0 = unlimited.
        models: that it may ask; () = all.

    Raises:
        InputInvalid: the name is taken or empty, or the budget is nothing.
    """
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InputInvalid(f"{name!r:.80} cannot be the name of a key", hint="1 to 64 characters")
    if budget <= 0:
        raise InputInvalid("a key without a budget could ask nothing", hint="give it a budget")
    secret = _secret()
    with store.begin() as tx:
        return Minted(tx.add_api_key(name, digest(secret), budget, per_minute, models), secret)


def mark(store: Store, name: str) -> str:
    """Return what tells the secret of a key from those before it; "" = no key has this name.

    It is a part of the digest of 256 random bits, so it says nothing about the secret.
    """
    with store.read() as tx:
        return (tx.api_key_digest(name) or b"")[:_MARK].hex()


def renew(store: Store, name: str, replacing: str) -> str:
    """Give a key another secret, and return it; budget and what was spent stay, the old one ends.

    Args:
        replacing: the mark of the secret that it has now; so a repeated call renews nothing.

    Raises:
        KeyRefused: its secret has another mark, or it was revoked.
    """
    secret = _secret()
    with store.begin() as tx:
        old = tx.api_key_digest(name) or b""
        if old[:_MARK].hex() != replacing or not tx.replace_api_key_digest(
            name, old, digest(secret)
        ):
            raise KeyRefused("this API key was replaced or revoked meanwhile", hint="ask again")
    return secret


def authenticate(store: Store, secret: str) -> ApiKey:
    """Return the key of a secret.

    Raises:
        KeyRefused: nobody has it, or it was revoked.
    """
    with store.read() as tx:
        key = tx.api_key(digest(secret))
    if key is None:
        raise KeyRefused("this API key is not known here", hint="`tallystick key create` makes one")
    if key.revoked_at is not None:
        raise KeyRefused(f"the API key {key.name!r} was revoked", hint="ask for another one")
    return key


def revoke(store: Store, name: str) -> None:
    """Let a key do nothing any more; what it asked before is still answered.

    Raises:
        NotFound: no key of this name is in use.
    """
    with store.begin() as tx:
        if not tx.revoke_api_key(name):
            raise NotFound(f"there is no API key {name!r} in use", hint="`tallystick key list`")


def listed(store: Store) -> tuple[ApiKey, ...]:
    """Return all keys."""
    with store.read() as tx:
        return tuple(tx.api_keys())


def _secret() -> str:
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def own(store: Store, name: str, budget: Amount) -> ApiKey:
    """Return the key of this name for use inside this process; made when there is none.

    Its secret is thrown away: nobody else can use it.

    Raises:
        KeyRefused: it was revoked.
    """
    found = next((key for key in listed(store) if key.name == name), None)
    if found is None:
        return mint(store, name, budget).key
    if found.revoked_at is not None:
        raise KeyRefused(f"the API key {name!r} was revoked", hint="choose another name")
    return found
