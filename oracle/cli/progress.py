"""Progress on stderr: bars for bytes, a spinner for waiting; nothing when nobody is looking."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)


class Bars:
    """A bar per file and one line that says what is waited for. Use as a context manager.

    Services call `bytes_done(name, done, total)` and `say(text)`; they do not know of rich.
    """

    def __init__(self, console: Console) -> None:
        self._seen = console.is_terminal
        self._bytes = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._seen,
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._line = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._seen,
        )
        self._said: TaskID | None = None
        self._active: Progress | None = None

    def __enter__(self) -> "Bars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._switch(None)

    def bytes_done(self, name: str, done: int, total: int) -> None:
        """Move the bar of one file."""
        self._switch(self._bytes)
        if name not in self._tasks:
            self._tasks[name] = self._bytes.add_task(name, total=total)
        self._bytes.update(self._tasks[name], completed=done, total=total)

    def say(self, text: str) -> None:
        """Replace the line that says what is waited for; plain lines where there is no terminal."""
        if not self._seen:
            self._console.print(text, markup=False)
            return
        self._switch(self._line)
        if self._said is None:
            self._said = self._line.add_task(text, total=None)
        self._line.update(self._said, description=text)

    def _switch(self, wanted: Progress | None) -> None:
        """Show one of the two at a time: rich allows one live display per console."""
        if wanted is self._active:
            return
        if self._active is not None:
            self._active.stop()
        if wanted is not None:
            wanted.start()
        self._active = wanted
