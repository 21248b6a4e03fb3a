"""Wallets: keystore files in home/keys, found by name and opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.chain import keystore
from oracle.config import Settings
from oracle.errors import InputInvalid, NotFound, did_you_mean
from oracle.services import amounts
from oracle.types import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


@dataclass(frozen=True, slots=True)
class WalletInfo:
    """A keystore and the account it opens."""

    name: str
    address: Address
    path: Path


def create(settings: Settings, name: str, password: str) -> WalletInfo:
    """Make a key and write it, encrypted, to home/keys.

    Raises:
        InputInvalid: a name that is no file name, a wallet of that name, or an empty password.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise InputInvalid(f"{name!r} cannot be the name of a wallet", hint="letters and digits")
    path = settings.home / "keys" / f"{name}.json"
    return WalletInfo(name, keystore.create(path, lambda: password), path)


def list_wallets(settings: Settings) -> tuple[WalletInfo, ...]:
    """Return the keystores in home/keys, by name."""
    paths = sorted((settings.home / "keys").glob("*.json"))
    return tuple(WalletInfo(path.stem, keystore.address_of(path), path) for path in paths)


def find(settings: Settings, name: str) -> WalletInfo:
    """Return a wallet by its name in home/keys, or by the path of its keystore.

    Raises:
        NotFound: there is none. ConfigInvalid: the file is no keystore.
    """
    path = settings.keystore(name)
    if not path.exists():
        known = [info.name for info in list_wallets(settings)]
        raise NotFound(
            f"there is no wallet {name}",
            hint=did_you_mean(name, known) + f"wallets here: {', '.join(known) or 'none yet'}",
        )
    return WalletInfo(path.stem, keystore.address_of(path), path)


def unlock(settings: Settings, name: str, password: str) -> "LocalAccount":
    """Open a keystore.

    Raises:
        NotFound, ConfigInvalid, PasswordWrong: see `oracle.chain.keystore.load`.
    """
    return keystore.load(find(settings, name).path, lambda: password)


def read_password(path: Path) -> str:
    """Read a password file.

    Raises:
        ConfigInvalid: it cannot be read or is empty.
    """
    return keystore.password_file(path.expanduser())()


def resolve(settings: Settings, text: str) -> Address:
    """Return the address that a person means: an address, or the name of a wallet here.

    Raises:
        InputInvalid: neither.
    """
    if text.startswith("0x"):
        return amounts.parse_address(text)
    try:
        return find(settings, text).address
    except NotFound as error:
        raise InputInvalid(
            f"{text!r} is neither an address nor a wallet here", hint=error.hint
        ) from error
