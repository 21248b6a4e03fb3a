"""What the demo writes down: `build/demo/report.json`, schema `tallystick/demo-report/1`.

Collects facts and expectations; knows nothing of how they came about. docs/demo.md describes every
field for readers of the file.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from oracle.errors import PermanentError, TallystickError

SCHEMA = "tallystick/demo-report/1"


class ExpectationFailed(PermanentError):
    """The story went another way than it has to; the demo ends with a non-zero exit code."""

    exit_code = 70  # EX_SOFTWARE


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that had to be so."""

    chapter: str
    what: str
    holds: bool
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that had to be refused, and the error that did."""

    chapter: str
    what: str
    error: str  # name of the contract's error, or of ours
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One published version and where its bytes are."""

    name: str
    model_id: int
    version: int
    head: bytes
    manifest_digest: bytes
    manifest_cid: str
    model_root: bytes
    files: tuple[Mapping[str, Any], ...]  # path, cid, sha256, size (bytes)
    about: str


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """One request that was answered: the digests of both halves, and the money."""

    what: str
    request_id: bytes
    model: str
    operator: str  # name of the account that delivered
    input_root: bytes
    input_cid: str
    output_root: bytes  # as the chain has it
    output_recomputed: bytes  # from the bytes fetched from IPFS
    output_cid: str
    fee: str  # dollars, as all money in the report
    shares: Mapping[str, str]  # operator, owner, data, protocol
    seconds: Mapping[str, float]  # requested → delivered, requested → settled; wall time
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """One answer that its asker paid by x402, with one signature."""

    request_id: bytes
    payer: str  # address
    pay_to: str  # address
    network: str  # CAIP-2
    asset: str  # address of the token
    paid: str  # dollars
    transaction: str  # of the transfer
    seconds: float  # of the client's program, its start included


@dataclass(frozen=True, slots=True)
class ConvictionFacts:
    """One operator that was convicted of a wrong exact answer: the moves, and the money."""

    request_id: bytes
    operator: str
    verdict: str
    transactions: tuple[Mapping[str, Any], ...]  # function, sender, hash, gas
    refund: str  # dollars: the fee, back to the requester
    compensation: str  # to the requester, out of the stake
    bounty: str
    burned: str


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """Answers that one channel paid, and what they cost in gas."""

    channel_id: bytes
    operator: str
    answers: int
    seconds: float  # for all of them
    paid: str  # dollars
    gas: Mapping[str, int]  # open, claim, settle
    gas_per_answer: int  # of these three together
    gas_on_chain: int  # of an answer by request, deliver and finalize, on the average


@dataclass(frozen=True, slots=True)
class DataFacts:
    """One round for data: the false valuation that was convicted, and what the right one paid."""

    round_id: int
    convicted: str  # name of the valuator
    fault: int  # docs/valuation.md, section 4
    proof_gas: int
    bounty: str  # dollars, as `burned`: the stake's halves
    burned: str
    paid: str = ""  # dollars, to the honest valuator
    credits: Mapping[str, str] = field(default_factory=dict)  # by contributor, in accuracy
    claimed: str = ""  # dollars: of later fees


@dataclass(slots=True)
class Record:
    """The report while it grows."""

    started: float = field(default_factory=time.time)  # unix seconds
    environment: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    contracts: dict[str, Any] = field(default_factory=dict)
    models: list[ModelFacts] = field(default_factory=list)
    answers: list[AnswerFacts] = field(default_factory=list)
    payments: list[PaymentFacts] = field(default_factory=list)
    convictions: list[ConvictionFacts] = field(default_factory=list)
    channels: list[ChannelFacts] = field(default_factory=list)
    data: list[DataFacts] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    transactions: list[Any] = field(default_factory=list)
    books: dict[str, Any] = field(default_factory=dict)
    chapters: dict[str, float] = field(default_factory=dict)  # seconds
    failure: str = ""
    _chapter: str = ""

    @contextmanager
    def chapter(self, name: str) -> Iterator[None]:
        """Time what runs inside; facts of the meantime belong to the chapter."""
        begun, self._chapter = time.monotonic(), name
        try:
            yield
        finally:
            self.chapters[name] = round(time.monotonic() - begun, 3)

    def expect(self, what: str, holds: bool, seen: object = "") -> None:
        """Note that something had to be so.

        Raises:
            ExpectationFailed: it is not.
        """
        self.expectations.append(Expectation(self._chapter, what, holds, str(seen)))
        if not holds:
            raise ExpectationFailed(
                f"expected in “{self._chapter}”: {what}" + (f"; seen: {seen}" if seen else "")
            )

    def refused(self, what: str, error: TallystickError) -> Refusal:
        """Note an error that had to come."""
        name = str(getattr(error, "name", "") or type(error).__name__)
        refusal = Refusal(self._chapter, what, name, str(error), error.hint)
        self.refusals.append(refusal)
        return refusal

    def write(self, path: Path) -> None:
        """Write the report, complete or not: `ok` says which."""
        path.parent.mkdir(parents=True, exist_ok=True)
        body = {
            "schema": SCHEMA,
            "ok": not self.failure and all(e.holds for e in self.expectations),
            "failure": self.failure,
            "started": self.started,
            "seconds": round(time.time() - self.started, 3),
            **{
                name: _plain(getattr(self, name))
                for name in (
                    *("chapters", "environment", "accounts", "contracts", "models", "answers"),
                    *(
                        "payments",
                        "convictions",
                        "channels",
                        "data",
                        "refusals",
                        "books",
                        "transactions",
                        "expectations",
                    ),
                )
            },
        }
        path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    """Return JSON data: bytes as 0x-hex."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return "0x" + value.hex() if isinstance(value, bytes) else value
