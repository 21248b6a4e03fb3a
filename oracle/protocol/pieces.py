"""Pieces of one text that is written, whichever way they come: each character is told once.

A text may be written again from the start: at a connection that broke, or on the chain when a
channel failed. What was told already is not told again.
"""

from collections.abc import Callable


class PieceTeller:
    """Tells somebody how a text grows; from one thread at a time."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        """Take who is told. An empty piece says that the question was accepted."""
        self._tell = tell
        self._told = self._written = ""

    def accepted(self) -> None:
        """Tell that the question was accepted, and that writing begins."""
        self.again()
        self._tell("")

    def again(self) -> None:
        """Take the next piece as the first one."""
        self._written = ""

    def piece(self, text: str) -> None:
        """Take what was written after the last piece."""
        self.so_far(self._written + text)

    def so_far(self, text: str) -> None:
        """Take all that is written; another beginning than was told is passed over."""
        self._written = text
        if len(text) > len(self._told) and text.startswith(self._told):
            self._tell(text[len(self._told) :])
            self._told = text
