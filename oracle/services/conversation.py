"""A chat with a text model: each question carries all that was said, and is paid by itself.

```
 say ─▶ question with all messages ─▶ chain, or a channel ─▶ pieces ─▶ answer, checked ─▶ kept
```
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid
from oracle.exact import form
from oracle.protocol import text
from oracle.protocol.manifest import Manifest
from oracle.protocol.pieces import PieceTeller
from oracle.services import inference, models, quoting
from oracle.services.channels import asking
from oracle.services.channels.asking import ChannelPrepayment
from oracle.services.network import Network
from oracle.services.quoting import Ask, Prepayment
from oracle.types import Amount, RequestId

Heard = Callable[[str], object]  # a piece of the answer, while it is written
SEED = "seed"
_NOTHING = Amount(0)


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer whose bytes were checked, by the chain's digest or by a receipt."""

    content: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost: Amount  # of a metered version: of the units that it has
    request_id: RequestId
    proof: str  # the command that shows or checks it


class AnswerPayment(Protocol):
    """A way to pay for an answer and to get it."""

    manifest: Manifest

    def prepare(self, ask: Ask) -> Any:
        """Check everything that can be checked without spending."""

    def answer(self, prepared: Any, pieces: PieceTeller) -> ChatAnswer:
        """Pay, and return the answer."""


class ChainPayment:
    """Each question is a request on the chain."""

    def __init__(
        self, network: Network, wallet: Wallet, ask: Ask,
        *, failure: Callable[[RequestId], str | None] = lambda _: None,
        written: Callable[[RequestId], str] = lambda _: "",
    ) -> None:  # fmt: skip
        """Take the wallet that pays.

        Args:
            failure: returns what an operator said of a request that it cannot answer.
            written: returns how far an answer is written; "" = nobody says.
        """
        self._network, self._wallet = network, wallet
        self._failure, self._written = failure, written
        version = models.current_version(network, ask.model)
        self.manifest = models.manifest(network, ask.model.model_id, version)

    def prepare(self, ask: Ask) -> Prepayment:
        """See `quoting.quote`."""
        return quoting.quote(self._network, self._wallet.address, ask, stdin=bytes)

    def answer(self, prepared: Prepayment, pieces: PieceTeller) -> ChatAnswer:
        """See `inference.ask` and `inference.wait`."""

        def look(request_id: RequestId) -> str | None:
            pieces.so_far(self._written(request_id))
            return self._failure(request_id)

        asked = inference.ask(self._network, self._wallet, prepared)
        info = inference.wait(
            self._network, asked.request_id, since=asked.transaction.block, failure=look
        )
        found, data = inference.answer(self._network, info, prepared.manifest, prepared.prepared)
        cost = found.bill.used if found.bill else asked.fee
        proof = f"tallystick request show 0x{asked.request_id.hex()}"
        return _answer(prepared.manifest, data, cost, asked.request_id, proof)


class ChannelPayment:
    """A voucher pays each question; the operator's receipt is checked."""

    def __init__(
        self, network: Network, wallet: Wallet, ask: Ask, where: str, limit: Amount | None
    ) -> None:
        """Take an endpoint as `asking.quote` does, and the most to put into the channel."""
        self._network, self._wallet = network, wallet
        self._where, self._limit = where, limit
        self._first: ChannelPrepayment | None = None
        version = models.current_version(network, ask.model)
        self.manifest = models.manifest(network, ask.model.model_id, version)

    def prepare(self, ask: Ask) -> ChannelPrepayment:
        """See `asking.quote`; the channel stays the same."""
        if self._first is None:
            self._first = asking.quote(
                self._network, self._wallet, ask, self._where, limit=self._limit, patience=None,
                stdin=bytes,
            )  # fmt: skip
            return self._first
        return asking.again(self._first, ask)

    def answer(self, prepared: ChannelPrepayment, pieces: PieceTeller) -> ChatAnswer:
        """See `asking.ask`."""
        found, data = asking.ask(prepared, heard=pieces.piece)
        proof = f"tallystick verify {found.receipt}"
        return _answer(self.manifest, data, found.fee, found.request_id, proof)


@dataclass
class Conversation:
    """What was said so far, and what it cost."""

    payment: AnswerPayment
    ask: Ask  # its source is made for each question
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    spent: Amount = _NOTHING

    def __post_init__(self) -> None:
        """Refuse a model that writes no text."""
        manifest = self.payment.manifest
        if manifest.runtime.format != text.FORMAT:
            raise InputInvalid(
                f"the model {manifest.name} does not write text",
                hint="`tallystick infer` asks every model",
            )

    def prepare(self, content: str) -> Any:
        """Check a question with all that was said before. Raises: see `AnswerPayment.prepare`."""
        return self.prepare_source(
            {"messages": [*self.messages, {"role": "user", "content": content}]}
        )

    def prepare_source(self, source: Mapping[str, Any]) -> Any:
        """Check a question that is made already. Raises: see `AnswerPayment.prepare`."""
        params = {**self._fresh(), **self.ask.params}
        return self.payment.prepare(replace(self.ask, source=source, params=params))

    def say(self, content: str, heard: Heard = lambda _piece: None) -> ChatAnswer:
        """Ask, pay, and return the answer, which the chat goes on with.

        Args:
            heard: is told the answer in pieces, as it is written where that is heard of.

        Raises:
            What `prepare` of its payment does, and `inference.wait` or `ChannelClient.ask_encoded`.
        """
        found = self.answer(self.prepare(content), heard)
        self.keep(content, found.content)
        return found

    def answer(self, prepared: Any, heard: Heard) -> ChatAnswer:
        """Pay and return the answer; `keep` it if the chat goes on with it.

        Its fee counts as spent until its cost is known: who stops listening pays all the same.
        """
        pieces, fee = PieceTeller(heard), prepared.quote.fee
        self.spent = Amount(self.spent + fee)
        try:
            found = self.payment.answer(prepared, pieces)
        except BaseException:
            self.spent = Amount(self.spent - fee)
            raise
        self.spent = Amount(self.spent - fee + found.cost)
        pieces.so_far(found.content)
        return found

    def keep(self, content: str, answer: str) -> None:
        """Go on with what was asked and answered."""
        self.messages += [
            {"role": "user", "content": content}, {"role": "assistant", "content": answer}
        ]  # fmt: skip

    def _fresh(self) -> dict[str, float]:
        """Return a seed of its own: the same one would give the same answer again."""
        for spec in self.payment.manifest.parameters:
            if spec.name == SEED:
                lane = spec.minimum + secrets.randbelow(spec.maximum - spec.minimum + 1)
                return {SEED: spec.real(lane)}
        return {}


def _answer(
    manifest: Manifest, data: bytes, cost: Amount, request_id: RequestId, proof: str
) -> ChatAnswer:
    found = text.decode_answer(form.of(manifest).decode_outputs(data))
    return ChatAnswer(
        found.content, found.finish_reason, found.prompt_tokens, len(found.tokens), cost,
        request_id, proof,
    )  # fmt: skip
