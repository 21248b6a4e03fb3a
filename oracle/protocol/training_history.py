"""How a version came to be: the version it was trained from, and what training did. Pure.

```
 made by   says                                        who can check it
 rounds    settled rounds, root of the last state      who reads the chain and has the weights
 job       exact steps, root of their history          who has the weights; a step: who redoes it
 run       a trainer's run, digest that it ended with  who has the weights; the run itself: nobody
 told      what the publisher writes                   nobody
```
What a smaller version was compressed from is `DerivedFrom` in `manifest`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from oracle.errors import InputInvalid
from oracle.protocol.border import STRICT, HexBytes32
from oracle.protocol.canonical import keccak
from oracle.types import Bytes32

FILE = "history.json"  # beside weights: what wrote them says how they came to be
MAX_FILE = 1 << 18  # bytes of it
MAX_ROUNDS = 1024
LISTED = 64  # participants whose addresses are written out; of more the digest is
MAX_PARTICIPANTS = 2**26
MAX_SCALE_BITS = 31  # of a state of 32 bits
MAX_STEPS = 2**40
MAX_EXACT_STEPS = 2**20  # oracle.training.exact_job.MOST_STEPS
MAX_TOLD = 256  # characters
Mode = Literal["ddp", "fsdp", "pipeline", "diloco"]
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_NUMBER = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseVersion:
    """The version that training began from.

    Attributes:
        manifest_digest: its manifest's SHA-256: names it wherever it is published.
        chain_id, registry, model_id, version: where it is published; all four or none.
            The registry's address is in lower case.
    """

    manifest_digest: HexBytes32
    chain_id: int | None = None
    registry: str | None = None
    model_id: int | None = None
    version: int | None = None

    __pydantic_config__ = STRICT

    def check(self) -> None:
        """Raise InputInvalid unless its place is whole."""
        place = (self.chain_id, self.registry, self.model_id, self.version)
        if place == (None,) * 4:
            return
        if None in place:
            raise _wrong("base has a part of a place", "chain_id, registry, model_id and version")
        _check_address(str(self.registry), "base.registry")
        for name in ("chain_id", "model_id", "version"):
            _check_count(getattr(self, name), f"base.{name}", _NUMBER - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeByRounds:
    """Rounds of training that a chain settled (docs/training-rounds.md).

    Attributes:
        chain_id, contract: of the TrainingRounds, in lower case.
        rounds: their ids in order: each began from the state that the one before it ended with.
        participants: accounts that revealed an update in any of them.
        addresses: theirs in order, lower case; of more than 64 there is
        addresses_digest: keccak256 of all of them in order, 20 bytes each.
        state_root: of the last round's next state.
        scale_bits: a weight is its coordinate · 2^−scale_bits.
    """

    kind: Literal["rounds"] = "rounds"
    chain_id: int
    contract: str
    rounds: tuple[int, ...]
    participants: int
    addresses: tuple[str, ...] | None = None
    addresses_digest: HexBytes32 | None = None
    state_root: HexBytes32
    scale_bits: int

    __pydantic_config__ = STRICT

    def check(self) -> None:
        """Raise InputInvalid unless every number is in its bounds, and people are named once."""
        _check_count(self.chain_id, "rounds: chain_id", _NUMBER - 1)
        _check_address(self.contract, "rounds: contract")
        _check_count(len(self.rounds), "rounds: how many there are", MAX_ROUNDS)
        for one in self.rounds:
            _check_count(one, "rounds: an id", _NUMBER - 1)
        if not _rising(self.rounds):
            raise _wrong("rounds are not in the order of their ids", "each once, oldest first")
        _check_count(self.participants, "rounds: participants", MAX_PARTICIPANTS)
        if not 0 <= self.scale_bits <= MAX_SCALE_BITS:
            raise _wrong(f"scale_bits {self.scale_bits} is not 0 to {MAX_SCALE_BITS}")
        few = self.participants <= LISTED
        if (self.addresses is None) == few or (self.addresses_digest is None) != few:
            raise _wrong(
                f"{self.participants} participants are not named as they should be",
                f"addresses of {LISTED} at the most, else addresses_digest",
            )
        if self.addresses is None:
            return
        for address in self.addresses:
            _check_address(address, "rounds: an address")
        if len(self.addresses) != self.participants or not _rising(self.addresses):
            raise _wrong("addresses are not those of all participants, sorted, each once")

    def names(self, addresses: Sequence[str]) -> bool:
        """Return whether these are the participants: any order and case, each at least once."""
        found = sorted({address.lower() for address in addresses})
        if self.addresses is not None:
            return tuple(found) == self.addresses
        return len(found) == self.participants and digest_of(found) == self.addresses_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeByJob:
    """A training job in exact steps (`oracle.training.exact_job`).

    Attributes:
        program: root of a step's program.
        samples, labels, first_state: roots of what the job began with.
        seed: of the order of batches.
        batches, steps: how many.
        history: root over the records of all steps.
        last_path: siblings from the last record up to it: they show which state came out.
        state: path of the version's file with that state, I32.
    """

    kind: Literal["job"] = "job"
    program: HexBytes32
    samples: HexBytes32
    labels: HexBytes32
    first_state: HexBytes32
    seed: HexBytes32
    batches: int
    steps: int
    history: HexBytes32
    last_path: tuple[HexBytes32, ...]
    state: str

    __pydantic_config__ = STRICT

    def check(self) -> None:
        """Raise InputInvalid unless counts are in their bounds, and the path is as long as both."""
        _check_count(self.batches, "job: batches", MAX_EXACT_STEPS)
        _check_count(self.steps, "job: steps", MAX_EXACT_STEPS)
        if len(self.last_path) != self.steps.bit_length():  # log2 of steps + 1 records, rounded up
            raise _wrong(f"a last_path of {len(self.last_path)} hashes for {self.steps} steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeByRun:
    """A run of one trainer (`tallystick train run`). What it did is its trainer's word.

    Attributes:
        job: SHA-256 over what the job says (`TrainingJob.digest`).
        data: SHA-256 over the SHA-256 of each of its files of rows, in order, as they were at the
            end.
        weights: digest of parameters and buffers at the end, as `result.json` has it.
        order: digest over the rows in the order that they were taken.
        begun_with: SHA-256 of the file of weights that it began with; absent where they were drawn.
        mode, ranks: how it was divided.
        steps: that were done.
    """

    kind: Literal["run"] = "run"
    job: HexBytes32
    data: HexBytes32
    weights: HexBytes32
    order: HexBytes32
    begun_with: HexBytes32 | None = None
    mode: Mode
    ranks: int
    steps: int

    __pydantic_config__ = STRICT

    def check(self) -> None:
        """Raise InputInvalid unless counts are in their bounds."""
        _check_count(self.ranks, "run: ranks", 2**20)
        _check_count(self.steps, "run: steps", MAX_STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a publisher says in a line, and nobody can check."""

    kind: Literal["told"] = "told"
    text: str

    __pydantic_config__ = STRICT

    def check(self) -> None:
        """Raise InputInvalid unless it is a short line."""
        if not 1 <= len(self.text) <= MAX_TOLD or not self.text.isprintable():
            raise _wrong(f"told.text {self.text!r:.80} is no line of 1 to {MAX_TOLD} characters")


Made: TypeAlias = Annotated[
    MadeByRounds | MadeByJob | MadeByRun | Told, Field(discriminator="kind")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """How a version came to be.

    Attributes:
        base: that training began from; absent where nobody named it.
        made: what training did; absent where nobody says.
    """

    base: BaseVersion | None = None
    made: Made | None = None

    __pydantic_config__ = STRICT

    @classmethod
    def parse(cls, data: bytes) -> "TrainingHistory":
        """Read what training wrote beside its weights.

        Raises:
            InputInvalid: too long, no JSON, a field that is unknown or missing, a broken rule.
        """
        if len(data) > MAX_FILE:
            raise InputInvalid(f"{FILE} of {len(data)} bytes is above the limit of {MAX_FILE}")
        try:
            found = _adapter().validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise InputInvalid(
                f"{FILE}: {where}: {first['msg']}", hint="docs/training.md says what wrote it"
            ) from error
        found.check()
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a manifest.

        Raises:
            InputInvalid: a rule is broken.
        """
        self.check()
        body: dict[str, Any] = _adapter().dump_python(self, mode="json", warnings="error")
        return without_absent(body)

    def check(self) -> None:
        """Raise InputInvalid: it says nothing, or a rule of its parts is broken."""
        if self.base is None and self.made is None:
            raise _wrong("it says nothing", "leave history out")
        if isinstance(self.made, MadeByRounds) and (self.base is None or not self.base.model_id):
            raise _wrong("rounds begin from a version on a chain", "name it as base")
        for part in (self.base, self.made):
            if part is not None:
                part.check()


@cache
def _adapter() -> TypeAdapter[TrainingHistory]:
    return TypeAdapter(TrainingHistory)


def digest_of(addresses: Sequence[str]) -> Bytes32:
    """Return keccak256 of addresses in order, 20 bytes each."""
    return keccak(b"".join(bytes.fromhex(address[2:]) for address in sorted(addresses)))


def without_absent(body: dict[str, Any]) -> dict[str, Any]:
    """Return a history's JSON without what is absent: one way to write it."""
    return {
        name: without_absent(value) if isinstance(value, dict) else value
        for name, value in body.items()
        if value is not None
    }


def require_written_once(body: object) -> None:
    """Raise InputInvalid where a history's JSON says null."""
    for name in _nulls(body):
        raise _wrong(f"{name} is null", "leave it out: one way to write it")


def _nulls(body: object) -> Iterator[str]:
    for name, value in body.items() if isinstance(body, dict) else ():
        if value is None:
            yield name
        yield from _nulls(value)


def _rising(values: Sequence[Any]) -> bool:
    return all(a < b for a, b in pairwise(values))


def _check_address(text: str, name: str) -> None:
    if not _ADDRESS.fullmatch(text):
        raise _wrong(f"{name} {text!r:.80} is no address", "0x and 40 lower-case hex digits")


def _check_count(value: int, name: str, most: int) -> None:
    if not 1 <= value <= most:
        raise _wrong(f"{name}: {value} is not 1 to {most}")


def _wrong(message: str, hint: str = "") -> InputInvalid:
    return InputInvalid(f"manifest: history: {message}", hint=hint)
