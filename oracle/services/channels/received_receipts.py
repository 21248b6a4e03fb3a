"""The receipts of one channel as its payer takes them: each is checked, and kept in its folder.

How many answers were signed for is kept too: a receipt for one more is none of ours, so what an
endpoint says of a channel cannot make us sign for answers that nobody asked for. After one that is
wrong no other is taken.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oracle import whole_file
from oracle.errors import Refused, TallystickError
from oracle.exact.form import Form
from oracle.private_files import make_file
from oracle.protocol import channel_wire, vouchers
from oracle.protocol.canonical import sha256
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.receipt_tree import ReceiptTree
from oracle.protocol.tensor import Array
from oracle.services.channels.kept import KeptChannel
from oracle.types import ZERO32, Address, Bytes32, Request

CLOCK = 60  # seconds that an operator's clock may differ from ours


class ReceiptWrong(Refused):
    """An answer came without a receipt that stands behind it: the channel is of no use any more."""


@dataclass(frozen=True, slots=True)
class ReceivedAnswer:
    """An answer whose receipt was checked."""

    request: Request  # that the receipt is for
    receipt: AnswerReceipt
    outputs: Mapping[str, Array]  # by the names of the manifest
    input: bytes  # canonical
    output: bytes  # canonical


class ReceivedReceipts:
    """One channel's. Belongs to whoever holds the channel's lock."""

    def __init__(self, kept: KeptChannel, operator: Address, form: Form) -> None:
        """Read what this and earlier processes kept."""
        self._kept, self._operator, self._form = kept, operator, form
        self.signed = _SignedCount(kept.folder / "signed")  # answers that vouchers pay for
        self.tree, self._digests = ReceiptTree(), dict[int, Bytes32]()  # by index
        self._wrong = f"see {kept.evidence}" if kept.evidence.exists() else ""
        for receipt in kept.receipts():
            if receipt.index in self._digests:
                self._wrong = f"the operator signed two receipts {receipt.index}"
            else:
                self._append(receipt.index, kept.channel.digest(receipt))
        self.signed.raise_to(max(self._digests, default=0))

    def __len__(self) -> int:
        """How many are here, those behind a gap too."""
        return len(self._digests)

    def require_right(self) -> None:
        """Return if the operator's word was right so far. Raises: ReceiptWrong."""
        if self._wrong:
            raise ReceiptWrong(self._wrong, hint="close the channel")

    def check(
        self, header: str, content: bytes, encoded: bytes, params: Bytes32, asked_at: float
    ) -> ReceivedAnswer:
        """Return an answer with its receipt, once that stands behind it, and keep both.

        Raises:
            ReceiptWrong: it does not. What came is kept, and nothing more is asked.
        """
        try:
            return self._checked(header, content, encoded, params, asked_at)
        except TallystickError as error:
            self._wrong = self._wrong or str(error)
            found = {
                "reason": str(error), "operator": self._operator,
                "channel": to_hex(self._kept.channel.channel_id),
                "receipt": header, "input": to_hex(encoded), "output": to_hex(content),
            }  # fmt: skip
            whole_file.write_new(self._kept.evidence, json.dumps(found))
            hint = error.hint or f"kept: {self._kept.evidence}"
            raise ReceiptWrong(str(error), hint=hint) from error

    def _checked(
        self, header: str, content: bytes, encoded: bytes, params: Bytes32, asked_at: float
    ) -> ReceivedAnswer:
        if not header:
            raise ReceiptWrong("an answer came without a receipt")
        receipt = channel_wire.read_receipt(header)
        root, located = self._form.input_root(encoded), sha256(encoded)
        asked = root, ZERO32 if located == root else located, params
        if (receipt.input_root, receipt.input_cid, receipt.params) != asked:
            raise ReceiptWrong("the receipt is for another question")
        if receipt.output_root != self._form.output_root(content):
            raise ReceiptWrong("the receipt is for another answer")
        if not asked_at - CLOCK <= receipt.answered_at <= time.time() + CLOCK:
            raise ReceiptWrong(f"the receipt's time {receipt.answered_at} is not now")
        request = self.take(receipt)
        self._kept.add_bytes(receipt.index, encoded, content)
        outputs = self._form.decode_outputs(content)
        return ReceivedAnswer(request, receipt, outputs, encoded, content)

    def take(self, receipt: AnswerReceipt) -> Request:
        """Check whose word a receipt is, keep it, and return its request. Raises: ReceiptWrong."""
        channel = self._kept.channel
        request, digest = channel.request(receipt), channel.digest(receipt)
        if vouchers.signer_of(digest, receipt.signature) != self._operator:
            raise ReceiptWrong(f"the operator did not sign receipt {receipt.index}")
        if receipt.index > self.signed.read():
            self._wrong = f"receipt {receipt.index} is of an answer that nobody asked for"
            raise ReceiptWrong(self._wrong, hint="close the channel")
        known = self._digests.get(receipt.index)
        if known is not None:  # `catch_up` was faster
            if known != digest:
                self._kept.add(receipt)  # `tallystick verify` shows both
                raise ReceiptWrong(f"the operator signed two receipts {receipt.index}")
            return request
        self._kept.add(receipt)
        self._append(receipt.index, digest)
        return request

    def _append(self, index: int, digest: Bytes32) -> None:
        self._digests[index] = digest
        while (following := self._digests.get(self.tree.count + 1)) is not None:
            self.tree.append(following)


class _SignedCount:
    """A number in a file that only grows; the power may take its last step, a crash does not."""

    def __init__(self, path: Path) -> None:
        make_file(path)
        self._path = path

    def read(self) -> int:
        """Return the number."""
        return int.from_bytes(self._path.read_bytes()[:8])

    def raise_to(self, number: int) -> None:
        """Make it so large at least."""
        if number > self.read():
            with self._path.open("r+b", buffering=0) as file:
                file.write(number.to_bytes(8))
