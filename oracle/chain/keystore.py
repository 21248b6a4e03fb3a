"""Keystore files (version 3, as geth writes them): make and open.

Passwords come from the caller or a file.

The only module that turns a file into a key. Keys and passwords are never logged, never taken from
arguments or the environment, and never part of an error.
"""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address

from oracle import whole_file
from oracle.errors import ConfigInvalid, InputInvalid, NotFound
from oracle.private_files import make_folder
from oracle.types import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

Password = Callable[[], str]
SCRYPT_N = 2**18  # work factor of geth's standard keystores: about a second and 256 MiB


class PasswordWrong(InputInvalid):
    """The password does not open the keystore."""


def create(path: Path, password: Password, *, scrypt_n: int = SCRYPT_N) -> Address:
    """Make a key, write it encrypted with mode 0600, and return its address.

    Raises:
        InputInvalid: the file exists already, or the password is empty.
    """
    from eth_account import Account  # noqa: PLC0415 - to look up an address needs no cipher

    return save(path, Account.create(), password, scrypt_n=scrypt_n)


def save(
    path: Path, account: "LocalAccount", password: Password, *, scrypt_n: int = SCRYPT_N
) -> Address:
    """Write a key that exists, encrypted with mode 0600, and return its address.

    Raises:
        InputInvalid: the file exists already, or the password is empty.
    """
    from eth_account import Account  # noqa: PLC0415 - to look up an address needs no cipher

    exists = InputInvalid(f"{path} exists", hint="a key is never overwritten: choose another name")
    if path.exists():
        raise exists
    secret = password()
    if not secret:
        raise InputInvalid(
            "the password is empty", hint="type one, or write it into TALLYSTICK_PASSWORD_FILE"
        )
    body = json.dumps(Account.encrypt(account.key, secret, kdf="scrypt", iterations=scrypt_n))
    make_folder(path.parent)
    if not whole_file.write_new(path, body + "\n"):  # its mode is right from the start
        raise exists
    return Address(account.address)


def load(path: Path, password: Password) -> "LocalAccount":
    """Open a keystore.

    Raises:
        NotFound: no such file. ConfigInvalid: others may read it, or it is no keystore.
        PasswordWrong: the password does not fit.
    """
    from eth_account import Account  # noqa: PLC0415 - to look up an address needs no cipher

    body = _read(path)
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(body, password()))
    except ValueError as error:
        if "MAC" in str(error):
            raise PasswordWrong(f"wrong password for {path}") from None
        raise _no_keystore(path) from None
    except (KeyError, TypeError, AttributeError):
        raise _no_keystore(path) from None
    return account


def address_of(path: Path) -> Address:
    """Return the address that a keystore names, without opening it.

    Raises:
        NotFound: no such file. ConfigInvalid: it is no keystore.
    """
    try:
        return Address(to_checksum_address(_read(path)["address"]))
    except (KeyError, TypeError, ValueError):
        raise _no_keystore(path) from None


def password_file(path: Path) -> Password:
    """Return a provider that reads a file, without the newline at its end.

    Raises (when asked):
        ConfigInvalid: the file cannot be read or is empty.
    """

    def read() -> str:
        try:
            text = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise ConfigInvalid(f"the password file {path} cannot be read") from None
        if not text:
            raise ConfigInvalid(f"the password file {path} is empty")
        return text

    return read


def _read(path: Path) -> dict[str, Any]:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no key at {path}", hint="`tallystick wallet new`") from None
    except (OSError, UnicodeDecodeError):
        raise ConfigInvalid(f"{path} cannot be read") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigInvalid(
            f"{path} may be used by others (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod 600 {path}",
        )
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _no_keystore(path)
    return body


def _no_keystore(path: Path) -> ConfigInvalid:
    return ConfigInvalid(
        f"{path} is not a keystore that can be opened",
        hint="name a file that `tallystick wallet new` or geth wrote, or restore it from a backup",
    )
