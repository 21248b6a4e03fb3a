"""One answer, as Python has it: arrays by name, what it cost, and how to check it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from oracle.errors import InputInvalid
from oracle.exact.quantisation import Outside
from oracle.protocol.manifest import Manifest
from oracle.protocol.tensor import Array
from oracle.services import outputs
from oracle.services.answer_check import AnswerCheck
from oracle.services.outputs import Output
from oracle.services.request_timeline import RequestState
from oracle.types import Address, Amount, Assurance, Bytes32


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose bytes have the digest that the chain names."""

    request_id: str  # 0x and 64 hex digits
    model_id: int
    version: int
    operator: Address  # who answered
    cost: Amount  # what is paid once it is settled, in 0.000001 dollar
    units: int  # that it is paid by; 0 = a flat fee
    assurance: Assurance  # how a wrong answer is found out
    state: RequestState  # when it was fetched
    output_root: Bytes32  # digest of the answer, as delivered
    outputs: Mapping[str, Array]  # by the names of the manifest, in its dtypes and shapes
    shown: tuple[Output, ...]  # the same for people: labels with scores, nearest sentences
    outside: tuple[Outside, ...]  # what of the input was clamped; empty where it was made elsewhere
    _data: bytes = field(repr=False)
    _manifest: Manifest = field(repr=False)
    _verify: Callable[[str], AnswerCheck] = field(repr=False)

    @property
    def value(self) -> Array:
        """The array of the only output.

        Raises:
            InputInvalid: the model has several outputs: take them from `outputs`.
        """
        if len(self.outputs) != 1:
            raise InputInvalid(
                f"there are {len(self.outputs)} outputs: {', '.join(self.outputs)}",
                hint="take one by its name: answer.outputs[NAME]",
            )
        return next(iter(self.outputs.values()))

    @property
    def labels(self) -> tuple[str, ...]:
        """The most likely label of each row; empty when the model names no labels."""
        rows = (row for output in self.shown for row in output.rows)
        return tuple(row.top[0].label for row in rows if row.top)

    def verify(self) -> AnswerCheck:
        """Re-execute the answer; see `Connection.verify`."""
        return self._verify(self.request_id)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the answer: `.npz` and `.json` as such, anything else as its canonical bytes.

        Raises:
            InputInvalid: the file cannot be written.
        """
        outputs.save(self._data, self._manifest, Path(path))
