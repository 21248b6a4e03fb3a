"""What a version was converted from, before operators could run it. Pure."""

from dataclasses import dataclass
from typing import Literal, get_args

from oracle.errors import InputInvalid
from oracle.protocol.border import STRICT, HexBytes32

Format = Literal[
    "scikit-learn", "xgboost", "lightgbm", "saved-model", "keras", "checkpoint", "spark", "onnx"
]
FORMATS: tuple[Format, ...] = get_args(Format)
MAX_VERSION = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrigin:
    """The file or folder that the owner's own library wrote.

    Attributes:
        format: whose it is.
        version: the library that read it, and its version: `scikit-learn 1.9.1`.
        sha256: of the file; of a folder, see `oracle.origins.digest`.
    """

    format: Format
    version: str
    sha256: HexBytes32

    __pydantic_config__ = STRICT

    def check(self) -> None:
        """Raise InputInvalid unless the version is a short line."""
        if not 1 <= len(self.version) <= MAX_VERSION or not self.version.isprintable():
            raise InputInvalid(f"manifest: origin.version {self.version!r:.80} is no short line")
