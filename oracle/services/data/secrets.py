"""What a commitment hides, kept by its owner until it is revealed: salts and rows, on this machine.

Written before the commitment is sent, readable by nobody else (0600): a process that dies loses
nothing. One book per deployment:
```
 home/data/<chain id>-<contract>/<commitment>.json    whose, of which round or model, salt, root
                                 <root>.rows          the data set's file (oracle.ipfs.data_sets)
```
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle import whole_file
from oracle.errors import ConfigInvalid, NotFound
from oracle.ipfs import data_sets
from oracle.private_files import make_folder
from oracle.types import Address, Bytes32, Contracts
from oracle.valuation.dataset import DataSet


@dataclass(frozen=True, slots=True)
class Secret:
    """What one commitment hides.

    Attributes:
        subject: the round of a contribution; the model of a test set.
    """

    commitment: Bytes32
    account: Address
    subject: int
    salt: Bytes32
    root: Bytes32
    rows: int


class SecretBook:
    """The secrets of one deployment."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made when the first secret is kept."""
        self.folder = folder

    @classmethod
    def of(cls, home: Path, contracts: Contracts) -> "SecretBook":
        """Return the book of a deployment."""
        return cls(home / "data" / f"{contracts.chain_id}-{contracts.data_rounds}")

    def keep(self, secret: Secret, data: DataSet) -> None:
        """Write a secret and its rows; when this returns, both are on the disk.

        Raises:
            ConfigInvalid: they cannot be written.
        """
        body = {
            "commitment": secret.commitment.hex(),
            "account": secret.account,
            "subject": secret.subject,
            "salt": secret.salt.hex(),
            "root": secret.root.hex(),
            "rows": secret.rows,
        }
        try:
            make_folder(self.folder)
            whole_file.write(self._rows(secret.root), data_sets.encode(data))
            text = json.dumps(body, indent=2, sort_keys=True) + "\n"
            whole_file.write(self._file(secret.commitment), text)
        except OSError as error:
            raise ConfigInvalid(f"cannot keep a secret in {self.folder}: {error}") from error

    def find(self, commitment: Bytes32) -> Secret | None:
        """Return what a commitment hides, if it was made here.

        Raises:
            ConfigInvalid: its file is damaged.
        """
        path = self._file(commitment)
        return _read(path) if path.exists() else None

    def of_account(self, account: Address, subject: int) -> tuple[Secret, ...]:
        """Return an account's secrets of a round, or of a model."""
        every = (_read(path) for path in sorted(self.folder.glob("*.json")))
        return tuple(s for s in every if (s.account, s.subject) == (account, subject))

    def data(self, secret: Secret) -> DataSet:
        """Return the rows of a secret.

        Raises:
            NotFound: they are gone. DigestMismatch: they are not the rows that were kept.
        """
        path = self._rows(secret.root)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise NotFound(
                f"the rows of data set 0x{secret.root.hex()} are gone: {error.strerror}",
                hint="submit the same files again: they give the same data set",
            ) from error
        return data_sets.decode(body, path.name)

    def _file(self, commitment: Bytes32) -> Path:
        return self.folder / f"{commitment.hex()}.json"

    def _rows(self, root: Bytes32) -> Path:
        return self.folder / f"{root.hex()}.rows"


def salt() -> Bytes32:
    """Return 32 bytes that nobody can guess."""
    return Bytes32(secrets.token_bytes(32))


def _read(path: Path) -> Secret:
    try:
        body: dict[str, Any] = json.loads(path.read_text())
        commitment, salt_, root = (
            Bytes32(bytes.fromhex(body[name])) for name in ("commitment", "salt", "root")
        )
        account, subject = Address(body["account"]), int(body["subject"])
        return Secret(commitment, account, subject, salt_, root, int(body["rows"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigInvalid(f"{path} is damaged: {error!r:.200}") from error
