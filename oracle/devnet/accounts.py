"""The wallets of a development network: keystores in home/keys, one password file, test money."""

import secrets
from collections.abc import Iterable
from pathlib import Path

from oracle import whole_file
from oracle.chain import keystore
from oracle.config import Settings
from oracle.private_files import make_folder
from oracle.services import balances, wallets
from oracle.services.network import Network
from oracle.types import Address, Amount

PEOPLE = ("owner", "admin", "requester", "challenger", "treasury", "gateway")
PASSWORD_FILE = "password"  # noqa: S105 - the name of a file
TOKENS = Amount(10_000 * 10**6)  # for each wallet
_SCRYPT_N = 2**12  # a hundredth of a second instead of one: nothing here is worth more


def password_file(settings: Settings) -> Path:
    """Return the file with the password of all development wallets."""
    return settings.home / PASSWORD_FILE


def ensure(settings: Settings, names: Iterable[str]) -> dict[str, Address]:
    """Make the keystores that are missing; return every name's address."""
    password = _password(settings)
    addresses = {}
    for name in names:
        path = settings.home / "keys" / f"{name}.json"
        if not path.exists():
            keystore.create(path, lambda: password, scrypt_n=_SCRYPT_N)
        addresses[name] = keystore.address_of(path)
    return addresses


def fund(network: Network, accounts: Iterable[Address], amount: Amount = TOKENS) -> None:
    """Give each account test dollars and currency for gas from Anvil's own accounts."""
    for account in accounts:
        balances.fund(network, account, amount)


def _password(settings: Settings) -> str:
    path = password_file(settings)
    if not path.exists():
        make_folder(path.parent)
        whole_file.write_new(path, secrets.token_urlsafe(24) + "\n")
    return wallets.read_password(path)
