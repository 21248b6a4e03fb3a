"""What can be wrong with contributed data and with the proof of a fault."""

from oracle.errors import ConfigInvalid, InputInvalid, PermanentError


class DataInvalid(InputInvalid):
    """Contributed data cannot become a data set of docs/valuation.md, section 1."""


class DataEmpty(DataInvalid):
    """There is no row."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} has no rows", hint="a data set needs at least one row")


class DataOversized(DataInvalid):
    """There is more than a round takes."""

    def __init__(self, where: str, what: str, limit: int) -> None:
        super().__init__(
            f"{where} has more than {limit:,} {what}", hint="split it, or leave some out"
        )


class SchemaMismatch(DataInvalid):
    """Columns, shapes or labels are not those that the model's schema names."""


class NotFinite(DataInvalid):
    """A value is missing, NaN or infinite."""

    def __init__(self, where: str, row: int, column: str) -> None:
        super().__init__(
            f"{where}: row {row}, column {column} is not a finite number",
            hint="fill it in or leave the row out",
        )


class RowRepeated(DataInvalid):
    """A row stands twice, at least once it is quantised."""

    def __init__(self, where: str, first: int, second: int, repeats: int) -> None:
        super().__init__(
            f"{where}: rows {first} and {second} are the same integers ({repeats} repeats in all)",
            hint="leave repeats out (drop_repeats); a repeated row is worth nothing",
        )


class FormatUnknown(DataInvalid):
    """A file is of no format that we read, or is not what its name says."""


class ReaderMissing(ConfigInvalid):
    """A format needs a package that is not installed."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed", hint=f"pip install {package}"
        )


class FaultInvalid(PermanentError):
    """A part of a fault's proof does not fit the round, the valuation or its own shape.

    `part`: `code`, `indices`, `a`, `b`, `valuation`, or a list of pieces (`order` … `test`).
    """

    def __init__(self, part: str) -> None:
        super().__init__(f"fault: {part} invalid", hint="docs/valuation.md, section 5")
        self.part = part
