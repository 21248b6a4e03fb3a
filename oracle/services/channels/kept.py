"""What a payer keeps of its channels: receipts, the bytes behind them, and the key of the vouchers.

```
 HOME/channels/PAYER-OFFER/channel.json   deployment, offer, payer, signer: what receipts are of
                          /signer         private key of the vouchers
                          /receipts       one JSON line a receipt, appended
                          /answers/N.input, N.output   canonical bytes behind receipt N
                          /wrong.json   what came instead of the operator's word: the last answer
```
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from oracle import whole_file
from oracle.errors import InputInvalid, NotFound
from oracle.private_files import make_folder, open_log
from oracle.protocol import channel_wire, receipt_file, vouchers
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.receipt_file import ReceiptFile, SignedChannel
from oracle.services.channels import offers
from oracle.types import Address, Amount, Bytes32, Contracts, Offer

SHOWN = "`tallystick receipts list` shows those that are kept"


@dataclass(frozen=True, slots=True)
class KeptInfo:
    """A channel whose receipts are kept."""

    channel_id: Bytes32
    model_id: int
    version: int
    operator: Address
    payer: Address
    fee: Amount  # of one answer
    receipts: int


class KeptChannel:
    """One channel's folder. Other processes may append to it meanwhile."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that is there.

        Raises:
            InputInvalid: its files are no channel's. OSError.
        """
        self.folder = folder
        fields = json.loads((folder / "channel.json").read_text())
        self.channel = receipt_file.channel_of(fields)

    @classmethod
    def make(cls, home: Path, contracts: Contracts, offer: Offer, payer: Address) -> "KeptChannel":
        """Open the folder of a payer's channel for an offer; a new one gets a key of its own."""
        key = os.urandom(32)
        made = SignedChannel.on(contracts, offer, payer, vouchers.address_of(key))
        folder = make_folder(home / "channels" / f"{payer}-{made.offer_id.hex()[:16]}")
        whole_file.write_new(folder / "signer", key.hex())
        signer = vouchers.address_of(bytes.fromhex((folder / "signer").read_text()))
        made = SignedChannel.on(contracts, offer, payer, signer)
        whole_file.write_new(
            folder / "channel.json", json.dumps(receipt_file.channel_json(made), indent=2) + "\n"
        )
        kept = cls(folder)
        if kept.channel != made:
            raise InputInvalid(
                f"{folder} is of another deployment or signer", hint="move it out of the way"
            )
        return kept

    @property
    def key(self) -> bytes:
        """The private key that signs vouchers."""
        return bytes.fromhex((self.folder / "signer").read_text())

    @property
    def evidence(self) -> Path:
        """The file of an answer after which nothing more is asked; not there if none was wrong."""
        return self.folder / "wrong.json"

    def info(self) -> KeptInfo:
        """Say what is here. Raises: see `receipts`."""
        channel, offer = self.channel, self.channel.offer
        return KeptInfo(
            channel.channel_id, offer.model_id, offer.version, offer.operator, channel.payer,
            offer.terms.fee, len({receipt.index for receipt in self.receipts()}),
        )  # fmt: skip

    def receipts(self) -> list[AnswerReceipt]:
        """Return the receipts in the order in which they came; none of them is checked.

        Raises:
            InputInvalid: a line is no receipt.
        """
        path = self.folder / "receipts"
        kept = path.read_text() if path.exists() else ""
        lines = kept[: kept.rfind("\n") + 1].splitlines()  # the last one may be half written
        try:
            return [channel_wire.receipt_of(json.loads(line)) for line in lines]
        except ValueError as error:
            raise InputInvalid(f"{path}: {error}") from error

    def add(self, receipt: AnswerReceipt) -> None:
        """Append a receipt."""
        with open_log(self.folder / "receipts") as file:
            file.write(json.dumps(channel_wire.receipt_json(receipt)).encode() + b"\n")

    def add_bytes(self, index: int, input: bytes, output: bytes) -> None:
        """Keep what receipt `index` is about: who disputes an answer needs its input."""
        for name, data in (("input", input), ("output", output)):
            with open_log(self.folder / "answers" / f"{index}.{name}") as file:
                file.truncate(0)
                file.write(data)

    def bytes_of(self, index: int) -> tuple[bytes | None, bytes | None]:
        """Return question and answer behind receipt `index`; None = not kept."""
        return self._bytes(index, "input"), self._bytes(index, "output")

    def leaves(self) -> list[Bytes32]:
        """Return the digests of the receipts, from 1 on as far as none is missing.

        Raises:
            InputInvalid: see `receipts`.
        """
        found = list[Bytes32]()
        for receipt in sorted(self.receipts(), key=lambda receipt: receipt.index):
            if receipt.index == len(found) + 1:
                found.append(self.channel.digest(receipt))
        return found

    def files(self, index: int | None = None) -> list[ReceiptFile]:
        """Return all receipts as files, by index, or those of one index with their proof.

        Raises:
            InputInvalid: see `receipts`. NotFound: none is kept.
        """
        leaves, files = self.leaves(), list[ReceiptFile]()
        for receipt in sorted(self.receipts(), key=lambda receipt: receipt.index):
            # The bytes of an index are those of its first receipt: who signs two keeps one answer
            first = not files or files[-1].receipt.index != receipt.index
            files.append(self._file(receipt, with_bytes=first))
        if wrong := self._wrong():
            files = [file for file in files if file.receipt != wrong.receipt] + [wrong]
        found = [file for file in files if index in (None, file.receipt.index)]
        if index is not None and index <= len(leaves):  # of all of them it would take minutes
            proof = receipt_file.proof_of(leaves, index)
            found = [
                replace(file, proof=proof) if file.digest == leaves[index - 1] else file
                for file in found
            ]
        if not found:
            raise NotFound(
                f"no receipt {'' if index is None else f'{index} '}of channel "
                f"{offers.name(self.channel.channel_id)[:10]} is kept",
                hint=SHOWN,
            )
        return found

    def _wrong(self) -> ReceiptFile | None:
        """Return what the operator gave instead of its word, when that was a receipt."""
        if not self.evidence.exists():
            return None
        try:
            fields = json.loads(self.evidence.read_text())
            receipt = channel_wire.read_receipt(fields["receipt"])
            given, answered = (bytes.fromhex(fields[name][2:]) for name in ("input", "output"))
        except (InputInvalid, KeyError, TypeError, ValueError):
            return None
        return ReceiptFile(self.channel, receipt, input=given, output=answered)

    def _file(self, receipt: AnswerReceipt, *, with_bytes: bool) -> ReceiptFile:
        if not with_bytes:
            return ReceiptFile(self.channel, receipt)
        given, answered = self.bytes_of(receipt.index)
        return ReceiptFile(self.channel, receipt, input=given, output=answered)

    def _bytes(self, index: int, name: str) -> bytes | None:
        path = self.folder / "answers" / f"{index}.{name}"
        return path.read_bytes() if path.exists() else None


def list_kept(home: Path) -> tuple[KeptChannel, ...]:
    """Return the channels that are kept, those of one payer together."""
    found = sorted((home / "channels").glob("*/channel.json"))
    return tuple(KeptChannel(path.parent) for path in found)


def leaves(home: Path, channel_id: Bytes32) -> list[Bytes32]:
    """Return the digests of a channel's receipts that are kept, from 1 on; none = it is not kept.

    Raises:
        InputInvalid: see `KeptChannel.receipts`.
    """
    found = (one for one in list_kept(home) if one.channel.channel_id == channel_id)
    return next((one.leaves() for one in found), [])


def find(home: Path, text: str) -> KeptChannel:
    """Return the kept channel of this id, or of its beginning.

    Raises:
        InputInvalid: no id, or several begin so. NotFound: none does.
    """
    known = {offers.name(kept.channel.channel_id): kept for kept in list_kept(home)}
    return offers.pick(text, known, "kept channel", SHOWN)


def read(home: Path, text: str) -> list[ReceiptFile]:
    """Return the receipts that `CHANNEL` or `CHANNEL/INDEX` names. Raises: see `find`, `files`."""
    name, slash, number = text.partition("/")
    if slash and not number.isdecimal():
        raise InputInvalid(f"{text!r:.80} is not CHANNEL/INDEX", hint=SHOWN)
    return find(home, name).files(int(number) if slash else None)
